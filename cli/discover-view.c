/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "discover-view.h"
#include "base/format.h"
#include "json-util.h"
#include "output.h"
#include "table.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX 48u /* of memory, for people */

static const char *const kind_words[DISCOVERY_KIND_MAX] = {
    [DISCOVERY_CONTAINER] = "container", [DISCOVERY_IOMMUFD] = "iommufd", [DISCOVERY_GROUP] = "group",
    [DISCOVERY_DEVICE] = "device",       [DISCOVERY_CDEV] = "cdev",
};
static const char *const use_words[] = {
    [DISCOVERY_UNUSED] = "",
    [DISCOVERY_TAKEN] = "taken",
    [DISCOVERY_SKIPPED] = "skipped",
    [DISCOVERY_GIVEN] = "given",
};
static const struct column item_columns[] = {
    {"name", "NAME", UNIT_TEXT}, {"kind", "KIND", UNIT_TEXT}, {"fd", "FD", MIGD_UNIT_COUNT},
    {"use", "USE", UNIT_TEXT},   {"what", "WHAT", UNIT_TEXT},
};
static const struct column memory_columns[] = {
    {"fd", "FD", UNIT_TEXT},
    {"size", "SIZE", MIGD_UNIT_BYTES},
    {"page-size", "PAGES", MIGD_UNIT_BYTES},
    {"mapped-at", "MAPPED AT", UNIT_ADDRESS},
    {"path", "FILE", UNIT_TEXT},
};

/* ---- things ---- */

static size_t count(const struct discovery *d, enum discovery_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_items; i++)
        n += d->items[i].kind == kind;
    return n;
}

/* An iommufd that VFIO_GROUP_SET_CONTAINER was called with. */
static bool plays_container(const struct discovery *d, const struct discovery_item *item)
{
    return item->kind == DISCOVERY_IOMMUFD && count(d, DISCOVERY_GROUP) && !count(d, DISCOVERY_CONTAINER) &&
           !count(d, DISCOVERY_CDEV);
}

static void append(char *buf, size_t size, const char *text)
{
    size_t n = strlen(buf);
    snprintf(buf + n, size - n, "%s", text);
}

static void append_groups(const struct discovery *d, char *buf, size_t size)
{
    const char *between = "one of: ";
    for (size_t i = 0; i < d->n_items; i++)
        if (d->items[i].kind == DISCOVERY_GROUP && d->items[i].members) {
            append(buf, size, between);
            append(buf, size, d->items[i].members);
            between = " ";
        }
    if (!buf[0])
        append(buf, size, "this kernel does not tell which");
}

static void describe(const struct discovery *d, const struct discovery_item *item, char *buf, size_t size)
{
    buf[0] = '\0';
    switch (item->kind) {
    case DISCOVERY_CONTAINER:
        append(buf, size, "/dev/vfio/vfio");
        break;
    case DISCOVERY_IOMMUFD:
        append(buf, size, "/dev/iommu");
        if (plays_container(d, item))
            append(buf, size, ", plays a container: there the kernel tracks nothing");
        break;
    case DISCOVERY_GROUP:
        snprintf(buf, size, "group %u%s%.300s%s", item->number, item->members ? ": " : "",
                 item->members ? item->members : "", item->no_iommu ? ", without an IOMMU" : "");
        break;
    default:
        if (item->address)
            snprintf(buf, size, "%.100s (%s)", item->address, item->how);
        else
            append_groups(d, buf, size);
        if (item->mediated)
            append(buf, size, ", mediated");
    }
}

static struct json_object *item_to_json(const struct discovery *d, const struct discovery_item *item)
{
    char what[512];
    struct json_object *o = json_object_new_object();
    describe(d, item, what, sizeof what);
    if (item->name)
        json_object_object_add(o, "name", json_object_new_string(item->name));
    json_object_object_add(o, "kind", json_object_new_string(kind_words[item->kind]));
    json_object_object_add(o, "fd", json_object_new_int(item->fd));
    if (item->n_others) {
        struct json_object *others = json_object_new_array();
        for (size_t i = 0; i < item->n_others; i++)
            json_object_array_add(others, json_object_new_int((int)item->others[i]));
        json_object_object_add(o, "same-fds", others);
    }
    if (item->kind == DISCOVERY_GROUP)
        json_object_object_add(o, "group", json_object_new_int((int)item->number));
    if (item->kind == DISCOVERY_DEVICE || item->kind == DISCOVERY_CDEV)
        json_object_object_add(o, "mediated", json_object_new_boolean(item->mediated));
    if (item->address) {
        json_object_object_add(o, "address", json_object_new_string(item->address));
        json_object_object_add(o, "known-by", json_object_new_string(item->how));
    }
    json_object_object_add(o, "use", json_object_new_string(use_words[item->use]));
    json_object_object_add(o, "what", json_object_new_string(what));
    return o;
}

