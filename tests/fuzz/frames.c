/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frames.h"
#include "base/util.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t copy[sizeof(struct wire_header) + INPUT_MAX_BYTES];

void give_up(const char *why)
{
    fprintf(stderr, "%s\n", why);
    abort();
}

static void seal(uint8_t *at, size_t payload, unsigned choice, uint64_t sequence)
{
    struct wire_header h;
    memcpy(&h, at, sizeof h);
    h.magic = WIRE_MAGIC;
    h.version = WIRE_VERSION;
    h.sequence = sequence;
    h.reserved = 0;
    if (choice & CHOICE_SUMS && h.flags & WIRE_FLAG_CHECKSUM)
        h.payload_checksum = XXH3_64bits(at + sizeof h, payload);
    h.header_checksum = XXH3_64bits(&h, offsetof(struct wire_header, header_checksum));
    memcpy(at, &h, sizeof h);
}

static void seal_all(uint8_t *data, size_t size, unsigned choice)
{
    uint64_t sequence = 0;
    for (size_t at = 0; size - at >= sizeof(struct wire_header);) {
        struct wire_header h;
        memcpy(&h, data + at, sizeof h);
        size_t payload = MIN((uint64_t)(size - at - sizeof h), h.length);
        seal(data + at, payload, choice, sequence++);
        at += sizeof h + payload;
    }
}

static void open_stream(size_t size, struct memory_channel *channel, struct frame_stream *stream)
{
    memory_channel_init(channel, copy, size);
    frame_stream_init(stream, &channel->base, false);
}

int frames_from_input(const uint8_t *data, size_t size, struct memory_channel *channel,
                      struct frame_stream *stream)
{
    if (size < 1 || size - 1 > INPUT_MAX_BYTES)
        return -1;
    unsigned choice = data[0];
    size--;
    memcpy(copy, data + 1, size);
    if (!(choice & CHOICE_RAW))
        seal_all(copy, size, choice);
    open_stream(size, channel, stream);
    return (int)choice;
}

int frame_around_input(const uint8_t *data, size_t size, unsigned type, struct memory_channel *channel,
                       struct frame_stream *stream)
{
    if (size < 1 || size > INPUT_MAX_BYTES)
        return -1;
    struct wire_header h = {.type = (uint8_t)type, .length = size};
    memcpy(copy, &h, sizeof h);
    memcpy(copy + sizeof h, data, size);
    seal(copy, size, 0, 0);
    open_stream(sizeof h + size, channel, stream);
    return 0;
}
