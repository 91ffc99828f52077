/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gives each host device of a domain that is about to arrive a device of this host, and reserves it. Main
 * thread; what there is was looked up before, by a helper (hook_offers_take).
 */
#pragma once
#include "host/tree.h"
#include "libvirt/hook-xml.h"
#include "libvirt/reservation.h"

struct hook_offers {
    struct match_device *items;
    size_t n;
};

/* Blocks. labels: DeviceLabels=. */
int hook_offers_take(struct hook_offers *ret, const struct host_tree *tree, const char *labels,
                     struct mig_error *err);
void hook_offers_done(struct hook_offers *o);

struct hook_filter {
    unsigned rules; /* of match.h; 0: nothing is swapped */
    struct reservations *reservations;
    uint64_t now_usec, until_usec;
};

/* Swaps in x, reserves, and marks in o what was chosen. note: what somebody should know although nothing
 * failed. On failure nothing is reserved for this domain. */
int hook_filter_run(const struct hook_filter *f, struct hook_xml *x, struct hook_offers *o, char *note,
                    size_t note_size, struct mig_error *err);
