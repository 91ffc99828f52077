/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VFIO variant drivers that the running kernel has: vendor drivers that know how to save the state of
 * their device, where plain vfio-pci does not. The kernel announces them as aliases of the form
 *
 *     alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci
 *
 * in modules.alias, and for what is built in as mlx5_vfio_pci.alias=vfio_pci:... in modules.builtin.modinfo.
 */
#pragma once
#include "host/tree.h"

struct variants;

/* For the kernel that /proc names. 0 too when neither file is there: see variants_known. */
int variants_read(struct variants **ret, const struct host_tree *t);
struct variants *variants_free(struct variants *v);
DEFINE_CLEANUP(struct variants *, variants_free)
/* Whether a list of modules could be read at all. */
bool variants_known(const struct variants *v);
/* Whether plain vfio-pci is among the modules. */
bool variants_have_plain(const struct variants *v);
/* The module for a device of this modalias ("pci:v...d..."): the most specific one, plain vfio-pci aside;
 * NULL when there is none. Borrowed. */
const char *variants_find(const struct variants *v, const char *modalias);
