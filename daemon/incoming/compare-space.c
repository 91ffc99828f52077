/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the memory of a migration to come has room here. A region is a file whose pages appear when they
 * are first written; what the source has allocated and the file here has not must come from its file system,
 * and for tmpfs from the memory of this host. Huge pages were reserved when migd mapped the file.
 */
#include "base/format.h"
#include "incoming/compare-parts.h"
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

/* A file system, and what its files must grow by. */
struct need {
    dev_t dev;
    uint64_t bytes, free_bytes;
    bool limited;     /* free_bytes counts */
    bool in_memory;   /* its pages are memory of this host */
    const char *name; /* of the first region in it */
};

/* What the source has allocated of a region; all of it where it does not say. */
static uint64_t allocated_there(struct json_object *o, const struct region *r)
{
    uint64_t bytes;
    return json_get_u64(o, "allocated", &bytes) < 0 ? r->size_bytes : MIN(bytes, r->size_bytes);
}

static struct json_object *find_in_hello(struct json_object *regions, const char *name)
{
    const char *other;
    for (size_t i = 0; i < json_object_array_length(regions); i++) {
        struct json_object *o = json_object_array_get_idx(regions, i);
        if (json_get_string(o, "name", &other) == 0 && strcmp(other, name) == 0)
            return o;
    }
    return NULL;
}

static struct need *find_need(struct need *needs, size_t *n, const struct region *r, const struct stat *st)
{
    struct statfs fs;
    for (size_t i = 0; i < *n; i++)
        if (needs[i].dev == st->st_dev)
            return &needs[i];
    if (fstatfs(r->fd, &fs) < 0 || fs.f_type == HUGETLBFS_MAGIC)
        return NULL;
    struct need *need = &needs[(*n)++];
    *need = (struct need){.dev = st->st_dev,
                          .free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize,
                          .limited = fs.f_blocks != 0, /* memfds live in a tmpfs without a size */
                          .in_memory = fs.f_type == TMPFS_MAGIC,
                          .name = r->name};
    return need;
}

/* Whether a region before this one lies in the same file. */
static bool is_counted(const struct here *here, size_t index, const struct stat *st)
{
    struct stat other;
    for (size_t i = 0; i < index; i++)
        if (fstat(here->memory[i].region->fd, &other) == 0 && other.st_dev == st->st_dev &&
            other.st_ino == st->st_ino)
            return true;
    return false;
}

/* What the file of region `index` must grow by, for all regions in it. */
static uint64_t file_needs(struct json_object *regions, const struct here *here, size_t index,
                           const struct stat *st)
{
    uint64_t wanted_bytes = 0, have_bytes = (uint64_t)st->st_blocks * 512;
    for (size_t i = index; i < here->nmemory; i++) {
        const struct region *r = here->memory[i].region;
        struct json_object *o = find_in_hello(regions, r->name);
        struct stat other;
        if (o && fstat(r->fd, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino)
            wanted_bytes += allocated_there(o, r);
    }
    return wanted_bytes > have_bytes ? wanted_bytes - have_bytes : 0;
}

static uint64_t available_memory_bytes(void)
{
    char line[128];
    unsigned long long kib = UINT64_MAX / 1024;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kib * 1024;
}

static int judge(const struct need *needs, size_t n, struct findings *ret)
{
    uint64_t memory_bytes = 0, available_bytes = available_memory_bytes();
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        memory_bytes += needs[i].in_memory ? needs[i].bytes : 0;
        if (needs[i].limited && needs[i].bytes > needs[i].free_bytes)
            r = findings_add(
                ret, FINDING_MEMORY_NO_SPACE, needs[i].name, NULL,
                "The file system behind memory %s has %s free at the destination, and %s must be written",
                needs[i].name, FORMAT_BYTES(needs[i].free_bytes), FORMAT_BYTES(needs[i].bytes));
    }
    if (r == 0 && memory_bytes > available_bytes)
        r = findings_add(ret, FINDING_MEMORY_LOW, "", NULL,
                         "The destination has %s of memory available, and the workload brings %s",
                         FORMAT_BYTES(available_bytes), FORMAT_BYTES(memory_bytes));
    return r;
}

int compare_space(struct json_object *regions, const struct here *here, struct findings *ret)
{
    _cleanup_free_ struct need *needs = calloc(here->nmemory ? here->nmemory : 1, sizeof *needs);
    size_t n = 0;
    if (!needs)
        return -ENOMEM;
    for (size_t i = 0; i < here->nmemory; i++) {
        const struct region *r = here->memory[i].region;
        struct stat st;
        if (fstat(r->fd, &st) < 0 || is_counted(here, i, &st))
            continue;
        struct need *need = find_need(needs, &n, r, &st);
        if (need)
            need->bytes += file_needs(regions, here, i, &st);
    }
    return judge(needs, n, ret);
}
