/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's VFIO interface as far as migd uses it (linux/vfio.h), under names of our own: Debian 12's
 * headers are of 6.1 and lack PRE_COPY, MIG_DATA_SIZE and the cdev requests, and newer ones would clash with
 * guarded definitions. What a kernel really has is found by asking it, never by header version.
 *
 * Every request is _IO(';', 100 + n); sizes are not part of the number, `argsz` carries them.
 */
#pragma once
#include "base/util.h"

#define KVFIO_REQUEST(n) (0x3b64ul + (n))

/* On a container (/dev/vfio/vfio). */
#define KVFIO_GET_API_VERSION KVFIO_REQUEST(0)
#define KVFIO_CHECK_EXTENSION KVFIO_REQUEST(1)
#define KVFIO_SET_IOMMU       KVFIO_REQUEST(2)
#define KVFIO_IOMMU_GET_INFO  KVFIO_REQUEST(12)
#define KVFIO_IOMMU_MAP_DMA   KVFIO_REQUEST(13)
#define KVFIO_IOMMU_UNMAP_DMA KVFIO_REQUEST(14)
#define KVFIO_IOMMU_DIRTY     KVFIO_REQUEST(17)
/* On a group. */
#define KVFIO_GROUP_GET_STATUS    KVFIO_REQUEST(3)
#define KVFIO_GROUP_SET_CONTAINER KVFIO_REQUEST(4)
#define KVFIO_GROUP_GET_DEVICE_FD KVFIO_REQUEST(6)
/* On a device. The last one is the number of KVFIO_IOMMU_DIRTY too. */
#define KVFIO_DEVICE_GET_INFO        KVFIO_REQUEST(7)
#define KVFIO_DEVICE_GET_REGION_INFO KVFIO_REQUEST(8)
#define KVFIO_DEVICE_RESET           KVFIO_REQUEST(11)
#define KVFIO_DEVICE_FEATURE         KVFIO_REQUEST(17)
#define KVFIO_DEVICE_BIND_IOMMUFD    KVFIO_REQUEST(18)
#define KVFIO_DEVICE_ATTACH_PT       KVFIO_REQUEST(19)
/* On a data fd. */
#define KVFIO_MIG_GET_PRECOPY_INFO KVFIO_REQUEST(21)

#define KVFIO_API_VERSION   0
#define KVFIO_TYPE1_IOMMU   1u
#define KVFIO_TYPE1V2_IOMMU 3u

struct kvfio_group_status {
    uint32_t argsz, flags; /* flags: 1 viable, 2 has a container */
};
#define KVFIO_GROUP_VIABLE        1u
#define KVFIO_GROUP_HAS_CONTAINER 2u

struct kvfio_device_info {
    uint32_t argsz, flags, num_regions, num_irqs;
};
#define KVFIO_DEVICE_FLAG_RESET (1u << 0)
#define KVFIO_DEVICE_FLAG_PCI   (1u << 1)

struct kvfio_region_info {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
};
#define KVFIO_PCI_CONFIG_REGION 7u

/* ---- type1 ---- */

struct kvfio_iommu_info {
    uint32_t argsz, flags;
    uint64_t pgsizes; /* valid with KVFIO_INFO_PGSIZES */
    uint32_t cap_offset, pad;
};
#define KVFIO_INFO_PGSIZES (1u << 0)
#define KVFIO_INFO_CAPS    (1u << 1)

struct kvfio_cap_header {
    uint16_t id, version;
    uint32_t next; /* offset from the start of the info, 0: the last */
};
#define KVFIO_CAP_MIGRATION 2u
struct kvfio_cap_migration {
    struct kvfio_cap_header header;
    uint32_t flags, pad;
    uint64_t pgsize_bitmap, max_dirty_bitmap_size;
};

struct kvfio_dma_map {
    uint32_t argsz, flags;
    uint64_t vaddr, iova, size;
};
#define KVFIO_MAP_READ  (1u << 0)
#define KVFIO_MAP_WRITE (1u << 1)

struct kvfio_dma_unmap {
    uint32_t argsz, flags;
    uint64_t iova, size;
};
#define KVFIO_UNMAP_GET_BITMAP (1u << 0)

struct kvfio_bitmap {
    uint64_t pgsize;
    uint64_t size; /* bytes */
    uint64_t data; /* pointer */
};

struct kvfio_dma_unmap_bitmap {
    struct kvfio_dma_unmap unmap;
    struct kvfio_bitmap bitmap;
};

