/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the memory of a migration to come has room here. A region is a file whose pages appear when they
 * are first written; what the source has allocated and the file here has not must come from its file system,
 * and for tmpfs from the memory of this host. Huge pages were reserved when migd mapped the file.
 */
#include "base/format.h"
#include "incoming/compare-parts.h"
#include "migd-wire.h"
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

struct part { /* a region of HELLO that is here */
    const struct region *region;
    dev_t dev;
    ino_t ino;
    uint64_t wanted_bytes; /* what the source has allocated of it */
    uint64_t file_bytes;   /* what its file has allocated here */
};

struct need { /* a file system, and what its files must grow by */
    dev_t dev;
    uint64_t bytes, free_bytes;
    bool limited;            /* free_bytes counts */
    bool in_memory;          /* its pages are memory of this host */
    uint64_t promised_bytes; /* of free_bytes, to other migrations */
    const char *name;        /* of the first region in it */
};

/* All of it where the source does not say. */
static bool describe_part(struct json_object *o, const struct here *here, struct part *ret)
{
    const char *name;
    uint64_t allocated;
    struct stat st;
    const struct region *r = json_get_string(o, "name", &name) == 0 ? here_find_region(here, name) : NULL;
    if (!r || fstat(r->fd, &st) < 0)
        return false;
    if (json_get_u64(o, "allocated", &allocated) < 0)
        allocated = r->size_bytes;
    *ret = (struct part){.region = r,
                         .dev = st.st_dev,
                         .ino = st.st_ino,
                         .wanted_bytes = MIN(allocated, r->size_bytes),
                         .file_bytes = (uint64_t)st.st_blocks * 512};
    return true;
}

static struct need *find_need(struct need *needs, size_t *n, const struct part *p, const struct here *here)
{
    struct statfs fs;
    for (size_t i = 0; i < *n; i++)
        if (needs[i].dev == p->dev)
            return &needs[i];
    if (fstatfs(p->region->fd, &fs) < 0 || fs.f_type == HUGETLBFS_MAGIC)
        return NULL;
    struct need *need = &needs[(*n)++];
    *need = (struct need){.dev = p->dev,
                          .free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize,
                          .limited = fs.f_blocks != 0, /* memfds live in a tmpfs without a size */
                          .in_memory = fs.f_type == TMPFS_MAGIC,
                          .promised_bytes = space_ledger_on(here->ledger, here->who, p->dev),
                          .name = p->region->name};
    return need;
}

/* What the file of part `index` must grow by, for all parts in it; 0 when an earlier part stands for it. */
static uint64_t file_needs(const struct part *parts, size_t n, size_t index, uint64_t *ret_file_bytes)
{
    const struct part *p = &parts[index];
    uint64_t wanted_bytes = *ret_file_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].dev != p->dev || parts[i].ino != p->ino)
            continue;
        if (i < index)
            return 0;
        wanted_bytes += parts[i].wanted_bytes;
    }
    *ret_file_bytes = wanted_bytes;
    return wanted_bytes > p->file_bytes ? wanted_bytes - p->file_bytes : 0;
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

/* ", of which X are promised to other migrations that arrive", or nothing. */
static const char *say_promised(char *buf, size_t size, uint64_t bytes)
{
    buf[0] = '\0';
    if (bytes)
        snprintf(buf, size, ", of which %s are promised to other migrations that arrive",
                 FORMAT_BYTES(bytes));
    return buf;
}

static int judge(const struct need *needs, size_t n, const struct here *here, struct findings *ret)
{
    char promised[120];
    uint64_t memory_bytes = 0, available_bytes = available_memory_bytes(),
             others_bytes = space_ledger_in_memory(here->ledger, here->who);
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        memory_bytes += needs[i].in_memory ? needs[i].bytes : 0;
        if (needs[i].limited && needs[i].bytes + needs[i].promised_bytes > needs[i].free_bytes)
            r = findings_add(
                ret, FINDING_MEMORY_NO_SPACE, needs[i].name, NULL,
                "The file system behind memory %s has %s free at the destination%s, and %s must be written",
                needs[i].name, FORMAT_BYTES(needs[i].free_bytes),
                say_promised(promised, sizeof promised, needs[i].promised_bytes),
                FORMAT_BYTES(needs[i].bytes));
    }
    if (r == 0 && memory_bytes > 0 && memory_bytes + others_bytes > available_bytes)
        r = findings_add(ret, FINDING_MEMORY_LOW, "", NULL,
                         "The destination has %s of memory available%s, and the workload brings %s",
                         FORMAT_BYTES(available_bytes), say_promised(promised, sizeof promised, others_bytes),
                         FORMAT_BYTES(memory_bytes));
    return r;
}

int compare_space(struct json_object *regions, const struct here *here, struct findings *ret)
{
    size_t count = json_object_array_length(regions), n = 0, nneeds = 0;
    _cleanup_free_ struct part *parts = calloc(count ? count : 1, sizeof *parts);
    _cleanup_free_ struct need *needs = calloc(count ? count : 1, sizeof *needs);
    if (!parts || !needs)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        n += describe_part(json_object_array_get_idx(regions, i), here, &parts[n]);
    for (size_t i = 0; i < n; i++) {
        uint64_t file_bytes, bytes = file_needs(parts, n, i, &file_bytes);
        struct need *need = bytes ? find_need(needs, &nneeds, &parts[i], here) : NULL;
        if (need)
            need->bytes += bytes;
    }
    return judge(needs, nneeds, here, ret);
}

int compare_promise(struct json_object *hello, const struct here *here)
{
    struct json_object *regions;
    size_t count, n = 0;
    if (json_get_array(hello, "regions", &regions, &count) < 0 || count > WIRE_REGIONS_MAX)
        return 0;
    _cleanup_free_ struct part *parts = calloc(count ? count : 1, sizeof *parts);
    if (!parts)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        n += describe_part(json_object_array_get_idx(regions, i), here, &parts[n]);
    for (size_t i = 0; i < n; i++) {
        struct statfs fs;
        uint64_t file_bytes;
        if (file_needs(parts, n, i, &file_bytes) == 0 || fstatfs(parts[i].region->fd, &fs) < 0 ||
            fs.f_type == HUGETLBFS_MAGIC)
            continue;
        int r = space_ledger_promise(here->ledger, here->who, parts[i].region->fd, file_bytes,
                                     fs.f_type == TMPFS_MAGIC);
        if (r < 0)
            return r;
    }
    return 0;
}
