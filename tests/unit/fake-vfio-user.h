/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vfio-user server for tests: a thread that serves one socket, behaves like libvfio-user unless a hook says
 * otherwise, and lets a test lie, stall, split and die at any message.
 */
#pragma once
#include "base/util.h"
#include "vfio-user.h"
#include <pthread.h>
#include <stdatomic.h>

#define FAKE_MAPPINGS  16
#define FAKE_LOG_WORDS 65536

struct fake_mapping {
    uint64_t iova, size;
    uint32_t flags;
    uint8_t *at;                    /* NULL without descriptor */
    uint64_t dirty[FAKE_LOG_WORDS]; /* 4 KiB pages */
};

struct fake_server {
    int socket, twin; /* the server's ends */
    int client;       /* what the client is given */
    pthread_t thread;

    /* Set before start. */
    bool no_twin, no_migration, no_unmap_bitmap;
    const char *caps; /* instead of the usual JSON */
    uint32_t max_msg_fds;
    uint32_t migration_flags;
    /* True: the hook has answered (or not) itself. Payload is followed by nothing. */
    bool (*hook)(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size);
    void *userdata;

    /* Device. */
    pthread_mutex_t lock; /* what is not atomic, while a command is served */
    struct fake_mapping *mapping[FAKE_MAPPINGS];
    atomic_uint state;
    atomic_bool log_on;
    uint64_t log_page;
    uint8_t stream[1 << 20];
    size_t stream_size, stream_pos; /* to be read */
    size_t written;                 /* into stream by MIG_DATA_WRITE */
    atomic_uint commands[32];
    atomic_ulong irq_inode; /* of the last descriptor that came with SET_IRQS */
    atomic_uint irq_flags;  /* of the last SET_IRQS */
    uint8_t bar[4096];      /* region 0 */
    int bar_fd;             /* given out with the info of region 0 */
    atomic_bool ended;
};

struct fake_server *fake_new(void);
void fake_start(struct fake_server *f);
/* Closes the server's ends and waits for the thread. */
void fake_stop(struct fake_server *f);
void fake_free(struct fake_server *f);

/* Between the test's own access to what is not atomic and the server thread's. */
void fake_sync(struct fake_server *f);

/* Raw writing, in as many pieces as the test likes. */
void fake_send(struct fake_server *f, const void *data, size_t size);
void fake_reply(struct fake_server *f, const struct vfu_header *h, const void *payload, size_t size);
void fake_reply_fds(struct fake_server *f, const struct vfu_header *h, const void *payload, size_t size,
                    const int *fds, unsigned n);
void fake_error(struct fake_server *f, const struct vfu_header *h, int error, const void *payload,
                size_t size);
/* The usual behaviour, for hooks that only add to it. */
void fake_serve(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size, int fd);

/* DMA by message on `socket` (twin or main): 0 or the positive errno of the reply, -1 when the reply is
 * malformed. */
int fake_dma(int socket, bool write, uint64_t address, void *data, uint64_t count);
int fake_twin(struct fake_server *f); /* the server's end of the twin socket, once VERSION is over */
/* DMA by descriptor, logged: sets a byte. */
void fake_touch(struct fake_server *f, uint64_t iova, uint8_t value);

/* The guest's view of a memfd: another mapping of the same pages. */
uint8_t *map_view(int fd, size_t size);

/* Open descriptors of this process. */
unsigned count_fds(void);
