/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a device is: found by asking when it is attached.
 *
 * That a feature exists does not mean that the kernel can serve it: a kernel without CONFIG_IOMMUFD answers
 * LOGGING_START with success and LOGGING_REPORT with EOPNOTSUPP, before any driver is asked. A report before
 * the start tells the two apart.
 */
#include "vfio/device-private.h"
#include <string.h>
#include <unistd.h>

static void learn_features(struct kvfio_device *kd)
{
    struct device_info *i = &kd->info;
    uint64_t flags = 0, size;
    struct kvfio_log_report nothing = {.length = 4096, .page_size = 4096};
    uint64_t word[2] = {0};
    if (kvfio_feature(kd, KVFIO_FEATURE_MIGRATION | KVFIO_FEATURE_GET, &flags, sizeof flags) == 0 &&
        (flags & DEVICE_MIGRATION_STOP_COPY))
        i->migration_flags =
            (uint32_t)flags & (DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P | DEVICE_MIGRATION_PRE_COPY);
    i->has_precopy_info = i->migration_flags & DEVICE_MIGRATION_PRE_COPY;
    i->tells_renewal =
        i->has_precopy_info && kvfio_feature_probe(kd, KVFIO_FEATURE_MIG_PRECOPY_INFO_V2 | KVFIO_FEATURE_SET);
    i->has_stop_copy_size =
        i->migration_flags &&
        kvfio_feature(kd, KVFIO_FEATURE_MIG_DATA_SIZE | KVFIO_FEATURE_GET, &size, sizeof size) == 0;
    nothing.bitmap = (uintptr_t)word;
    i->dirty_log = kvfio_feature_probe(kd, KVFIO_FEATURE_LOG_START | KVFIO_FEATURE_SET) &&
                   kvfio_feature_probe(kd, KVFIO_FEATURE_LOG_STOP | KVFIO_FEATURE_SET) &&
                   kvfio_feature_probe(kd, KVFIO_FEATURE_LOG_REPORT | KVFIO_FEATURE_GET) &&
                   kvfio_feature(kd, KVFIO_FEATURE_LOG_REPORT | KVFIO_FEATURE_GET, &nothing,
                                 sizeof nothing) != -EOPNOTSUPP;
}

static uint32_t read_config(const struct kvfio_device *kd, unsigned offset)
{
    uint32_t value = 0;
    if (pread(kd->fd, &value, sizeof value, (off_t)(kd->config_offset + offset)) != sizeof value)
        return 0;
    return value;
}

/* Only while the device may be touched: in STOP and STOP_COPY hands off its regions. */
static void learn_pci(struct kvfio_device *kd)
{
    struct device_info *i = &kd->info;
    struct kvfio_region_info region = {.argsz = sizeof region, .index = KVFIO_PCI_CONFIG_REGION};
    if (kernel_ioctl(kd->calls, kd->fd, KVFIO_DEVICE_GET_REGION_INFO, &region) < 0 || region.size < 64)
        return;
    kd->config_offset = region.offset;
    uint32_t ids = read_config(kd, 0x00), subsystem = read_config(kd, 0x2c);
    i->pci_vendor = (uint16_t)ids;
    i->pci_device = (uint16_t)(ids >> 16);
    i->pci_revision = (uint8_t)read_config(kd, 0x08);
    i->pci_subvendor = (uint16_t)subsystem;
    i->pci_subdevice = (uint16_t)(subsystem >> 16);
}

int kvfio_learn(struct kvfio_device *kd, struct mig_error *err)
{
    struct kvfio_device_info answer = {.argsz = sizeof answer};
    int r = kernel_fd_may_be_asked(kd->fd) ? kernel_ioctl(kd->calls, kd->fd, KVFIO_DEVICE_GET_INFO, &answer)
                                           : -ENOTTY;
    if (r < 0) {
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -r,
                          "device %s: its descriptor does not tell what it is: %s", kd->device.name,
                          strerror(-r));
        mig_error_hint(err,
                       "give the descriptor of a VFIO device: from VFIO_GROUP_GET_DEVICE_FD, or a cdev after "
                       "VFIO_DEVICE_BIND_IOMMUFD");
        return r;
    }
    struct device_info *i = &kd->info;
    i->resettable = answer.flags & KVFIO_DEVICE_FLAG_RESET;
    i->num_regions = answer.num_regions;
    i->num_irqs = answer.num_irqs;
    learn_features(kd);
    enum device_state state = DEVICE_STATE_RUNNING;
    if (i->migration_flags) {
        r = kvfio_get_state(&kd->device, &state, err);
        if (r < 0)
            return r;
    }
    atomic_store(&kd->state, state);
    if ((answer.flags & KVFIO_DEVICE_FLAG_PCI) && state != DEVICE_STATE_STOP &&
        state != DEVICE_STATE_STOP_COPY)
        learn_pci(kd);
    return 0;
}
