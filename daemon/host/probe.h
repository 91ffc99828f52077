/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks the kernel what a device can do, which takes its descriptor: by cdev and iommufd, else by group and
 * container, opened for the moment of the question. Only a device that nobody has is opened; a VMM that wants
 * it in that moment finds it busy.
 *
 * No state is changed and no reset asked for; opening alone makes vfio-pci reset an idle function, as it does
 * for everybody. Any thread but the main one: a device may take a second to wake.
 */
#pragma once
#include "host/facts.h"
#include "host/tree.h"

struct device;

/* Fills probe, probe_error and what was asked: migration, state_bytes, device_log, container_log. */
void probe_device(struct host_device *d, const struct host_tree *t);
/* The same from a device that a domain of this daemon has. busy: a migration runs, so it is not asked
 * anything, and what was learned when it came is told. */
void probe_known_device(struct host_device *d, struct device *device, bool busy);
/* Whether legacy containers are there, and are not an iommufd in disguise, which cannot track. */
bool probe_type1(const struct host_tree *t);
