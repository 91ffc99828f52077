/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of vendors, devices and classes from pci.ids, where the host has that list (Debian: pci.ids). Any
 * thread but the main one. */
#pragma once
#include "host/facts.h"
#include "host/tree.h"

/* Fills vendor_name, device_name and class_name; they stay "" when nobody knows them. 0 or -ENOMEM. */
int pci_names_find(struct host_device *devices, size_t n, const struct host_tree *t);
