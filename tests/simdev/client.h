/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small vfio-user client of the tests' own, so that the device is judged by other code than the daemon's.
 */
#pragma once
#include "base/util.h"
#include "vfio-user.h"
#include <sys/types.h>

#define CLIENT_MEMORIES_MAX 8u
#define CLIENT_TIMEOUT_MSEC 5000

struct client_memory {
    uint64_t iova, size;
    uint8_t *bytes;
};

struct client {
    int fd, twin_fd;
    uint16_t next_id;
    struct client_memory memories[CLIENT_MEMORIES_MAX];
    unsigned n_memories;
    uint64_t dma_writes, dma_reads;
    int timeout_msec;
    char version_json[1024];
    /* of the last reply */
    struct vfu_header header;
    int reply_fd;
};

/* A device process, started with --socket, --ready-fd and what is given; waits until it listens. */
struct process {
    pid_t pid;
    char socket_path[108];
};
int process_start(struct process *p, const char *name, const char *const *args);
/* SIGTERM, or the given signal; the exit status as of waitpid(). */
int process_stop(struct process *p, int signal_number);
/* Runs a program with a time limit; its exit code, or -errno. */
int run_program(const char *const *argv);

/* Connects and shakes hands; twin: ask for the twin socket. */
int client_connect(struct client *c, const char *path, bool twin);
void client_close(struct client *c);
/* One command, one reply. reply may be NULL; *reply_bytes is its room, then what came. fd -1: none.
 * Negative: the errno of an error reply, -ETIMEDOUT, -EPIPE (the device has gone), -EPROTO. */
int client_command(struct client *c, uint16_t command, const void *payload, size_t payload_bytes, int fd,
                   void *reply, size_t *reply_bytes);
/* The two halves of it. */
int client_send(struct client *c, uint16_t command, const void *payload, size_t payload_bytes, int fd);
int client_receive(struct client *c, uint16_t command, uint16_t id, void *reply, size_t *reply_bytes);
/* Serves DMA messages for so long. */
void client_idle(struct client *c, int msec);

int client_map(struct client *c, uint64_t iova, uint64_t size, int fd, uint64_t offset, uint8_t *bytes);
int client_unmap(struct client *c, uint64_t iova, uint64_t size);
int client_unmap_bitmap(struct client *c, uint64_t iova, uint64_t size, uint64_t *bitmap,
                        uint64_t bitmap_bytes);
int client_set_state(struct client *c, uint32_t state);
int client_get_state(struct client *c, uint32_t *ret);
int client_log_start(struct client *c, uint64_t page_size, const struct vfu_log_range *range,
                     uint64_t *ret_page_size);
int client_log_stop(struct client *c);
int client_report(struct client *c, uint64_t iova, uint64_t size, uint64_t page_size, uint64_t *bitmap);
int client_read_register(struct client *c, uint64_t offset, uint32_t *ret);
int client_write_register(struct client *c, uint64_t offset, uint32_t value);
/* Reads the state stream until nothing comes, appending. */
int client_save(struct client *c, uint8_t **state, size_t *size);
int client_load(struct client *c, const uint8_t *state, size_t size);
