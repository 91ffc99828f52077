/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `migctl register --pid`: from what a process holds to what is registered. */
#pragma once
#include "args.h"
#include "discover.h"
#include "domain-spec.h"

/* Looks into the process of --pid and adds its containers and devices to *spec, under names that --name may
 * change, without those that --skip leaves out and those that *spec has already. What *spec has with fd= and
 * without pid= is of this process, and memory must be something that the process shares.
 * *ret_missing: nobody has said where the devices see memory. */
int register_pid(struct domain_spec *spec, const struct args *args, struct discovery *ret, bool *ret_missing,
                 struct mig_error *err);
/* Options that mean nothing without --pid. */
int register_pid_refuse_options(const struct args *args, struct mig_error *err);
/* The error for *ret_missing. */
int register_pid_ask(const struct discovery *d, struct mig_error *err);
