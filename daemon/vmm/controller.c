/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm/controller.h"

struct controller *controller_ref(struct controller *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

struct controller *controller_unref(struct controller *c)
{
    if (c && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0)
        c->ops->destroy(c);
    return NULL;
}
