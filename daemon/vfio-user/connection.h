/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One connection to a vfio-user server.
 *
 * Theory of operation. Commands are serialised: whoever owns the main socket sends one command and reads
 * until its reply is there. A device thread answers DMA messages on the twin socket at any time, and looks
 * after the main socket while nobody owns it: end of file, DMA messages of a server without twin socket, and
 * replies that come late. Idle, it sleeps without a timeout.
 *
 * A command has the connection's timeout to be answered. When that passes, its caller gets
 * MIG_ERR_DEVICE_TIMEOUT and the reply is remembered as late. The next command first waits, at most one
 * timeout, for the late reply, throws it away, and only then is sent, with the full timeout for itself. While
 * the late reply stays away the next command fails with MIG_ERR_DEVICE_TIMEOUT too and names the command that
 * was never answered; nothing piles up at the server. So a server that stalled and came back can be used
 * again, which a source needs for its rollback.
 *
 * End of file on either socket means that the device is gone. A message that cannot be understood (size, id,
 * command or type) means that the stream is lost: the connection is closed. In both cases gone_fd becomes
 * readable and stays so, commands that wait fail at once, and every later command fails with
 * MIG_ERR_DEVICE_GONE and the reason.
 */
#pragma once
#include "base/error.h"
#include "vfio-user/dma.h"
#include "vfio-user/negotiate.h"

struct vfu_conn;

/* Connects, exchanges VERSION, starts the device thread. Blocks. label: how messages call the device ("device
 * nic0 (vfio-user /run/x)"). dma is borrowed until vfu_conn_free; its max_bytes is set. socket is taken over,
 * also on failure. */
int vfu_conn_new(struct vfu_conn **ret, const char *label, int socket, uint64_t timeout_usec,
                 struct vfu_dma *dma, struct mig_error *err);
/* Ends waiting commands and the thread. Not from the device thread. */
struct vfu_conn *vfu_conn_free(struct vfu_conn *c);
DEFINE_CLEANUP(struct vfu_conn *, vfu_conn_free)

/* A connected socket for a path. */
int vfu_connect(const char *path, uint64_t timeout_usec, const char *label, struct mig_error *err);

/* Makes every command fail from now on, without waiting for the thread. */
void vfu_conn_shutdown(struct vfu_conn *c, const char *reason);
/* Readable once the device is gone. Borrowed. */
int vfu_conn_gone_fd(const struct vfu_conn *c);
bool vfu_conn_is_gone(const struct vfu_conn *c);
/* What the server said of itself; constant. */
const struct vfu_caps *vfu_conn_caps(const struct vfu_conn *c);
const char *vfu_conn_label(const struct vfu_conn *c);
bool vfu_conn_has_twin(const struct vfu_conn *c);

/* One command and its reply. The payload of a successful reply is: reply_min to reply_max bytes into reply,
 * then up to data_max bytes into data, or, with a sink, in pieces to the sink. The whole payload must have at
 * least reply_min and at most reply_max + data_max bytes, else MIG_ERR_DEVICE_PROTOCOL. The payload of an
 * error reply is thrown away unseen. */
struct vfu_call {
    uint16_t command;
    const char *what; /* for messages: "DMA_LOGGING_REPORT of 0x1000"; NULL: the command's name */
    struct iovec send[VFU_SEND_PARTS_MAX];
    unsigned nsend;
    const int *fds; /* borrowed */
    unsigned nfds;

    void *reply;
    uint32_t reply_min, reply_max;
    void *data;
    uint64_t data_max;
    /* Called on the caller's thread, while it owns the connection, with pieces of at most
     * VFU_SINK_PIECE_BYTES; offset counts from the end of reply, which is filled when the first piece comes.
     * Pieces but the last are multiples of 8 bytes and aligned so. */
    int (*sink)(void *userdata, uint64_t offset, const void *data, size_t size);
    void *userdata;

    struct vfu_fds *ret_fds; /* NULL: descriptors that come are closed */
    uint32_t reply_bytes;    /* out: the payload as it came */
    int refused;             /* out: errno of an error reply, 0 when the command was not refused */
};
#define VFU_SINK_PIECE_BYTES 262144u

int vfu_conn_call(struct vfu_conn *c, struct vfu_call *call, struct mig_error *err);
