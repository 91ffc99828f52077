/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device behind a vfio-user socket: the client side of the protocol as a struct device.
 *
 * Threads: one thread per device answers DMA messages; with a pass-through socket two more serve its client.
 * Operations may be called from any thread, and block at most for the command timeout per command that they
 * send (a walk over states, or a log report over many mappings, is several commands). See connection.h for
 * what a timeout means for later commands.
 */
#pragma once
#include "device/device.h"

#define VFU_DEFAULT_TIMEOUT_USEC (5 * UINT64_C(1000000))
#define VFU_MIN_TIMEOUT_USEC     UINT64_C(1000)
#define VFU_MAX_TIMEOUT_USEC     (3600 * UINT64_C(1000000))

/* News and questions of the pass-through server. All are called on its threads, never on the main thread, and
 * must not drop the last reference of the device. */
struct vfu_passthrough_callbacks {
    /* A client maps [offset, offset + size) of the file behind fd (borrowed; dup to keep). Answers the region
     * that this is (same inode), or one that it registers now, with a reference in *ret_region, and where in
     * the region the range begins. An error refuses the mapping: the client gets its errno. NULL: all
     * mappings with descriptors are refused. */
    int (*dma_fd)(void *userdata, int fd, uint64_t offset, uint64_t size_bytes, struct region **ret_region,
                  uint64_t *ret_offset_bytes, struct mig_error *err);
    /* A mapping came or went through the client. May be NULL. */
    void (*mappings_changed)(void *userdata);
    /* A client came (true) or left. May be NULL. */
    void (*client_changed)(void *userdata, bool connected);
};

struct vfu_device_options {
    const char *path;      /* socket of the device; NULL: use fd */
    int fd;                /* connected socket, duplicated; ignored when path is given */
    uint64_t timeout_usec; /* per command; 0: VFU_DEFAULT_TIMEOUT_USEC */
    /* Most data in one message, offered in VERSION. 0: 32 KiB, which is safe with every server. More (up to 1
     * MiB) makes device state faster with servers that receive in a loop. */
    uint32_t max_data_xfer_bytes;
    const char *listen_path;                             /* pass-through socket, or NULL */
    const struct vfu_passthrough_callbacks *passthrough; /* may be NULL; must outlive the device */
    void *userdata;                                      /* of the callbacks */
};

/* BLOCKS: connects, exchanges VERSION and asks what the device is, each within the timeout. Never call it on
 * the main thread. A server that an earlier client left in STOP or STOP_COPY is taken as it is: info() then
 * knows no regions and no PCI ids, until set_state() brought it to a state in which the device tells them. */
int vfu_device_new(struct device **ret, const char *name, const struct vfu_device_options *options,
                   struct mig_error *err);

/* While quiesced, what the pass-through client asks of the device waits, whatever state the device is in.
 * Never blocks. */
void vfu_device_quiesce(struct device *d, bool quiesce);

struct vfu_device_status {
    char socket[108];      /* of the device, empty for a descriptor */
    char listen_path[108]; /* of the pass-through socket, or empty */
    bool client;           /* a pass-through client is connected */
    uint64_t
        foreign_mappings; /* mappings of that client without a descriptor: memory that migd cannot move */
    bool twin_socket;
    enum device_state state;                     /* as last known; nobody is asked */
    uint64_t dma_reads, dma_writes, dma_refused; /* messages answered */
};
void vfu_device_get_status(struct device *d, struct vfu_device_status *ret);

/* True for devices made by vfu_device_new. */
bool vfu_device_is(const struct device *d);
