/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which device of this host an address means, and what sysfs says of it. Any thread; nothing is opened, and
 * nothing waits for a device.
 */
#pragma once
#include "base/error.h"
#include "vfio/kernel.h"

#define OPEN_PATH_MAX    400
#define OPEN_ADDRESS_MAX 127

/* Where the kernel shows itself; NULL members: where it really does. Borrowed by whatever is made with it. */
struct open_places {
    const char *sys, *dev, *proc;
    const struct kernel_calls *calls;
};

struct open_target {
    char address[OPEN_ADDRESS_MAX + 1]; /* its name on its bus: 0000:17:00.1, a UUID */
    char sysfs[OPEN_PATH_MAX];          /* canonical */
    char bus[32];                       /* "pci", "mdev", ... */
    char driver[64];                    /* "": none */
    char cdev[32];                      /* "vfio3"; "": none */
    bool vfio;                          /* bound to a driver that offers it through VFIO */
    bool noiommu;                       /* its group is one without an IOMMU */
    int group;                          /* -1: none */
};

/* address: of a PCI function (the domain may be left out), the UUID of a mediated device, or a path of a
 * device below /sys. Refused with words when there is none, when it has no IOMMU, or when its driver does not
 * offer it. name: of the device, for messages. */
int open_target_find(struct open_target *ret, const char *name, const char *address,
                     const struct open_places *places, struct mig_error *err);
/* "PLACE/format" in buf; false when it does not fit. */
bool open_place(char buf[static OPEN_PATH_MAX], const char *place, const char *otherwise, const char *format,
                ...) _printf_(4, 5);

/* For messages: the devices of the group that drivers of the host have, "0000:17:00.0 (nvme), ...". "" when
 * there are none. */
void open_target_neighbours(const struct open_target *t, const struct open_places *places, char *buf,
                            size_t size);
/* For messages: the processes that have this path open, "process 4711 (qemu-system-x86)". "" when none is
 * seen. Looks at every process: for failures only. */
void open_target_holders(const char *path, const struct open_places *places, char *buf, size_t size);
