/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state-save.h"
#include "record.h"
#include <string.h>

int state_save_begin(struct state_save *s)
{
    state_save_end(s);
    s->hash = XXH3_createState();
    return s->hash ? 0 : -ENOMEM;
}

void state_save_end(struct state_save *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->queue[i].payload);
    XXH3_freeState(s->hash);
    *s = (struct state_save){};
}

int state_save_add(struct state_save *s, enum section_type type, const void *payload, uint64_t payload_bytes)
{
    if (s->n == SAVE_QUEUE_MAX)
        return -ENOSPC;
    uint8_t *copy = NULL;
    if (payload) {
        copy = malloc(payload_bytes + 1);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, payload, payload_bytes);
    }
    s->queue[s->n].payload = copy;
    s->queue[s->n++].head = (struct section){
        .magic = SECTION_MAGIC,
        .type = type,
        .number = s->number++,
        .payload_bytes = payload_bytes,
    };
    return 0;
}

/* Noise comes in words of 8 bytes; `at` is where in the payload buf begins. */
static void make_noise(struct state_save *s, uint8_t *buf, uint64_t at, size_t size)
{
    for (size_t done = 0; done < size;) {
        uint64_t index = (at + done) / 8, state = s->noise + index * 0x9e3779b97f4a7c15ull;
        uint64_t word = random_next(&state);
        size_t skip = (at + done) % 8, n = MIN(8 - skip, size - done);
        memcpy(buf + done, (uint8_t *)&word + skip, n);
        done += n;
    }
}

static size_t copy_part(uint8_t *buf, size_t room, const void *from, uint64_t from_bytes, uint64_t at)
{
    size_t n = MIN(room, (size_t)(from_bytes - at));
    memcpy(buf, (const uint8_t *)from + at, n);
    return n;
}

size_t state_save_read(struct state_save *s, uint8_t *buf, size_t size)
{
    size_t done = 0;
    while (done < size && s->n) {
        const struct section *head = &s->queue[0].head;
        uint64_t payload_end = sizeof *head + head->payload_bytes;
        size_t n;
        if (s->position < sizeof *head) {
            if (s->position == 0) {
                XXH3_64bits_reset(s->hash);
                XXH3_64bits_update(s->hash, head, sizeof *head);
                s->noise = head->number << 40 ^ head->payload_bytes;
            }
            n = copy_part(buf + done, size - done, head, sizeof *head, s->position);
        } else if (s->position < payload_end) {
            uint64_t at = s->position - sizeof *head;
            n = MIN(size - done, (size_t)(head->payload_bytes - at));
            if (s->queue[0].payload)
                memcpy(buf + done, s->queue[0].payload + at, n);
            else
                make_noise(s, buf + done, at, n);
            XXH3_64bits_update(s->hash, buf + done, n);
        } else {
            s->checksum = XXH3_64bits_digest(s->hash);
            n = copy_part(buf + done, size - done, &s->checksum, sizeof s->checksum,
                          s->position - payload_end);
        }
        done += n;
        s->position += n;
        if (s->position == payload_end + SECTION_TRAILER_BYTES) {
            free(s->queue[0].payload);
            memmove(&s->queue[0], &s->queue[1], --s->n * sizeof s->queue[0]);
            s->position = 0;
        }
    }
    s->produced += done;
    return done;
}
