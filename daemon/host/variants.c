/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/variants.h"
#include "base/printable.h"
#include <stdio.h>
#include <string.h>

#define FILE_MAX_BYTES (UINT64_C(64) << 20)
#define PATTERN_MAX    200u
#define MODULE_MAX     63u
#define VARIANTS_MAX   65536u
#define PREFIX         "vfio_pci:"

struct variant {
    char *pattern, *module;
    unsigned wildcards;
};

struct variants {
    struct variant *items;
    size_t count, room;
    bool known, plain;
};

static bool is_plain(const char *module)
{
    return strcmp(module, "vfio_pci") == 0 || strcmp(module, "vfio-pci") == 0;
}

static int add(struct variants *v, const char *pattern, const char *module)
{
    if (is_plain(module)) {
        v->plain = true;
        return 0;
    }
    if (strlen(pattern) > PATTERN_MAX || strlen(module) > MODULE_MAX || !*module)
        return 0; /* nothing that a kernel build writes */
    if (v->count == v->room) {
        size_t room = v->room ? v->room * 2 : 64;
        struct variant *items = v->count < VARIANTS_MAX ? reallocarray(v->items, room, sizeof *items) : NULL;
        if (!items)
            return v->count < VARIANTS_MAX ? -ENOMEM : 0;
        v->items = items;
        v->room = room;
    }
    struct variant new = {.pattern = strdup(pattern), .module = strdup(module)};
    if (!new.pattern || !new.module) {
        free(new.pattern);
        free(new.module);
        return -ENOMEM;
    }
    make_printable(new.module);
    for (const char *c = pattern; *c; c++)
        new.wildcards += *c == '*' || *c == '?';
    v->items[v->count++] = new;
    return 0;
}

/* "alias PATTERN MODULE" */
static int take_line(struct variants *v, char *line)
{
    static const char begin[] = "alias " PREFIX;
    if (strncmp(line, begin, sizeof begin - 1) != 0)
        return 0;
    char *pattern = line + strlen("alias "), *module = strchr(pattern, ' ');
    if (!module)
        return 0;
    *module++ = '\0';
    module[strcspn(module, " \t\r")] = '\0';
    return add(v, pattern, module);
}

/* "MODULE.alias=PATTERN" */
static int take_modinfo(struct variants *v, char *item)
{
    static const char key[] = ".alias=";
    char *dot = strchr(item, '.');
    if (!dot || strncmp(dot, key, sizeof key - 1) != 0 ||
        strncmp(dot + sizeof key - 1, PREFIX, sizeof PREFIX - 1) != 0)
        return 0;
    *dot = '\0';
    return add(v, dot + sizeof key - 1, item);
}

static int take_file(struct variants *v, const struct host_tree *t, const char *release, const char *name,
                     char end, int (*take)(struct variants *v, char *piece))
{
    _cleanup_free_ char *text = NULL;
    size_t bytes;
    int r = tree_read_whole(t, FILE_MAX_BYTES, &text, &bytes, "/lib/modules/%s/%s", release, name);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return 0; /* not there, or not readable: then it is not known */
    v->known = true;
    for (char *piece = text, *stop = text + bytes; r == 0 && piece < stop;) {
        char *next = memchr(piece, end, (size_t)(stop - piece));
        if (next)
            *next = '\0';
        r = take(v, piece);
        piece = next ? next + 1 : stop;
    }
    return r;
}

int variants_read(struct variants **ret, const struct host_tree *t)
{
    char release[128];
    _cleanup_(variants_freep) struct variants *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    int r = tree_read(t, release, sizeof release, "/proc/sys/kernel/osrelease");
    if (r == 0 && *release && !strchr(release, '/')) {
        r = take_file(v, t, release, "modules.alias", '\n', take_line);
        if (r == 0)
            r = take_file(v, t, release, "modules.builtin.modinfo", '\0', take_modinfo);
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(v);
    return 0;
}

struct variants *variants_free(struct variants *v)
{
    if (!v)
        return NULL;
    for (size_t i = 0; i < v->count; i++) {
        free(v->items[i].pattern);
        free(v->items[i].module);
    }
    free(v->items);
    free(v);
    return NULL;
}

bool variants_known(const struct variants *v)
{
    return v->known;
}

bool variants_have_plain(const struct variants *v)
{
    return v->plain;
}

/* '*' is any text, '?' any character. The last star is the only one that is ever tried again, so the cost is
 * bounded by the product of the lengths. */
static bool fits(const char *pattern, const char *text)
{
    const char *star = NULL, *again = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            again = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++again;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

const char *variants_find(const struct variants *v, const char *modalias)
{
    char wanted[PATTERN_MAX];
    const struct variant *best = NULL;
    if ((size_t)snprintf(wanted, sizeof wanted, "vfio_%s", modalias) >= sizeof wanted)
        return NULL;
    for (size_t i = 0; i < v->count; i++)
        if ((!best || v->items[i].wildcards < best->wildcards) && fits(v->items[i].pattern, wanted))
            best = &v->items[i];
    return best ? best->module : NULL;
}
