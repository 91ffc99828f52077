/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/util.h"
#include <limits.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t now_usec(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t thread_cpu_usec(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int deadline_poll_msec(uint64_t deadline_usec)
{
    if (deadline_usec == USEC_INFINITY)
        return -1;
    uint64_t now = now_usec();
    if (deadline_usec <= now)
        return 0;
    uint64_t msec = div_round_up(deadline_usec - now, USEC_PER_MSEC);
    return msec > INT_MAX ? INT_MAX : (int)msec;
}

uint64_t deadline_in(uint64_t timeout_usec)
{
    uint64_t now = now_usec();
    return timeout_usec >= USEC_INFINITY - now ? USEC_INFINITY : now + timeout_usec;
}
