/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of a connection: shared by connection.c (commands) and connect.c (life and device thread) only.
 */
#pragma once
#include "vfio-user/connection.h"
#include <pthread.h>

#define VFU_LABEL_MAX 256

struct vfu_conn {
    char label[VFU_LABEL_MAX];
    int main_socket, twin_socket; /* twin -1: the server has none */
    int epoll, gone_fd;
    uint64_t timeout_usec;
    struct vfu_dma *dma;
    struct vfu_caps caps;
    pthread_t thread;
    bool thread_started;

    /* Ownership of the main socket; guarded by lock. */
    pthread_mutex_t lock;
    pthread_cond_t freed;
    bool busy;
    const char *busy_with; /* for messages */
    bool gone;             /* set once; reason before it */
    char reason[320];

    /* Owner only. */
    struct vfu_rx rx;
    uint16_t next_id;
    struct {
        bool due;
        uint16_t id, command;
        char what[96];
        uint64_t since_usec;
    } late;

    struct vfu_rx twin_rx; /* device thread only */
};

/* Marks the connection as dead; the first reason stays. */
void vfu_conn_fail(struct vfu_conn *c, const char *format, ...) _printf_(2, 3);
/* 0; -ETIMEDOUT: *ret_busy_with says what is in the way; -ENODEV. */
int vfu_conn_acquire(struct vfu_conn *c, const char *what, uint64_t deadline_usec, char *busy_with,
                     size_t size);
bool vfu_conn_try_acquire(struct vfu_conn *c, const char *what);
void vfu_conn_release(struct vfu_conn *c);
/* Owner: reads until the header of the reply to (id, command) is there, or, with want false, until no late
 * reply is due and nothing more is here. Serves DMA messages and throws late replies away on the way. 0,
 * -ETIMEDOUT, -ENODEV (the connection is then failed). */
int vfu_conn_receive(struct vfu_conn *c, bool want, uint16_t id, uint16_t command, uint64_t deadline_usec);
/* Any error of the receiving functions: fails the connection except for -ETIMEDOUT. Returns -ETIMEDOUT or
 * -ENODEV. */
int vfu_conn_broken(struct vfu_conn *c, int error, const char *why);
