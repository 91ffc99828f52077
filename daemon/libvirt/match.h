/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which device of this host can take the place of one that a guest had on another host. Pure: what is wished
 * and what there is come in as values, and nothing is asked.
 */
#pragma once
#include "base/error.h"

#define MATCH_TEXT_MAX 96u

/* What must be the same, where it is known of the wish. A label always must. */
enum match_rule {
    MATCH_VENDOR = 1u << 0,
    MATCH_DEVICE = 1u << 1,
    MATCH_SUBSYSTEM = 1u << 2,
    MATCH_DRIVER = 1u << 3,
    MATCH_NUMA_NODE = 1u << 4,
};

struct match_device {
    bool mediated;
    char address[MATCH_TEXT_MAX]; /* 0000:17:00.1, or the UUID of a mediated device */
    /* 0, "", -1: not known. */
    uint16_t vendor, device, subvendor, subdevice;
    char driver[MATCH_TEXT_MAX];
    char type[MATCH_TEXT_MAX]; /* of a mediated device; must always be the same */
    int numa_node;
    char label[MATCH_TEXT_MAX];
    bool may_bind; /* of a wish: whoever gets the device binds it to VFIO first */
    /* Of what there is. */
    bool unbound;                  /* not on a driver that speaks VFIO: only by its address or a label, and
                                      only for a wish that may bind */
    char taken_by[MATCH_TEXT_MAX]; /* who has it; "": nobody */
};

#define MATCH_DEVICE_INIT                                                                                    \
    (struct match_device)                                                                                    \
    {                                                                                                        \
        .numa_node = -1                                                                                      \
    }

/* "vendor device driver" -> bits; "off" or "" -> 0. -EINVAL for another word. */
int match_rules_parse(const char *text, unsigned *ret);

/* Whether enough is known of a wish that a device can be chosen for it. */
bool match_is_known(const struct match_device *wish);

/* Index of the best device: that of the same address where it fits, then one on the same NUMA node, then the
 * lowest address. NoSuchObject when none fits: how many there are and why they do not. */
int match_find(const struct match_device *wish, const struct match_device *devices, size_t n, unsigned rules,
               size_t *ret, struct mig_error *err);

/* The label of an address from "PATTERN=LABEL PATTERN=LABEL ...", patterns as in a shell, the first that
 * fits. "" when none does. -EINVAL when the text is not of this form; then *ret is untouched. */
int match_label(const char *labels, const char *address, char ret[MATCH_TEXT_MAX]);
