/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's event loop on ours: its sockets and timers are watched by libevent, and what it wants to tell is
 * told on the main thread. libvirt changes its wishes on whichever thread makes a call, and libevent belongs
 * to the main thread, so that wishes are noted in a table under a lock and carried over by a posted function.
 *
 * One for the process, since libvirt takes one.
 */
#pragma once
#include "base/error.h"

struct loop;

/* Any thread, each time before a connection is opened; registers at the first time. */
int virt_events_start(struct mig_error *err);
/* Main thread: whose loop carries them from now on; NULL: none does, before the loop is freed. */
void virt_events_use(struct loop *l);
