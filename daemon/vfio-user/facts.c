/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a device is, asked when it is attached: migration features, dirty log, regions, interrupts, PCI ids.
 */
#include "vfio-user/device-private.h"
#include <string.h>

int vfu_learn_migration(struct vfu_device *vd, struct device_info *info, struct mig_error *err)
{
    uint64_t flags = 0;
    int refused = 0;
    struct mig_error e = MIG_ERROR_INIT;
    int r = vfu_feature(vd, VFU_FEATURE_MIGRATION | VFU_FEATURE_GET, "DEVICE_FEATURE MIGRATION", NULL, 0,
                        &flags, sizeof flags, sizeof flags, &refused, &e);
    if (refused)
        return 0; /* no migration: everything stays as it was */
    if (r < 0) {
        if (err)
            *err = e;
        return r;
    }
    flags &= DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P | DEVICE_MIGRATION_PRE_COPY;
    if (flags & DEVICE_MIGRATION_STOP_COPY)
        info->migration_flags = (uint32_t)flags;

    static const uint32_t log_features[] = {
        VFU_FEATURE_DMA_LOGGING_START | VFU_FEATURE_SET,
        VFU_FEATURE_DMA_LOGGING_STOP | VFU_FEATURE_SET,
        VFU_FEATURE_DMA_LOGGING_REPORT | VFU_FEATURE_GET,
    };
    bool log = true;
    for (size_t i = 0; i < ELEMENTS(log_features) && log; i++) {
        r = vfu_feature_probe(vd, log_features[i], &log, err);
        if (r < 0)
            return r;
    }
    info->dirty_log = log;
    return 0;
}

/* One 4-byte read, because a device may insist on the width. 0 and false when it refuses. */
static int read_config(struct vfu_device *vd, uint64_t offset, uint32_t *ret, bool *ret_known,
                       struct mig_error *err)
{
    struct vfu_region_rw request = {.offset = offset, .region = VFU_PCI_CONFIG_REGION, .count = sizeof *ret};
    struct {
        struct vfu_region_rw head;
        uint32_t value;
    } reply;
    struct vfu_call call = {
        .command = VFU_REGION_READ,
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .reply = &reply,
        .reply_min = sizeof reply.head + sizeof reply.value,
        .reply_max = sizeof reply.head + sizeof reply.value,
    };
    int r = vfu_conn_call(vd->conn, &call, err);
    *ret_known = r == 0;
    if (r == 0)
        memcpy(ret, (char *)&reply + sizeof reply.head, sizeof *ret);
    return call.refused ? 0 : r;
}

static int learn_pci(struct vfu_device *vd, struct device_info *info, struct mig_error *err)
{
    static const uint64_t offsets[] = {0x00, 0x08,
                                       0x2c}; /* ids, revision and class, subsystem ids: PCI type 0 header */
    uint32_t value[ELEMENTS(offsets)];
    for (size_t i = 0; i < ELEMENTS(offsets); i++) {
        bool known = false;
        struct mig_error e = MIG_ERROR_INIT;
        int r = read_config(vd, offsets[i], &value[i], &known, &e);
        if (r < 0) {
            if (err)
                *err = e;
            return r;
        }
        if (!known)
            return 0;
    }
    info->pci_vendor = (uint16_t)value[0];
    info->pci_device = (uint16_t)(value[0] >> 16);
    info->pci_revision = (uint8_t)value[1];
    info->pci_subvendor = (uint16_t)value[2];
    info->pci_subdevice = (uint16_t)(value[2] >> 16);
    return 0;
}

int vfu_learn_device(struct vfu_device *vd, struct device_info *info, bool *ret_known, struct mig_error *err)
{
    struct vfu_device_info request = {.argsz = sizeof request}, reply = {0};
    struct vfu_call call = {
        .command = VFU_DEVICE_GET_INFO,
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .reply = &reply,
        .reply_min = sizeof reply,
        .reply_max = sizeof reply,
    };
    struct mig_error e = MIG_ERROR_INIT;
    int r = vfu_conn_call(vd->conn, &call, &e);
    *ret_known = r == 0;
    if (call.refused)
        return 0;
    if (r < 0) {
        if (err)
            *err = e;
        return r;
    }
    info->resettable = reply.flags & VFU_DEVICE_FLAGS_RESET;
    info->num_regions = reply.num_regions;
    info->num_irqs = reply.num_irqs;
    if ((reply.flags & VFU_DEVICE_FLAGS_PCI) && reply.num_regions > VFU_PCI_CONFIG_REGION)
        return learn_pci(vd, info, err);
    return 0;
}

void vfu_learn_again(struct vfu_device *vd)
{
    pthread_mutex_lock(&vd->info_lock);
    if (atomic_load(&vd->info_index) == 0 && vd->info[0].num_regions == 0 && vd->info[0].num_irqs == 0) {
        bool known = false;
        vd->info[1] = vd->info[0];
        if (vfu_learn_device(vd, &vd->info[1], &known, NULL) == 0 && known)
            atomic_store(&vd->info_index, 1);
    }
    pthread_mutex_unlock(&vd->info_lock);
}
