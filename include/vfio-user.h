/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vfio-user protocol as bytes: shared by the daemon's client, its pass-through server, and device
 * servers.
 *
 * Source of the facts: the protocol text in QEMU's documentation (interop/vfio-user), and what libvfio-user
 * really does. All integers are host byte order; every structure is packed as written (natural alignment, no
 * padding). One AF_UNIX stream connection serves one device. Descriptors travel with the bytes of the header.
 */
#pragma once
#include <assert.h>
#include <stdint.h>

#define VFU_VERSION_MAJOR 0
#define VFU_VERSION_MINOR 0 /* what is proposed; the minor number says nothing about migration */

/* Payloads of at most this many bytes reach a libvfio-user server in one piece whatever the socket buffer is.
 */
#define VFU_SAFE_PAYLOAD_BYTES  32768u
#define VFU_MAX_DATA_XFER_BYTES 1048576u
#define VFU_MAX_MSG_FDS         8

enum vfu_command {
    VFU_VERSION = 1,
    VFU_DMA_MAP = 2,
    VFU_DMA_UNMAP = 3,
    VFU_DEVICE_GET_INFO = 4,
    VFU_DEVICE_GET_REGION_INFO = 5,
    VFU_DEVICE_GET_REGION_IO_FDS = 6,
    VFU_DEVICE_GET_IRQ_INFO = 7,
    VFU_DEVICE_SET_IRQS = 8,
    VFU_REGION_READ = 9,
    VFU_REGION_WRITE = 10,
    VFU_DMA_READ = 11,  /* sent by the server */
    VFU_DMA_WRITE = 12, /* sent by the server */
    VFU_DEVICE_RESET = 13,
    VFU_REGION_WRITE_MULTI = 15,
    VFU_DEVICE_FEATURE = 16,
    VFU_MIG_DATA_READ = 17,
    VFU_MIG_DATA_WRITE = 18,
};

#define VFU_FLAG_TYPE_MASK 0xfu
#define VFU_FLAG_COMMAND   0x0u
#define VFU_FLAG_REPLY     0x1u
#define VFU_FLAG_NO_REPLY  0x10u
#define VFU_FLAG_ERROR     0x20u

struct vfu_header {
    uint16_t msg_id;
    uint16_t command;
    uint32_t size; /* whole message, these 16 bytes included */
    uint32_t flags;
    uint32_t error; /* errno of an error reply, may be 0 even then */
};
static_assert(sizeof(struct vfu_header) == 16, "wire");

/* VERSION: followed by a JSON text with its terminating NUL. */
struct vfu_version {
    uint16_t major;
    uint16_t minor;
};
static_assert(sizeof(struct vfu_version) == 4, "wire");

#define VFU_DMA_MAP_READ  1u /* the device may read */
#define VFU_DMA_MAP_WRITE 2u /* the device may write */
struct vfu_dma_map {
    uint32_t argsz; /* 32 */
    uint32_t flags;
    uint64_t offset;  /* into the descriptor's file, 0 without one */
    uint64_t address; /* IOVA */
    uint64_t size;
};
static_assert(sizeof(struct vfu_dma_map) == 32, "wire");

#define VFU_DMA_UNMAP_BITMAP 1u
#define VFU_DMA_UNMAP_ALL    2u
struct vfu_dma_unmap {
    uint32_t argsz; /* largest reply payload that is acceptable */
    uint32_t flags;
    uint64_t address;
    uint64_t size;
};
static_assert(sizeof(struct vfu_dma_unmap) == 24, "wire");
/* Follows vfu_dma_unmap when VFU_DMA_UNMAP_BITMAP is set; in the reply the bitmap follows this. */
struct vfu_bitmap_desc {
    uint64_t page_size;
    uint64_t size; /* bytes of bitmap: round up(pages, 64) / 8 */
};
static_assert(sizeof(struct vfu_bitmap_desc) == 16, "wire");

