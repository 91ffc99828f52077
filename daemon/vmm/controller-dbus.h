/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VMM that exports org.migd.Migd1.Vmm on the bus (see the interface XML). */
#pragma once
#include "vmm/controller.h"

#define CONTROLLER_DEFAULT_TIMEOUT_USEC UINT64_C(10000000)

struct loop;
struct sd_bus;

/* loop and bus are borrowed and must outlive every call. A call takes at most timeout_usec, and never longer
 * than the deadline that it was given. Fails with InvalidArgument for a bus name or path that is not one;
 * whether the VMM is there shows at the first call. */
int controller_new_dbus(struct controller **ret, struct loop *loop, struct sd_bus *bus, const char *bus_name,
                        const char *path, uint64_t timeout_usec, struct mig_error *err);
