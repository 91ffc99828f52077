/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel VFIO for migctl register: descriptors of the process that holds the devices, handed to migd. */
#pragma once
#include "bus.h"
#include "domain-spec.h"

struct json_object;

/* path: of the domain. */
int register_container(sd_bus *bus, const char *path, const struct spec_container *c, struct mig_error *err);
/* tracker: instead of d->tracker. */
int register_kernel_device(sd_bus *bus, const char *path, const struct spec_device *d, const char *tracker,
                           struct mig_error *err);
/* Has migd open the device at d->address. *ret_info, the caller's, says what became of it; may be NULL. */
int register_opened_device(sd_bus *bus, const char *path, const struct spec_device *d,
                           struct json_object **ret_info, struct mig_error *err);
