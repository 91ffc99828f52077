/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel without a socket: what is received comes from a buffer, then the stream ends; what is sent is
 * counted and dropped. No state of the kernel is touched, so a fuzzer gets through many inputs.
 */
#pragma once
#include "transport/channel.h"

struct memory_channel {
    struct channel base;
    const uint8_t *data;
    size_t left_bytes;
    bool paced,
        waited; /* at every other look there is nothing to receive yet, and at the end there is silence */
};

/* Borrows data; nothing is to be freed afterwards. */
void memory_channel_init(struct memory_channel *m, const uint8_t *data, size_t size_bytes);
