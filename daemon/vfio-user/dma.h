/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers the DMA_READ and DMA_WRITE messages of a device: copies between the message and the regions that
 * the device's IOVA map leads to, and marks what it wrote, because a server does not log writes that went by
 * message.
 *
 * Runs on whichever thread received the message. Everything in the message is checked: address, count,
 * length, permission of the mapping.
 */
#pragma once
#include "memory/iova-map.h"
#include "vfio-user/message.h"

/* Where messages go whose address no region covers: the memory of a pass-through client that gave no
 * descriptor. */
struct vfu_foreign_ops {
    /* 0, or a negative errno that the device gets. buf holds count bytes; blocks until the client answered or
     * a timeout passed. */
    int (*read)(void *userdata, uint64_t address, void *buf, uint32_t count);
    int (*write)(void *userdata, uint64_t address, const void *buf, uint32_t count);
};

struct vfu_dma {
    struct iova_map *map;                  /* borrowed */
    uint32_t max_bytes;                    /* of one message: what VERSION offered */
    uint64_t timeout_usec;                 /* for the rest of a message that has begun */
    const struct vfu_foreign_ops *foreign; /* set before the first message, or NULL */
    void *foreign_userdata;
    _Atomic uint64_t reads, writes, refused;
};

/* Copies out of or into mapped memory; a range may cross mappings that adjoin. -EFAULT: leads nowhere;
 * -EACCES: not permitted. What was written is marked even when a later part fails. */
int vfu_dma_copy_out(struct vfu_dma *dma, uint64_t address, void *buf, uint64_t count);
int vfu_dma_copy_in(struct vfu_dma *dma, uint64_t address, const void *buf, uint64_t count);

/* rx holds the header of a command; reads the rest, answers on rx->socket. 0, or an error that ends
 * the connection (why says it). */
int vfu_dma_serve(struct vfu_dma *dma, struct vfu_rx *rx, int cancel_fd, char *why, size_t why_size);