static struct json_object *items_to_json(const struct discovery *d)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < d->n_items; i++)
        json_object_array_add(array, item_to_json(d, &d->items[i]));
    return array;
}

/* ---- memory ---- */

static struct json_object *memory_to_json(const struct discovery_memory *m)
{
    struct json_object *o = json_object_new_object(), *places = json_object_new_array();
    if (m->fd >= 0)
        json_object_object_add(o, "fd", json_object_new_int(m->fd));
    json_object_object_add(o, "path", json_object_new_string(m->path));
    json_object_object_add(o, "offset", json_object_new_uint64(m->offset));
    json_object_object_add(o, "size", json_object_new_uint64(m->size_bytes));
    if (m->page_bytes)
        json_object_object_add(o, "page-size", json_object_new_uint64(m->page_bytes));
    json_object_object_add(o, "given", json_object_new_boolean(m->given));
    json_object_object_add(o, "mapped-at", json_object_new_uint64(m->places[0].address));
    json_object_object_add(o, "n-mappings", json_object_new_uint64(m->n_places));
    for (size_t i = 0; i < MIN(m->n_places, (size_t)DISCOVERY_PLACES_MAX); i++) {
        struct json_object *place = json_object_new_object();
        json_object_object_add(place, "address", json_object_new_uint64(m->places[i].address));
        json_object_object_add(place, "offset", json_object_new_uint64(m->places[i].offset));
        json_object_object_add(place, "size", json_object_new_uint64(m->places[i].size_bytes));
        json_object_array_add(places, place);
    }
    json_object_object_add(o, "mappings", places);
    return o;
}

/* The proposed ones, at most max. */
static struct json_object *memories_to_json(const struct discovery *d, size_t max, size_t *ret_more)
{
    struct json_object *array = json_object_new_array();
    *ret_more = 0;
    for (size_t i = 0; i < d->n_memory; i++)
        if (d->memory[i].proposed && json_length(array) < max)
            json_object_array_add(array, memory_to_json(&d->memory[i]));
        else
            *ret_more += d->memory[i].proposed;
    return array;
}

/* ---- the command line ---- */

static void put_quoted(FILE *f, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
    if (word[0] && strspn(word, plain) == strlen(word)) {
        fputs(word, f);
        return;
    }
    fputc('\'', f);
    for (; *word; word++)
        if (*word == '\'')
            fputs("'\\''", f);
        else
            fputc(*word, f);
    fputc('\'', f);
}

/* Exact, in the largest unit that divides it. */
static void put_size(FILE *f, uint64_t bytes)
{
    static const char units[] = "KMGT";
    int unit = -1;
    while (bytes && bytes % 1024 == 0 && unit < 3) {
        bytes /= 1024;
        unit++;
    }
    fprintf(f, "%" PRIu64, bytes);
    if (unit >= 0)
        fputc(units[unit], f);
}

static void put_memory(FILE *f, const struct discovery *d, const struct discovery_memory *m, unsigned number)
{
    fprintf(f, "'name=ram%u,", number);
    if (m->fd >= 0)
        fprintf(f, "fd=%d", m->fd);
    else
        fprintf(f, "path=/proc/%" PRIu64 "/map_files/%" PRIx64 "-%" PRIx64, d->pid, m->places[0].address,
                m->places[0].address + m->places[0].size_bytes);
    if (m->offset) {
        fputs(",offset=", f);
        put_size(f, m->offset);
    }
    fputs(",size=", f);
    put_size(f, m->size_bytes);
    fputs(",iova=?'", f);
}

/* What was typed, and the memory that nobody has spoken of. between: two options. */
static char *command_line(const struct discovery *d, const struct args *args, const char *between)
{
    char *text = NULL;
    size_t size;
    unsigned number = 0, proposals = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    fputs("migctl register ", f);
    put_quoted(f, args->positional[0]);
    for (size_t i = 0; i < args->n_given; i++) {
        const struct given *g = &args->given[i];
        if (g->id == OPT_DRY_RUN || g->id == OPT_JSON)
            continue;
        fprintf(f, "%s--%s", g->id == OPT_PID ? " " : between, args_option_name(g->id));
        number += g->id == OPT_MEMORY;
        if (g->value) {
            fputc(' ', f);
            put_quoted(f, g->value);
        }
    }
    for (size_t i = 0; i < d->n_memory && proposals < ROWS_MAX; i++) {
        if (!d->memory[i].proposed || d->memory[i].given)
            continue;
        proposals++;
        fprintf(f, "%s--memory ", between);
        put_memory(f, d, &d->memory[i], number++);
    }
    return fclose(f) == 0 ? text : NULL;
}

