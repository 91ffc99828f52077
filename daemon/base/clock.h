/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CLOCK_MONOTONIC in microseconds: the only clock that durations and deadlines use. */
#pragma once
#include <stdint.h>

#define USEC_PER_SEC  1000000ull
#define USEC_PER_MSEC 1000ull
#define USEC_INFINITY UINT64_MAX

uint64_t now_usec(void);
/* CLOCK_THREAD_CPUTIME_ID of the calling thread. */
uint64_t thread_cpu_usec(void);
/* Milliseconds left until deadline_usec for poll(): 0 when past, -1 for USEC_INFINITY, rounded up. */
int deadline_poll_msec(uint64_t deadline_usec);
/* now + timeout without overflow; USEC_INFINITY stays so. */
uint64_t deadline_in(uint64_t timeout_usec);
