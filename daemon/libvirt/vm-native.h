/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's part of a migration in which migd moves the memory (engine=native): its call, which goes on
 * beside migd's own migration of the registered guest. libvirt waits in the hook of the destination until
 * that one was decided, then moves CPUs and devices; see libvirt/guests.h.
 */
#pragma once
#include "libvirt/vm-plan.h"
#include "loop/loop.h"
#include "migration/migration.h"

struct vm_natives; /* those that go on; main thread */
/* ended: of one that had a migration. */
int vm_natives_new(struct vm_natives **ret, struct loop *loop,
                   void (*ended)(struct migration *m, void *userdata), void *userdata);
/* At the end of the daemon: libvirt goes on with those that it has not ended. */
struct vm_natives *vm_natives_free(struct vm_natives *all);

struct vm_native;
struct hook;
/* Any thread: libvirt begins (vm-carry.h). */
int vm_native_begin(struct vm_native **ret, const struct vm_plan *plan, const struct hook *hook,
                    const char *runtime_dir, struct mig_error *err);
/* Any thread: whether its part has ended, and then in err what libvirt says, or that it has moved everything
 * by itself. */
bool vm_native_has_ended(struct vm_native *n, struct mig_error *err);
/* Main thread. It goes on, its end is logged, and it is freed. When libvirt fails, m (NULL: none), which is
 * migd's part of it, is broken off; one that cannot be any more says so when it has completed. */
void vm_native_keep(struct vm_natives *all, struct vm_native *n, struct migration *m);
/* Main thread. Whether libvirt is still at its part of this migration. */
bool vm_native_goes_on(const struct vm_natives *all, const struct migration *m);
