/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's iommufd interface as far as migd uses it (linux/iommufd.h, which Debian 12 does not have),
 * under names of our own.
 *
 * Requests are _IO(';', 0x80 + n). `size` is the first field; the kernel takes smaller structures of older
 * programs, refuses non-zero bytes that it does not know with E2BIG, and requests that it does not know with
 * ENOTTY.
 */
#pragma once
#include "base/util.h"

#define KIOFD_REQUEST(n)     (0x3b80ul + (n))
#define KIOFD_DESTROY        KIOFD_REQUEST(0)
#define KIOFD_IOAS_ALLOC     KIOFD_REQUEST(1)
#define KIOFD_IOAS_MAP       KIOFD_REQUEST(5)
#define KIOFD_IOAS_UNMAP     KIOFD_REQUEST(6)
#define KIOFD_OPTION         KIOFD_REQUEST(7)
#define KIOFD_VFIO_IOAS      KIOFD_REQUEST(8)
#define KIOFD_HWPT_ALLOC     KIOFD_REQUEST(9)
#define KIOFD_GET_HW_INFO    KIOFD_REQUEST(10)
#define KIOFD_HWPT_SET_DIRTY KIOFD_REQUEST(11)
#define KIOFD_HWPT_GET_DIRTY KIOFD_REQUEST(12)
#define KIOFD_IOAS_MAP_FILE  KIOFD_REQUEST(15)

struct kiofd_destroy {
    uint32_t size, id;
};

struct kiofd_ioas_alloc {
    uint32_t size, flags, out_ioas_id;
};

#define KIOFD_MAP_FIXED_IOVA (1u << 0)
#define KIOFD_MAP_WRITEABLE  (1u << 1)
#define KIOFD_MAP_READABLE   (1u << 2)
struct kiofd_ioas_map {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t user_va, length, iova;
};
struct kiofd_ioas_map_file {
    uint32_t size, flags, ioas_id;
    int32_t fd;
    uint64_t start, length, iova;
};

struct kiofd_ioas_unmap {
    uint32_t size, ioas_id;
    uint64_t iova, length;
};

#define KIOFD_OPTION_HUGE_PAGES 1u
#define KIOFD_OPTION_SET        0u
#define KIOFD_OPTION_GET        1u
struct kiofd_option {
    uint32_t size, option_id;
    uint16_t op, reserved;
    uint32_t object_id;
    uint64_t value;
};

/* The IOAS on which requests of a type1 container work. GET: -ENODEV where there is none. */
#define KIOFD_VFIO_IOAS_GET 0u
struct kiofd_vfio_ioas {
    uint32_t size, ioas_id;
    uint16_t op, reserved;
};

#define KIOFD_HWPT_DIRTY_TRACKING (1u << 1)
/* The first 40 bytes: what 6.7 knows; a later kernel takes them too. */
struct kiofd_hwpt_alloc {
    uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
    uint64_t data;
};

#define KIOFD_HW_CAP_DIRTY_TRACKING UINT64_C(1)
struct kiofd_hw_info {
    uint32_t size, flags, dev_id, data_len;
    uint64_t data;
    uint32_t out_type, reserved;
    uint64_t out_capabilities;
};

#define KIOFD_DIRTY_ENABLE (1u << 0)
struct kiofd_set_dirty {
    uint32_t size, flags, hwpt_id, reserved;
};

#define KIOFD_DIRTY_NO_CLEAR (1u << 0)
struct kiofd_get_dirty {
    uint32_t size, hwpt_id, flags, reserved;
    uint64_t iova, length, page_size;
    uint64_t data; /* pointer to the bitmap; its bit 0 is iova */
};

_Static_assert(sizeof(struct kiofd_destroy) == 8, "struct iommu_destroy");
_Static_assert(sizeof(struct kiofd_ioas_alloc) == 12, "struct iommu_ioas_alloc");
_Static_assert(sizeof(struct kiofd_ioas_map) == 40, "struct iommu_ioas_map");
_Static_assert(sizeof(struct kiofd_ioas_map_file) == 40, "struct iommu_ioas_map_file");
_Static_assert(sizeof(struct kiofd_ioas_unmap) == 24, "struct iommu_ioas_unmap");
_Static_assert(sizeof(struct kiofd_option) == 24, "struct iommu_option");
_Static_assert(sizeof(struct kiofd_vfio_ioas) == 12, "struct iommu_vfio_ioas");
_Static_assert(sizeof(struct kiofd_hwpt_alloc) == 40, "struct iommu_hwpt_alloc up to data_uptr");
_Static_assert(sizeof(struct kiofd_hw_info) == 40, "struct iommu_hw_info");
_Static_assert(sizeof(struct kiofd_set_dirty) == 16, "struct iommu_hwpt_set_dirty_tracking");
_Static_assert(sizeof(struct kiofd_get_dirty) == 48, "struct iommu_hwpt_get_dirty_bitmap");
_Static_assert(KIOFD_IOAS_MAP_FILE == 0x3b8f && KIOFD_HWPT_GET_DIRTY == 0x3b8c, "request numbers");
