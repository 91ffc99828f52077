/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the restoration of single parts shares: restore.c has the whole, restore-kernel.c containers and
 * kernel devices, restore-opened.c what migd opened. Worker; the domain belongs to it alone. */
#pragma once
#include "domain/domain.h"

struct json_object;

/* The first thing that is missing goes into the domain's problem, all of them into the log. */
void restore_missing(struct domain *d, const struct mig_error *e);
/* The descriptor of a part that the process before put into the service manager's store. -ENOENT: there is
 * none. */
int restore_kept_fd(struct domain *d, const char *kind, const char *name, struct json_object *o, int *ret);
/* "mappings" of a device or container. */
void restore_mappings(struct domain *d, const char *name, struct json_object *o,
                      int (*map)(void *userdata, const struct iova_mapping *m, struct mig_error *err),
                      void *userdata);
int restore_container(struct domain *d, struct json_object *o, struct mig_error *err);
int restore_kernel_device(struct domain *d, struct json_object *o, struct mig_error *err);
/* Before its container and device. */
int restore_opened(struct domain *d, struct json_object *o, struct mig_error *err);
