/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `migctl register` was asked to register: options, the domain file, and what --pid finds. */
#pragma once
#include "register-pid.h"

/* What --pid is about; empty without it. */
struct register_found {
    struct discovery process;
    bool missing; /* nobody has said where the devices see memory */
};

static inline void register_found_done(struct register_found *f)
{
    discovery_done(&f->process);
}

/* *spec is whole and free of contradictions afterwards, but for found->missing. */
int register_read(struct domain_spec *spec, const struct args *args, struct register_found *found,
                  struct mig_error *err);
/* --dry-run, or --pid without a word on where the devices see memory: what was found. err: why that is all,
 * or NULL. The exit code. */
int register_show_found(const struct register_found *found, const struct args *args,
                        const struct mig_error *err);
