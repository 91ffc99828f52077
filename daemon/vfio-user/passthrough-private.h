/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of the pass-through server: passthrough.c (threads, queue), -commands.c (what commands do),
 * -dma.c (forwarded DMA), -send.c. */
#pragma once
#include "vfio-user/passthrough.h"

/* Largest payload that a client may send: a region write of the size offered, or the answer to a forwarded
 * read. */
#define PASSTHROUGH_DATA_XFER_BYTES 16384u
#define PASSTHROUGH_PAYLOAD_MAX     (VFU_SAFE_PAYLOAD_BYTES + 64u)
#define PASSTHROUGH_QUEUE_MAX       64u
#define PASSTHROUGH_REPLY_MAX       65536u

struct passthrough_message {
    struct passthrough_message *next;
    struct vfu_header header;
    struct vfu_fds fds;
    uint32_t size;
    uint8_t payload[];
};

struct passthrough_mapping {
    uint64_t iova, size_bytes;
    uint32_t prot;
    bool foreign;  /* no descriptor: by message to the client */
    bool borrowed; /* was mapped before the client came, and stays when it leaves */
};

struct vfu_passthrough {
    struct vfu_device *vd;
    const struct vfu_passthrough_callbacks *callbacks;
    void *userdata;
    uint64_t timeout_usec;
    char path[108];
    int listen_fd, wake_fd, stop_fd;
    bool bound;
    pthread_t reader, executor;
    bool reader_started, executor_started;

    pthread_mutex_t lock; /* everything down to the blank line */
    pthread_cond_t changed;
    bool stopping;
    bool connected; /* a client's sockets are open; set by the reader, taken back by the executor */
    bool leaving;   /* the reader found that the client is gone */
    bool greeted;   /* VERSION was exchanged */
    struct passthrough_message *queue, **queue_end;
    unsigned queued;
    struct passthrough_mapping *mappings;
    size_t nmappings, mappings_room;
    struct { /* one forwarded DMA message at a time */
        bool busy, waiting;
        uint16_t id;
        bool write;
        uint64_t address;
        void *buf; /* of the waiting thread; filled by the reader */
        uint32_t count;
        int result;
    } dma;

    pthread_mutex_t send_lock; /* the client's sockets, sending */
    int client,
        twin; /* change only while connected is false, or twin by the executor at VERSION under both locks */
    struct vfu_caps client_caps;
    uint32_t irqs_used; /* bit per index; executor only */

    struct vfu_rx rx, twin_rx; /* reader only */
};

/* passthrough-send.c */
/* Sends to the client, on its main or its twin socket; on failure the client is cut off. */
int passthrough_send(struct vfu_passthrough *p, bool on_twin, struct vfu_header *h, const struct iovec *parts,
                     unsigned nparts, const int *fds, unsigned nfds);
/* Ends the connection; the reader notices and the executor tidies up. */
void passthrough_cut(struct vfu_passthrough *p, const char *why);

/* passthrough-commands.c: executor only. */
void passthrough_execute(struct vfu_passthrough *p, struct passthrough_message *m);
/* Interrupts and mappings of a client that left; waits while the device stands still. */
void passthrough_tidy(struct vfu_passthrough *p);

/* passthrough-dma.c */
/* Reader: rx holds the header of a reply. 0 or an error that ends the client. */
int passthrough_dma_reply(struct vfu_passthrough *p, struct vfu_rx *rx);
/* The client left: whoever waits for it gets -EIO. lock held. */
void passthrough_dma_abort(struct vfu_passthrough *p);
