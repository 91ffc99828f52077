/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* StartVm with engine "native": libvirt begins, and as soon as the guest waits at the destination migd moves
 * its memory. */
#pragma once
#include "api/api-context.h"
#include "libvirt/vm-native.h"

/* The guest's domain, which its hook has registered; NotSupported when it has not. */
struct domain *api_find_guest(struct api *a, const char *name, struct mig_error *err);
/* On a helper, during a job of the domain. BLOCKS until the guest waits there. *ret is the caller's, also on
 * failure: libvirt may be under way with it. */
int api_vm_native_begin(const struct api *a, struct domain *guest, const struct vm_plan *plan,
                        const char *destination, int cancel_fd, struct vm_native **ret,
                        struct mig_error *err);