struct vfu_dma_rw { /* DMA_READ, DMA_WRITE: request and both replies (libvfio-user: count is u64 everywhere)
                     */
    uint64_t address;
    uint64_t count;
};
static_assert(sizeof(struct vfu_dma_rw) == 16, "wire");

#define VFU_DEVICE_FLAGS_RESET 1u
#define VFU_DEVICE_FLAGS_PCI   2u
struct vfu_device_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
};
static_assert(sizeof(struct vfu_device_info) == 16, "wire");

#define VFU_REGION_FLAG_READ  1u
#define VFU_REGION_FLAG_WRITE 2u
#define VFU_REGION_FLAG_MMAP  4u
#define VFU_REGION_FLAG_CAPS  8u
#define VFU_PCI_CONFIG_REGION 7u
struct vfu_region_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t cap_offset;
    uint64_t size;
    uint64_t offset;
};
static_assert(sizeof(struct vfu_region_info) == 32, "wire");

struct vfu_irq_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
};
static_assert(sizeof(struct vfu_irq_info) == 16, "wire");

struct vfu_irq_set {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
};
static_assert(sizeof(struct vfu_irq_set) == 20, "wire");

struct vfu_region_rw { /* REGION_READ, REGION_WRITE; data follows */
    uint64_t offset;
    uint32_t region;
    uint32_t count;
};
static_assert(sizeof(struct vfu_region_rw) == 16, "wire");

/* DEVICE_FEATURE: feature number in bits 0-15. */
#define VFU_FEATURE_MASK  0xffffu
#define VFU_FEATURE_GET   (1u << 16)
#define VFU_FEATURE_SET   (1u << 17)
#define VFU_FEATURE_PROBE (1u << 18)
enum vfu_feature {
    VFU_FEATURE_MIGRATION = 1,
    VFU_FEATURE_MIG_DEVICE_STATE = 2,
    VFU_FEATURE_DMA_LOGGING_START = 6,
    VFU_FEATURE_DMA_LOGGING_STOP = 7,
    VFU_FEATURE_DMA_LOGGING_REPORT = 8,
};
struct vfu_feature_header {
    uint32_t argsz;
    uint32_t flags;
};
static_assert(sizeof(struct vfu_feature_header) == 8, "wire");

#define VFU_MIGRATION_STOP_COPY 1u
#define VFU_MIGRATION_P2P       2u
#define VFU_MIGRATION_PRE_COPY  4u
struct vfu_mig_state { /* data of MIG_DEVICE_STATE; state: the numbers of the kernel's vfio_device_mig_state
                        */
    uint32_t state;
    int32_t data_fd; /* unused */
};
static_assert(sizeof(struct vfu_mig_state) == 8, "wire");

struct vfu_log_control { /* data of DMA_LOGGING_START; num_ranges vfu_log_range follow inline; 0 ranges mean
                            all */
    uint64_t page_size;
    uint32_t num_ranges;
    uint32_t reserved;
};
static_assert(sizeof(struct vfu_log_control) == 16, "wire");
struct vfu_log_range {
    uint64_t iova;
    uint64_t length;
};
static_assert(sizeof(struct vfu_log_range) == 16, "wire");
struct vfu_log_report { /* data of DMA_LOGGING_REPORT; in the reply the bitmap follows inline */
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
};
static_assert(sizeof(struct vfu_log_report) == 24, "wire");

struct vfu_mig_data { /* MIG_DATA_READ: request, reply + data; MIG_DATA_WRITE: request + data, header-only
                         reply */
    uint32_t argsz;
    uint32_t size;
};
static_assert(sizeof(struct vfu_mig_data) == 8, "wire");

/* Bytes of the bitmap for `length` bytes of IOVA at `page_size`. */
static inline uint64_t vfu_bitmap_bytes(uint64_t length, uint64_t page_size)
{
    uint64_t pages = length / page_size + (length % page_size != 0);
    return (pages + 63) / 64 * 8;
}
