/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What VERSION messages say: building and reading the JSON capabilities, for both roles. No state; any
 * thread.
 *
 * The text comes from the other side: it must end in NUL, be an object, and each member that is known must
 * have its type and a sane value. Unknown members are ignored.
 */
#pragma once
#include "base/util.h"
#include "vfio-user.h"

#define VFU_CAPS_TEXT_MAX 4096u
/* Data that one message may carry unless the caller chooses otherwise. A reply of this size plus its headers
 * still travels in one socket buffer, which servers that read a body with a single recv depend on. */
#define VFU_DEFAULT_DATA_XFER_BYTES 32768u
#define VFU_MIN_DATA_XFER_BYTES     512u

struct vfu_caps {
    unsigned max_msg_fds;
    uint32_t max_data_xfer_bytes;
    uint64_t page_sizes; /* mask */
    uint32_t max_dma_maps;
    bool migration; /* named; proves nothing either way */
    bool twin_socket;
    int twin_fd_index; /* -1: not named */
};
/* What holds for members that are absent. */
void vfu_caps_default(struct vfu_caps *caps);
/* Reads the text after struct vfu_version (size 0: all default). -EPROTO with the reason in why. */
int vfu_caps_parse(struct vfu_caps *ret, const char *text, size_t size, char *why, size_t why_size);
/* Writes max_msg_fds, max_data_xfer_bytes and the twin socket; returns the size with its NUL, or -ENOSPC. */
int vfu_caps_format(const struct vfu_caps *caps, char *text, size_t size);
