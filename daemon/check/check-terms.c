/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of a check reckon with. */
#include "base/clock.h"
#include "check/check-private.h"

/* 0: none. */
static uint64_t cap_of(const struct check *c)
{
    uint64_t own = c->request->options->bandwidth_bytes_per_sec, total = c->request->total_bytes_per_sec;
    return own && total ? MIN(own, total) : own + total;
}

uint64_t check_bandwidth(const struct check *c)
{
    uint64_t known = c->request->bandwidth_bytes_per_sec, cap = cap_of(c);
    uint64_t bw = known ? known : CHECK_ASSUMED_BANDWIDTH;
    return cap ? MIN(bw, cap) : bw;
}

const char *check_bandwidth_note(const struct check *c)
{
    return c->request->bandwidth_bytes_per_sec || cap_of(c) ? "" : ", assumed";
}

uint64_t check_usec_for(const struct check *c, uint64_t bytes)
{
    unsigned __int128 usec = (unsigned __int128)bytes * USEC_PER_SEC / check_bandwidth(c);
    return usec > UINT64_MAX ? UINT64_MAX : (uint64_t)usec;
}

size_t check_count_mappings(struct check *c, struct iova_map *map)
{
    struct iova_mapping *mappings;
    size_t n = 0;
    if (iova_map_snapshot(map, &mappings, &n) < 0)
        c->failed = true;
    else
        iova_mappings_free(mappings, n);
    return n;
}

bool check_is_mapped(struct check *c, struct iova_map *map, const struct region *region)
{
    struct iova_mapping *mappings;
    size_t n;
    bool found = false;
    if (iova_map_snapshot(map, &mappings, &n) < 0) {
        c->failed = true;
        return true;
    }
    for (size_t i = 0; i < n; i++)
        found |= mappings[i].region == region;
    iova_mappings_free(mappings, n);
    return found;
}
