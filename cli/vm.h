/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains of libvirt's, which migd does not own: telling them from its own, asking migd about them, starting
 * their migrations. */
#pragma once
#include "args.h"
#include <systemd/sd-bus.h>

struct json_object;

/* Whose the first argument is: *ret_path of a domain of migd's, or *ret_vm. A name that nobody has is taken
 * for libvirt's. InvalidArgument for options that the other kind has. */
int vm_find(sd_bus *bus, const struct args *args, char **ret_path, bool *ret_vm, struct mig_error *err);

/* Asks for the check of a libvirt domain and prints it, and with `plan` how it would be moved; the exit code.
 */
int vm_report(sd_bus *bus, const struct args *args, const char *host, bool plan);

/* Path of the migration that it began; the caller frees it. flags as in migration-options.h. */
int vm_begin(sd_bus *bus, const struct args *args, const char *name, const char *host,
             const char *const *flags, char **ret_path, struct mig_error *err);
/* Findings and plan as JSON; the caller puts both. */
int vm_rehearse(sd_bus *bus, const struct args *args, const char *name, const char *host,
                const char *const *flags, struct json_object **ret_findings, struct json_object **ret_plan,
                struct mig_error *err);
/* All domains of libvirt's on this host. */
int vm_all(sd_bus *bus, struct json_object **ret, struct mig_error *err);
