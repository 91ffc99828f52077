/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sysfs says of a PCI function and of a mediated device. Nothing is opened but sysfs. Any thread but
 * the main one. */
#pragma once
#include "host/facts.h"
#include "host/tree.h"

struct variants;

/* -ENOENT: there is no such function. What a file does not say is left at "" or 0. */
int pci_function_learn(struct host_device *d, const struct host_tree *t, const struct variants *v,
                       const char *address);
/* A host bridge, a switch port, ...: nothing that anybody passes through. */
bool pci_function_is_bridge(const struct host_device *d);
/* The same for a mediated device, by UUID. */
int mdev_learn(struct host_device *d, const struct host_tree *t, const char *uuid);
/* "17:00.1" has a domain 0000. False for what is neither the address of a function nor a UUID. */
bool pci_address_complete(char ret[static HOST_NAME_MAX_BYTES], const char *typed);
