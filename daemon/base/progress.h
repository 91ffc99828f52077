/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the threads that do the work get on. A thread that waits in fd_wait() waits for somebody with a
 * deadline of its own, and is fine; one that is neither there nor gives a sign for minutes hangs in the
 * kernel or in a loop. Whoever feeds a watchdog asks.
 *
 * progress_enter and _leave frame a thread's life; beat and wait belong to the calling thread and cost a
 * store. In a thread that did not enter they do nothing.
 */
#pragma once
#include "base/util.h"
#include <stdatomic.h>

struct progress {
    char name[16];
    _Atomic uint64_t beat_usec; /* of the last sign; UINT64_MAX: it waits */
    struct progress *next;
};

void progress_enter(struct progress *p, const char *name);
void progress_leave(struct progress *p);
/* A step of a long computation is done. */
void progress_beat(void);
/* From here on the thread waits, or does no longer. */
void progress_wait(bool waiting);

/* Any thread: how long the one that is silent longest has given no sign; 0 when there is none. */
uint64_t progress_silence_usec(char ret_name[static 16]);
