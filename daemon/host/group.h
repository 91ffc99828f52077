/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The IOMMU group of a device: what the hardware cannot keep apart belongs to one owner. A group can be used
 * (is viable) when each member is bound to VFIO or to nothing; bridges, and drivers that do no DMA
 * (pcieport, pci-stub), are left out of account, as the kernel does it.
 *
 * Any thread but the main one.
 */
#pragma once
#include "host/facts.h"
#include "host/tree.h"

/* Fills members, viable and no_iommu. ask: the kernel too, by opening the group for a moment. 0 or -ENOMEM.
 */
int group_learn(struct host_device *d, const struct host_tree *t, bool ask);
