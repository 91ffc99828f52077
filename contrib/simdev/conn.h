/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One client: framing on the main socket and, if the client asked for it, on the twin socket.
 *
 * The server thread receives commands and sends replies on the main socket. The engine thread sends DMA
 * commands on the twin socket and reads the replies there itself; without a twin it sends on the main socket,
 * and the server thread hands the reply over when it meets it. A failure of either socket is the end of the
 * connection.
 */
#pragma once
#include "misbehave.h"
#include "vfio-user.h"
#include <pthread.h>

struct message {
    struct vfu_header header;
    uint8_t *payload;
    size_t payload_bytes;
    int fds[VFU_MAX_MSG_FDS];
    unsigned n_fds;
    struct message *next;
};

struct reply {
    uint8_t *message; /* room for the header, and after it the payload */
    uint8_t *payload; /* in message, or NULL */
    size_t payload_bytes;
    int fds[VFU_MAX_MSG_FDS]; /* borrowed */
    unsigned n_fds;
    uint32_t header_bytes; /* 0: the true size */
};

struct conn {
    int fd, twin_fd;
    int stop_fd; /* readable: the program ends */
    const struct misbehave *misbehave;
    uint64_t max_transfer_bytes;         /* what the client takes in one DMA message */
    struct message *queued, **queue_end; /* commands met while waiting for something else; server thread */

    pthread_mutex_t send_lock; /* main socket, and held */
    uint8_t *held;             /* replies kept back to be glued together */
    size_t held_bytes;

    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool broken;  /* no more messages either way */
    bool waiting; /* the engine waits for a reply on the main socket */
    struct message *answer;
    uint16_t next_id; /* engine thread */
};

int conn_new(struct conn **ret, int fd, int stop_fd, const struct misbehave *misbehave);
/* The engine must be parked. */
struct conn *conn_free(struct conn *c);

struct message *message_free(struct message *m);
DEFINE_CLEANUP(struct message *, message_free)

/* The next command; blocks. -ECANCELED: the program ends, -EPIPE: the client has gone, -EPROTO etc.: broken.
 */
int conn_receive(struct conn *c, struct message **ret);
/* Server thread, while it waits for the engine: reads what comes within msec, so that the engine gets its
 * reply. */
void conn_pump(struct conn *c, int msec);
/* errnum 0: a reply with payload, else an error reply. Descriptors stay the caller's. */
int conn_reply(struct conn *c, const struct vfu_header *command, int errnum, const struct reply *reply);
/* Engine thread: DMA by message. -EIO: the client refused; -EPIPE: the connection is broken. */
int conn_dma_write(struct conn *c, uint64_t iova, const void *data, size_t size);
int conn_dma_read(struct conn *c, uint64_t iova, void *data, size_t size);
/* No message will come or go any more; wakes the engine. */
void conn_break(struct conn *c);
