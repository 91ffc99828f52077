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
