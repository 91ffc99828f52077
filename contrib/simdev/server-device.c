/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server.h"
#include <string.h>

/* Capability of a region that can be mapped in part (linux/vfio.h, VFIO_REGION_INFO_CAP_SPARSE_MMAP). */
struct sparse_cap {
    uint16_t id, version;
    uint32_t next;
    uint32_t nr_areas, reserved;
    uint64_t offset, size;
};
#define SPARSE_CAP_ID      1u
#define SPARSE_CAP_VERSION 1u

int handle_get_info(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_device_info *info = reply_make(r, sizeof *info);
    if (!info)
        return -ENOMEM;
    *info = (struct vfu_device_info){
        .argsz = sizeof *info,
        .flags = VFU_DEVICE_FLAGS_RESET | VFU_DEVICE_FLAGS_PCI,
        .num_regions = PCI_REGIONS,
        .num_irqs = IRQ_INDEX_MAX,
    };
    return 0;
}

int handle_region_info(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_region_info request, info;
    memcpy(&request, m->payload, sizeof request);
    if (request.argsz < sizeof request || request.index >= PCI_REGIONS)
        return -EINVAL;
    info = (struct vfu_region_info){.argsz = sizeof info, .index = request.index};
    info.size = pci_region(request.index, &info.flags);
    bool mappable = info.flags & VFU_REGION_FLAG_MMAP;
    if (mappable)
        info.argsz += sizeof(struct sparse_cap);
    bool with_caps = mappable && request.argsz >= info.argsz;
    uint8_t *payload = reply_make(r, with_caps ? info.argsz : sizeof info);
    if (!payload)
        return -ENOMEM;
    if (with_caps) {
        struct sparse_cap cap = {
            .id = SPARSE_CAP_ID,
            .version = SPARSE_CAP_VERSION,
            .nr_areas = 1,
            .size = PCI_BAR2_MAP_BYTES,
        };
        info.flags |= VFU_REGION_FLAG_CAPS;
        info.cap_offset = sizeof info;
        memcpy(payload + sizeof info, &cap, sizeof cap);
        r->fds[r->n_fds++] = d->pci.bar2_fd;
    }
    memcpy(payload, &info, sizeof info);
    return 0;
}

int handle_irq_info(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_irq_info request, *info;
    memcpy(&request, m->payload, sizeof request);
    if (request.argsz < sizeof request || request.index >= IRQ_INDEX_MAX)
        return -EINVAL;
    info = reply_make(r, sizeof *info);
    if (!info)
        return -ENOMEM;
    *info = (struct vfu_irq_info){
        .argsz = sizeof *info,
        .flags = 1, /* by eventfd */
        .index = request.index,
        .count = irqs_count(request.index),
    };
    return 0;
}

int handle_set_irqs(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_irq_set set;
    memcpy(&set, m->payload, sizeof set);
    engine_park(&d->engine);
    int result =
        irqs_set(&d->irqs, &set, m->payload + sizeof set, m->payload_bytes - sizeof set, m->fds, m->n_fds);
    engine_release(&d->engine);
    return result;
}

int handle_region_read(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_region_rw rw;
    memcpy(&rw, m->payload, sizeof rw);
    if (rw.count > VFU_MAX_DATA_XFER_BYTES)
        return -EINVAL;
    uint8_t *payload = reply_make(r, sizeof rw + rw.count);
    if (!payload)
        return -ENOMEM;
    int result = pci_read(d, &rw, payload + sizeof rw);
    switch (d->misbehave.lie[POINT_REGION_READ]) {
    case LIE_SHORT:
        r->payload_bytes -= MIN(r->payload_bytes, (size_t)2);
        break;
    case LIE_LONG:
        rw.count += 64;
        break;
    default:
        break;
    }
    memcpy(payload, &rw, sizeof rw);
    return result;
}

int handle_region_write(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_region_rw rw;
    memcpy(&rw, m->payload, sizeof rw);
    if (m->payload_bytes - sizeof rw < rw.count)
        return -EINVAL;
    int result = pci_write(d, &rw, m->payload + sizeof rw);
    if (result < 0)
        return result;
    uint8_t *payload = reply_make(r, sizeof rw);
    if (!payload)
        return -ENOMEM;
    memcpy(payload, &rw, sizeof rw);
    return 0;
}

int handle_reset(struct device *d, struct message *m, struct reply *r)
{
    migration_reset(d);
    return 0;
}
