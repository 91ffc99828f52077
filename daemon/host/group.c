/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/group.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define GROUPS "/sys/kernel/iommu_groups"

static void learn_member(struct host_member *m, const struct host_tree *t, const char *group,
                         const char *address)
{
    static const char *const harmless[] = {"pci-stub", "pcieport", "shpchp"};
    int64_t class = 0;
    snprintf(m->address, sizeof m->address, "%.63s", address);
    tree_link_name(t, m->driver, sizeof m->driver, GROUPS "/%s/devices/%s/driver", group, address);
    tree_read_number(t, &class, GROUPS "/%s/devices/%s/class", group, address);
    m->bridge = class >> 8 == 0x0604;
    m->viable = !m->driver[0] || m->bridge || strstr(m->driver, "vfio") ||
                tree_has(t, GROUPS "/%s/devices/%s/vfio-dev", group, address);
    for (size_t i = 0; i < ELEMENTS(harmless); i++)
        m->viable |= strcmp(m->driver, harmless[i]) == 0;
}

/* What the kernel itself says, where its group can be opened: it cannot while somebody has it. */
static enum fact ask_kernel(const struct host_tree *t, const char *group)
{
    struct kvfio_group_status status = {.argsz = sizeof status};
    _cleanup_close_ int fd = tree_open(t, O_RDWR | O_NONBLOCK, "/dev/vfio/%s", group);
    if (fd < 0 || kernel_ioctl(t->calls, fd, KVFIO_GROUP_GET_STATUS, &status) < 0)
        return FACT_UNKNOWN;
    return status.flags & KVFIO_GROUP_VIABLE ? FACT_YES : FACT_NO;
}

int group_learn(struct host_device *d, const struct host_tree *t, bool ask)
{
    struct tree_names names = {0};
    if (!d->group[0])
        return 0;
    d->no_iommu = tree_has(t, "/dev/vfio/noiommu-%s", d->group);
    int r = tree_list(t, &names, GROUPS "/%s/devices", d->group);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    d->members = calloc(names.count + 1, sizeof *d->members);
    if (!d->members) {
        tree_names_free(&names);
        return -ENOMEM;
    }
    bool viable = names.count > 0;
    for (size_t i = 0; i < names.count; i++) {
        struct host_member *m = &d->members[d->nmembers++];
        learn_member(m, t, d->group, names.names[i]);
        m->viable |= d->kind == HOST_MDEV;
        viable &= m->viable;
    }
    tree_names_free(&names);
    d->viable = d->nmembers == 0 ? FACT_UNKNOWN : viable ? FACT_YES : FACT_NO;
    if (ask && d->on_vfio && !d->no_iommu && d->nholders == 0) {
        enum fact told = ask_kernel(t, d->group);
        if (told != FACT_UNKNOWN)
            d->viable = told;
    }
    return 0;
}
