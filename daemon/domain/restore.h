/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making domains again from their saved forms when the daemon starts. Memory is opened by its path, devices
 * are connected to by their sockets. What cannot be had again leaves the domain broken, with a sentence that
 * says what and what to do; the rest of the domain is made all the same, because a device that stands still
 * for a migration that is over must be found by whoever sets it going again.
 */
#pragma once
#include "domain/registry.h"

struct sd_bus;
struct restore;

/* Main thread: reads every saved form below runtime_dir on workers (a device may take seconds to answer),
 * adds the domains to the registry on the main thread, and calls done there when the last one is in. Files
 * that are no saved form are logged and left alone. */
int restore_start(struct restore **ret, struct loop *loop, struct sd_bus *bus, struct registry *registry,
                  const char *runtime_dir, void (*done)(void *userdata), void *userdata,
                  struct mig_error *err);
/* From done or later, or at shutdown: then it waits for the workers. */
struct restore *restore_free(struct restore *r);
DEFINE_CLEANUP(struct restore *, restore_free)

/* BLOCKS: fills a fresh domain, which nobody else knows yet, from what domain_to_json wrote. What is missing
 * makes it broken; fails only for something that is no saved form. bus may be NULL: then there are no dbus
 * controllers. */
int domain_from_json(struct domain *d, struct sd_bus *bus, struct json_object *o, struct mig_error *err);
