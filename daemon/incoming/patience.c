/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/patience.h"
#include "base/clock.h"
#include "base/format.h"

#define INTERVAL_MIN_USEC (20 * USEC_PER_MSEC)
#define INTERVAL_MAX_USEC (5 * USEC_PER_SEC)
#define LOOKS_PER_LIMIT   16

int patience_look(struct patience *p, uint64_t now, uint64_t mark, bool excused, struct mig_error *err)
{
    if (!p->began_usec)
        p->began_usec = now;
    if (!p->moved_usec || excused || mark != p->mark)
        p->moved_usec = now;
    p->mark = mark;
    int r = 0;
    if (now - p->moved_usec >= p->limits.progress_usec)
        r = mig_error_set(
            err, MIG_ERR_TIMED_OUT, 0,
            "The source has brought nothing for %s: no page, no device state, no end of a round",
            FORMAT_USEC(p->limits.progress_usec));
    else if (now - p->began_usec >= p->limits.receive_usec)
        r = mig_error_set(err, MIG_ERR_TIMED_OUT, 0, "The source has been sending for %s, and is not done",
                          FORMAT_USEC(p->limits.receive_usec));
    if (r < 0)
        mig_error_hint(err,
                       "ProgressTimeout= and ReceiveTimeout= of migd.conf at the destination set how long a "
                       "migration may take there");
    return r;
}

uint64_t patience_interval_usec(const struct patience *p)
{
    uint64_t least = MIN(p->limits.progress_usec, p->limits.receive_usec);
    if (least == USEC_INFINITY)
        return USEC_INFINITY;
    return MIN(MAX(least / LOOKS_PER_LIMIT, INTERVAL_MIN_USEC), INTERVAL_MAX_USEC);
}