struct kvfio_dirty {
    uint32_t argsz, flags; /* exactly one of KVFIO_DIRTY_* */
};
#define KVFIO_DIRTY_START (1u << 0)
#define KVFIO_DIRTY_STOP  (1u << 1)
#define KVFIO_DIRTY_GET   (1u << 2)
struct kvfio_dirty_get {
    struct kvfio_dirty dirty;
    uint64_t iova, size;
    struct kvfio_bitmap bitmap;
};

/* ---- device features ---- */

struct kvfio_feature {
    uint32_t argsz, flags; /* flags: index and KVFIO_FEATURE_* */
};
#define KVFIO_FEATURE_GET   (1u << 16)
#define KVFIO_FEATURE_SET   (1u << 17)
#define KVFIO_FEATURE_PROBE (1u << 18)

#define KVFIO_FEATURE_MIGRATION     1u
#define KVFIO_FEATURE_DEVICE_STATE  2u
#define KVFIO_FEATURE_LOG_START     6u
#define KVFIO_FEATURE_LOG_STOP      7u
#define KVFIO_FEATURE_LOG_REPORT    8u
#define KVFIO_FEATURE_MIG_DATA_SIZE 9u
/* SET without data: from then on the flags of PRECOPY_INFO mean something. Linux 7.1. */
#define KVFIO_FEATURE_MIG_PRECOPY_INFO_V2 12u

struct kvfio_mig_state {
    uint32_t state; /* enum device_state */
    int32_t data_fd;
};

struct kvfio_log_range {
    uint64_t iova, length;
};
#define KVFIO_LOG_RANGES_MAX 256u /* the core refuses more with E2BIG */

struct kvfio_log_control {
    uint64_t page_size; /* a wish in, the driver's choice out */
    uint32_t num_ranges, reserved;
    uint64_t ranges; /* pointer */
};

struct kvfio_log_report {
    uint64_t iova, length, page_size;
    uint64_t bitmap; /* pointer */
};

struct kvfio_precopy_info {
    uint32_t argsz, flags; /* flags: undefined without PRECOPY_INFO_V2 */
    uint64_t initial_bytes, dirty_bytes;
};
#define KVFIO_PRECOPY_INFO_RENEWED (1u << 0) /* VFIO_PRECOPY_INFO_REINIT */

/* ---- cdev ---- */

struct kvfio_bind_iommufd {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t out_devid;
};
struct kvfio_attach_pt {
    uint32_t argsz, flags;
    uint32_t pt_id; /* in: IOAS or HWPT; out: HWPT */
};

_Static_assert(sizeof(struct kvfio_device_info) == 16, "the part that every kernel knows");
_Static_assert(sizeof(struct kvfio_region_info) == 32, "struct vfio_region_info");
_Static_assert(sizeof(struct kvfio_iommu_info) == 24, "struct vfio_iommu_type1_info");
_Static_assert(sizeof(struct kvfio_cap_migration) == 32, "struct vfio_iommu_type1_info_cap_migration");
_Static_assert(offsetof(struct kvfio_cap_migration, pgsize_bitmap) == 16, "padded");
_Static_assert(sizeof(struct kvfio_dma_map) == 32, "struct vfio_iommu_type1_dma_map");
_Static_assert(sizeof(struct kvfio_dma_unmap) == 24, "struct vfio_iommu_type1_dma_unmap");
_Static_assert(sizeof(struct kvfio_bitmap) == 24, "struct vfio_bitmap");
_Static_assert(sizeof(struct kvfio_dma_unmap_bitmap) == 48, "unmap with its bitmap");
_Static_assert(sizeof(struct kvfio_dirty_get) == 48, "DIRTY_PAGES get needs argsz 48");
_Static_assert(sizeof(struct kvfio_feature) == 8, "struct vfio_device_feature");
_Static_assert(sizeof(struct kvfio_mig_state) == 8, "struct vfio_device_feature_mig_state");
_Static_assert(sizeof(struct kvfio_log_control) == 24, "struct vfio_device_feature_dma_logging_control");
_Static_assert(sizeof(struct kvfio_log_range) == 16, "struct vfio_device_feature_dma_logging_range");
_Static_assert(sizeof(struct kvfio_log_report) == 32, "struct vfio_device_feature_dma_logging_report");
_Static_assert(sizeof(struct kvfio_precopy_info) == 24, "struct vfio_precopy_info");
_Static_assert(sizeof(struct kvfio_bind_iommufd) == 16, "struct vfio_device_bind_iommufd up to 6.17");
_Static_assert(sizeof(struct kvfio_attach_pt) == 12, "struct vfio_device_attach_iommufd_pt up to 6.13");
_Static_assert(KVFIO_DEVICE_FEATURE == 0x3b75 && KVFIO_MIG_GET_PRECOPY_INFO == 0x3b79, "request numbers");
