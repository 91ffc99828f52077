/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VFIO containers of a QEMU with passed-through devices, taken from its process. QEMU itself maps, and it
 * moves the state of the devices; migd reads what they write. Worker thread.
 */
#pragma once
#include "vfio/container.h"
#include "vmm/qmp.h"

#define QEMU_CONTAINERS_MAX 16u

/* Named "container0" and so on, in the order of QEMU's descriptors; nothing is mapped in them yet. An iommufd
 * is refused: what QEMU has attached where in it, nobody can ask. */
int qemu_containers_take(const struct qmp *q, struct container **list, size_t *ret_n, struct mig_error *err);
