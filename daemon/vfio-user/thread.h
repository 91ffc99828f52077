/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads of a device: named, and deaf to signals, which are the main thread's. */
#pragma once
#include <pthread.h>

/* 0 or -errno. name: at most 15 bytes. */
int vfu_thread_start(pthread_t *ret, const char *name, void *(*run)(void *userdata), void *userdata);
