/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads /proc/PID/maps. A wrong address would not fail anywhere: writes to other memory would be reported,
 * and those to the region not, so it is checked before it is watched. Worker thread.
 */
#include "dirty/process-maps.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct line {
    uint64_t start, end, offset, inode;
    bool shared, writable;
};

static bool parse(const char *text, struct line *l)
{
    unsigned long long start, end, offset, inode;
    char perms[5];
    if (sscanf(text, "%llx-%llx %4s %llx %*x:%*x %llu", &start, &end, perms, &offset, &inode) != 5 ||
        strlen(perms) != 4)
        return false;
    *l = (struct line){start, end, offset, inode, perms[3] == 's', perms[1] == 'w'};
    return true;
}

static bool shows_region(const struct line *l, const struct region *r)
{
    uint64_t length = l->end - l->start;
    return l->shared && l->writable && l->offset < r->offset_bytes + r->size_bytes &&
           r->offset_bytes < l->offset + length;
}

int process_maps_check(pid_t pid, uint64_t address, const struct region *r, unsigned *ret_others,
                       uint64_t *ret_other_address, struct mig_error *err)
{
    char path[40];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f || fstat(r->fd, &st) < 0) {
        int e = errno;
        if (f)
            fclose(f);
        mig_error_set(err, MIG_ERR_TRACKER, e, "cannot read the memory map of process %d: %s", (int)pid,
                      strerror(e));
        mig_error_hint(err, "migd needs CAP_SYS_PTRACE for processes of other users");
        return -e;
    }
    _cleanup_free_ char *text = NULL;
    size_t room = 0;
    uint64_t covered = address, end = address + r->size_bytes, other = 0;
    unsigned others = 0;
    while (getline(&text, &room, f) > 0) {
        struct line l;
        if (!parse(text, &l) || l.inode != st.st_ino)
            continue;
        bool inside = l.start < end && l.end > address;
        /* Within the range, every byte must be the region's own. */
        if (inside && l.start <= covered && l.shared &&
            l.offset + (covered - l.start) == r->offset_bytes + (covered - address))
            covered = l.end < end ? l.end : end;
        else if (!inside && shows_region(&l, r) && others++ == 0)
            other = l.start;
    }
    fclose(f);
    if (covered < end) {
        mig_error_set(err, MIG_ERR_TRACKER, EINVAL,
                      "process %d does not have region %s (%llu MiB) mapped shared at %#llx: it is not there "
                      "from %#llx on",
                      (int)pid, r->name, (unsigned long long)(r->size_bytes >> 20),
                      (unsigned long long)address, (unsigned long long)covered);
        mig_error_hint(err, "name the address at which the workload has mapped the region's file, from the "
                            "region's offset on, with MAP_SHARED");
        return -EINVAL;
    }
    *ret_others = others;
    *ret_other_address = other;
    return 0;
}
