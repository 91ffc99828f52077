/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a switch-over within the allowed downtime is thinkable at all: memory that nobody tracks and device
 * state are in every blackout, however many rounds go before. What the tracked memory adds is known in the
 * rounds only (outgoing/convergence.h).
 */
#include "base/clock.h"
#include "base/format.h"
#include "check/check-private.h"
#include <sys/stat.h>

/* State changes and the calls to the VMM: what rounds add to every estimate at the least. */
#define LEAST_FIXED_USEC (5 * USEC_PER_MSEC)

/* Holes are sent as such. */
static uint64_t allocated_bytes(const struct region *r)
{
    struct stat st;
    if (fstat(r->fd, &st) < 0 || r->file_page_bytes > REGION_PAGE_SIZE)
        return r->size_bytes;
    return MIN(r->size_bytes, (uint64_t)st.st_blocks * 512);
}

void check_convergence(struct check *c)
{
    const struct migration_options *o = c->request->options;
    uint64_t memory_bytes = 0;
    for (size_t i = 0; i < c->nmemory; i++)
        memory_bytes += c->unknown[i] ? allocated_bytes(c->memory[i].region) : 0;
    uint64_t usec = check_usec_for(c, memory_bytes + c->state_bytes);
    if (memory_bytes + c->state_bytes && *check_bandwidth_note(c))
        TELL(c, FINDING_BANDWIDTH_ASSUMED, "", NULL,
             "How much the link to the destination carries is not known: times are for %s",
             FORMAT_RATE(check_bandwidth(c)));
    if (usec > o->max_downtime_usec)
        TELL(c, FINDING_CONVERGENCE_IMPOSSIBLE, c->domain->name, NULL,
             "%s of untracked memory and %s of device state can only be sent in the blackout, which takes %s "
             "at %s%s; %s are allowed",
             FORMAT_BYTES(memory_bytes), FORMAT_BYTES(c->state_bytes), FORMAT_USEC(usec),
             FORMAT_RATE(check_bandwidth(c)), check_bandwidth_note(c), FORMAT_USEC(o->max_downtime_usec));
    else if (o->max_downtime_usec <= LEAST_FIXED_USEC)
        TELL(c, FINDING_DOWNTIME_SHORT, c->domain->name, NULL,
             "A downtime of %s is allowed, and the steps of a switch-over alone are counted with %s or more",
             FORMAT_USEC(o->max_downtime_usec), FORMAT_USEC(LEAST_FIXED_USEC));
}
