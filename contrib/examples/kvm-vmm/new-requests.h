/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests of the kernel's linux/iommufd.h and of newer versions of linux/vfio.h, which Debian 12 does not
 * have. With newer headers include those and drop this file. All structures begin with their own size, and
 * end with u64 alignment.
 */
#pragma once
#include <stdint.h>
#include <sys/ioctl.h>

/* On an iommufd. */
#define IOFD_IOAS_ALLOC _IO(';', 0x81)
#define IOFD_IOAS_MAP   _IO(';', 0x85)
#define IOFD_HWPT_ALLOC _IO(';', 0x89)

struct iofd_ioas_alloc {
    uint32_t size, flags, out_ioas_id;
};
struct iofd_ioas_map {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t user_va, length, iova;
};
#define IOFD_MAP_FIXED_IOVA 1u
#define IOFD_MAP_WRITEABLE  2u
#define IOFD_MAP_READABLE   4u
struct iofd_hwpt_alloc {
    uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved;
    uint32_t data_type, data_len;
    uint64_t data_uptr;
};
#define IOFD_HWPT_DIRTY_TRACKING 2u

/* On a device opened by its cdev. */
#define CDEV_BIND_IOMMUFD _IO(';', 118)
#define CDEV_ATTACH       _IO(';', 119)

struct cdev_bind {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t out_devid;
};
struct cdev_attach {
    uint32_t argsz, flags, pt_id;
};