/* ---- all ---- */

struct json_object *discovery_to_json(const struct discovery *d, const struct args *args)
{
    size_t more;
    struct json_object *o = json_object_new_object();
    _cleanup_free_ char *line = command_line(d, args, " ");
    if (!o)
        return NULL;
    json_object_object_add(o, "pid", json_object_new_uint64(d->pid));
    json_object_object_add(o, "command", json_object_new_string(d->command));
    json_object_object_add(o, "program", json_object_new_string(d->program ? d->program : ""));
    json_object_object_add(o, "qemu", json_object_new_boolean(d->qemu));
    json_object_object_add(o, "found", items_to_json(d));
    json_object_object_add(o, "memory", memories_to_json(d, SIZE_MAX, &more));
    json_object_object_add(o, "command-line", json_object_new_string(line ? line : ""));
    return o;
}

static void print_qemu(const struct discovery *d)
{
    puts("\nThis is QEMU. Its monitor tells where the devices see its memory:\n");
    printf("  virsh qemu-monitor-command --hmp ");
    put_quoted(stdout, d->guest ? d->guest : "DOMAIN");
    printf(
        " 'info mtree -f'\n"
        "  {\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"info mtree -f\"}}    "
        "on a "
        "QMP socket\n\n"
        "In the flat view of the address space \"memory\" (\"vfio-pci\" of the device with a virtual IOMMU), "
        "a "
        "line like\n\n"
        "  0000000100000000-000000017fffffff (prio 0, ram): pc.ram @0000000080000000\n\n"
        "says that 2 GiB of pc.ram, from offset 2 GiB on, are at IOVA 0x100000000. Give a --memory for each "
        "such "
        "piece, with the\n"
        "same fd and its own name, here offset=2G,size=2G,iova=0x100000000. {\"execute\": "
        "\"query-memory-devices\"} "
        "lists memory\n"
        "that was plugged in. With a virtual IOMMU the layout changes while the guest runs: then this way of "
        "registering does not do.\n");
}

void discovery_print(const struct discovery *d, const struct args *args, bool missing)
{
    size_t more;
    _cleanup_json_ struct json_object *items = items_to_json(d),
                                      *memory = memories_to_json(d, ROWS_MAX, &more);
    char command[64], program[300];
    snprintf(command, sizeof command, "%s", d->command);
    snprintf(program, sizeof program, "%s", d->program ? d->program : "");
    output_make_safe(command);
    output_make_safe(program);
    printf("Process %" PRIu64 " (%s)%s%s\n\n", d->pid, command, program[0] ? ", " : "", program);
    if (json_length(items))
        table_print(stdout, 0, item_columns, ELEMENTS(item_columns), items);
    else
        puts("It holds no VFIO container, no iommufd and no VFIO device.");
    putchar('\n');
    if (json_length(memory))
        table_print(stdout, 0, memory_columns, ELEMENTS(memory_columns), memory);
    else
        puts("It has no memory of 1 MiB or more mapped that it shares with others.");
    if (more)
        printf("and %zu more (--json lists all)\n", more);
    if (!missing)
        return;
    if (!json_length(memory)) {
        puts("\nOnly memory that is a memfd or a file on tmpfs or hugetlbfs, mapped shared, can be migrated: "
             "start the "
             "workload with\nsuch memory (QEMU: a memory backend with share=on).");
        return;
    }
    if (d->qemu)
        print_qemu(d);
    _cleanup_free_ char *line = command_line(d, args, " \\\n    ");
    if (!line)
        return;
    printf(
        "\nThe kernel does not tell where the devices see the memory. Fill in each ?, leave out what they do "
        "not see, and run:\n\n  %s\n",
        line);
}

void discovery_print_not_given(const struct discovery *d)
{
    for (size_t i = 0; i < d->n_memory; i++) {
        const struct discovery_memory *m = &d->memory[i];
        char path[200];
        if (!m->proposed || m->given)
            continue;
        snprintf(path, sizeof path, "%s", m->path);
        output_make_safe(path);
        fprintf(stderr,
                "migctl: %s of %s are mapped by process %" PRIu64
                " too, and are not registered: right when no device "
                "and no CPU of the workload writes them\n",
                FORMAT_BYTES(m->size_bytes), path, d->pid);
    }
}
