/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config.h"
#include "base/log.h"
#include "base/parse.h"
#include <dirent.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME    "migd.conf"
#define DROP_IN_DIR  "migd.conf.d"
#define DROP_INS_MAX 256u

struct key {
    const char *section, *name;
    /* -EINVAL for a value that is not one. */
    int (*set)(struct config *c, const char *value, const char *origin);
    const char *expected; /* completes "expected ..." */
};

static int set_text(char *to, size_t size, const char *value)
{
    return (size_t)snprintf(to, size, "%s", value) < size ? 0 : -EINVAL;
}

static int set_word(struct config_word *w, const char *value, const char *origin)
{
    if (!*value || set_text(w->text, sizeof w->text, value) < 0)
        return -EINVAL;
    set_text(w->origin, sizeof w->origin, origin);
    return 0;
}

static int set_runtime_dir(struct config *c, const char *value, const char *origin)
{
    return *value == '/' ? set_text(c->runtime_dir, sizeof c->runtime_dir, value) : -EINVAL;
}

static int set_log_level(struct config *c, const char *value, const char *origin)
{
    int level = log_level_from_string(value);
    if (level < 0)
        return level;
    c->log_level = level;
    return 0;
}

static int set_listen(struct config *c, const char *value, const char *origin)
{
    return set_text(c->listen, sizeof c->listen, value);
}

static int set_max_downtime(struct config *c, const char *value, const char *origin)
{
    uint64_t usec;
    if (parse_usec(value, &usec) < 0 || usec == 0)
        return -EINVAL;
    c->max_downtime_usec = usec;
    return 0;
}

static int set_bandwidth(struct config *c, const char *value, const char *origin)
{
    return parse_rate(value, &c->bandwidth_bytes_per_sec);
}

static int set_connections(struct config *c, const char *value, const char *origin)
{
    uint64_t n;
    int r = parse_unsigned(value, CONFIG_CONNECTIONS_MAX, &n);
    if (r == 0)
        c->connections = (unsigned)n;
    return r;
}

static int set_on_stall(struct config *c, const char *value, const char *origin)
{
    return set_word(&c->on_stall, value, origin);
}

static int set_gate(struct config *c, const char *value, const char *origin)
{
    return set_word(&c->gate, value, origin);
}

static int set_verify(struct config *c, const char *value, const char *origin)
{
    return set_word(&c->verify, value, origin);
}

static const struct key keys[] = {
    {"Daemon", "RuntimeDirectory", set_runtime_dir, "an absolute path"},
    {"Daemon", "LogLevel", set_log_level, "emerg, alert, crit, err, warning, notice, info, debug or 0 to 7"},
    {"Peer", "Listen", set_listen, "host[:port], [v6]:port, unix:PATH or nothing"},
    {"Migration", "MaxDowntime", set_max_downtime, "a time above 0 with its unit, such as 300ms"},
    {"Migration", "Bandwidth", set_bandwidth,
     "bytes per second such as 800M, bits such as 10Gbit, or 0 for no cap"},
    {"Migration", "Connections", set_connections, "a number up to 64, 0 to let migd choose"},
    {"Migration", "OnStall", set_on_stall, "abort, force or wait"},
    {"Migration", "Gate", set_gate, "strict, resend or off"},
    {"Migration", "Verify", set_verify, "off, post or strict"},
};

/* One file that is being read. */
struct reading {
    struct config *c;
    const char *path;
    FILE *file;
    unsigned line;
    struct mig_error *err;
    struct mig_error local; /* where err is NULL */
};

static void list_keys(char *buf, size_t size, const char *section)
{
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < ELEMENTS(keys) && at < size; i++)
        if (!section || strcmp(keys[i].section, section) == 0)
            at += (size_t)snprintf(buf + at, size - at, "%s%s%s%s", at ? ", " : "",
                                   section ? "" : keys[i].section, section ? "" : ".", keys[i].name);
}

static int fail(struct reading *r, const char *what, const char *expected)
{
    if (mig_error_is_set(r->err))
        return 0; /* the first one counts */
    mig_error_set(r->err, MIG_ERR_CONFIG, 0, "%s:%u: %s", r->path, r->line, what);
    mig_error_hint(r->err, "expected %s", expected);
    return 0; /* what inih calls failure */
}

static int handle(void *userdata, const char *section, const char *name, const char *value)
{
    struct reading *r = userdata;
    char origin[280], what[320], known[240];
    const struct key *in_section = NULL;
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        if (strcmp(keys[i].section, section) != 0)
            continue;
        in_section = &keys[i];
        if (strcmp(keys[i].name, name) != 0)
            continue;
        snprintf(origin, sizeof origin, "%.260s:%u", r->path, r->line);
        if (keys[i].set(r->c, value ? value : "", origin) == 0)
            return 1;
        snprintf(what, sizeof what, "\"%.100s\" is not a value for %s", value ? value : "", name);
        return fail(r, what, keys[i].expected);
    }
    if (in_section)
        snprintf(what, sizeof what, "unknown key \"%.100s\" in section [%.60s]", name, section);
    else if (*section)
        snprintf(what, sizeof what, "unknown section [%.100s]", section);
    else
        snprintf(what, sizeof what, "\"%.100s\" stands before the first section", name);
    list_keys(known, sizeof known, in_section ? section : NULL);
    return fail(r, what, known);
}

/* inih's reader, which counts lines on the way. */
static char *next_line(char *buf, int size, void *userdata)
{
    struct reading *r = userdata;
    if (!fgets(buf, size, r->file))
        return NULL;
    r->line++;
    if (!strchr(buf, '\n') && !feof(r->file)) {
        fail(r, "the line is too long", "at most 200 bytes");
        return NULL;
    }
    return buf;
}

static int read_one(struct config *c, const char *path, bool must_exist, struct mig_error *err)
{
    struct reading r = {.c = c, .path = path};
    r.err = err ? err : &r.local;
    r.file = fopen(path, "re");
    if (!r.file) {
        int e = errno;
        if (e == ENOENT && !must_exist)
            return 0;
        return mig_error_set(err, MIG_ERR_CONFIG, e, "cannot read %s: %s", path, strerror(e));
    }
    int bad_line = ini_parse_stream(next_line, &r, handle, &r);
    int read_error = ferror(r.file) ? EIO : 0;
    fclose(r.file);
    if (mig_error_is_set(r.err))
        return -r.err->err;
    if (read_error)
        return mig_error_set(err, MIG_ERR_CONFIG, read_error, "cannot read %s: %s", path,
                             strerror(read_error));
    if (bad_line != 0) {
        int e =
            mig_error_set(err, MIG_ERR_CONFIG, 0, "%s:%d: neither [Section] nor Key=value", path, bad_line);
        mig_error_hint(err, "comments begin with # or ;");
        return e;
    }
    return 0;
}

static int is_drop_in(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static bool exists_in(const char *dir, const char *name)
{
    char path[1024];
    return (size_t)snprintf(path, sizeof path, "%s/" DROP_IN_DIR "/%s", dir, name) < sizeof path &&
           access(path, F_OK) == 0;
}

struct drop_in {
    const char *dir;
    char name[256];
};

static int compare_drop_ins(const void *a, const void *b)
{
    return strcmp(((const struct drop_in *)a)->name, ((const struct drop_in *)b)->name);
}

/* Adds the drop-ins of one folder; those that `hidden_by` has too are left out. */
static void collect(struct drop_in *all, size_t *n, const char *dir, const char *hidden_by)
{
    char path[1024];
    if ((size_t)snprintf(path, sizeof path, "%s/" DROP_IN_DIR, dir) >= sizeof path)
        return;
    struct dirent **entries;
    int count = scandir(path, &entries, is_drop_in, NULL);
    for (int i = 0; i < count; i++) {
        if (*n < DROP_INS_MAX && !(hidden_by && exists_in(hidden_by, entries[i]->d_name))) {
            all[*n].dir = dir;
            snprintf(all[*n].name, sizeof all[*n].name, "%s", entries[i]->d_name);
            (*n)++;
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static int read_drop_ins(struct config *c, const char *lib_dir, const char *sysconf_dir,
                         struct mig_error *err)
{
    _cleanup_free_ struct drop_in *all = calloc(DROP_INS_MAX, sizeof *all);
    size_t n = 0;
    if (!all)
        return mig_error_oom(err);
    collect(all, &n, lib_dir, sysconf_dir);
    collect(all, &n, sysconf_dir, NULL);
    if (n == DROP_INS_MAX)
        return mig_error_set(err, MIG_ERR_CONFIG, 0, "more than %u files in " DROP_IN_DIR, DROP_INS_MAX - 1);
    qsort(all, n, sizeof *all, compare_drop_ins);
    for (size_t i = 0; i < n; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%.700s/" DROP_IN_DIR "/%s", all[i].dir, all[i].name);
        int r = read_one(c, path, false, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void config_init(struct config *c)
{
    *c = (struct config){.log_level = LOG_INFO, .max_downtime_usec = 300000};
    /* The service manager knows best: RuntimeDirectory= of the unit. */
    const char *given = getenv("RUNTIME_DIRECTORY");
    set_text(c->runtime_dir, sizeof c->runtime_dir, given && *given == '/' ? given : RUNSTATEDIR "/migd");
}

int config_load_from(struct config *c, const char *lib_dir, const char *sysconf_dir, struct mig_error *err)
{
    struct config next = *c;
    const char *const dirs[] = {lib_dir, sysconf_dir};
    for (size_t i = 0; i < ELEMENTS(dirs); i++) {
        char path[1024];
        if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, dirs[i]) >= sizeof path)
            return mig_error_set(err, MIG_ERR_CONFIG, ENAMETOOLONG,
                                 "the path of the configuration is too long");
        int r = read_one(&next, path, false, err);
        if (r < 0)
            return r;
    }
    int r = read_drop_ins(&next, lib_dir, sysconf_dir, err);
    if (r == 0)
        *c = next;
    return r;
}

int config_load(struct config *c, const char *file, struct mig_error *err)
{
    if (!file)
        return config_load_from(c, PKGLIBDIR, PKGSYSCONFDIR, err);
    struct config next = *c;
    int r = read_one(&next, file, true, err);
    if (r == 0)
        *c = next;
    return r;
}
