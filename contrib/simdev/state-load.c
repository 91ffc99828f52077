/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state-load.h"
#include <stdio.h>
#include <string.h>

#define PAYLOAD_MAX_BYTES (1ull << 48)

int state_load_begin(struct state_load *l)
{
    state_load_end(l);
    l->hash = XXH3_createState();
    l->open = l->hash != NULL;
    return l->open ? 0 : -ENOMEM;
}

void state_load_end(struct state_load *l)
{
    XXH3_freeState(l->hash);
    memset(l, 0, sizeof *l);
}

static void refuse(struct state_load *l, const char *why)
{
    if (!l->error) {
        l->error = -EINVAL;
        snprintf(l->why, sizeof l->why, "%s (section %llu, after %llu bytes)", why,
                 (unsigned long long)l->number, (unsigned long long)l->received);
    }
}

/* Where the payload of a section belongs; NULL: only its checksum counts. */
static void *place_of(struct state_load *l, uint32_t type, uint64_t *ret_bytes)
{
    switch (type) {
    case SECTION_BEGIN:
        *ret_bytes = sizeof l->begin;
        return &l->begin;
    case SECTION_CORE:
        *ret_bytes = sizeof l->core;
        return &l->core;
    case SECTION_PCI:
        *ret_bytes = sizeof l->pci;
        return &l->pci;
    default:
        return NULL;
    }
}

static void begin_section(struct state_load *l)
{
    const struct section *h = &l->head;
    uint64_t bytes = 0;
    void *place = place_of(l, h->type, &bytes);
    if (h->magic != SECTION_MAGIC || h->type < SECTION_BEGIN || h->type > SECTION_END)
        refuse(l, "this is no state of simdev");
    else if (l->ended)
        refuse(l, "the stream goes on after its end");
    else if (h->type == SECTION_BEGIN && l->number != 0)
        refuse(l, "the stream starts over in its middle: data of PRE_COPY that is not part of it?");
    else if (h->number != l->number)
        refuse(l, "a section is missing or came twice");
    else if (h->type != SECTION_BEGIN && l->number == 0)
        refuse(l, "the beginning is missing");
    else if ((place && h->payload_bytes != bytes) || (h->type == SECTION_END && h->payload_bytes) ||
             h->payload_bytes > PAYLOAD_MAX_BYTES)
        refuse(l, "a section has the wrong length");
    XXH3_64bits_reset(l->hash);
    XXH3_64bits_update(l->hash, h, sizeof *h);
}

static void end_section(struct state_load *l, uint32_t device_id)
{
    if (l->trailer != XXH3_64bits_digest(l->hash)) {
        refuse(l, "a checksum is wrong");
        return;
    }
    uint32_t type = l->head.type;
    if (type == SECTION_BEGIN && l->begin.version != STATE_FORMAT_VERSION)
        refuse(l, "the state has another version");
    else if ((type == SECTION_BEGIN && l->begin.device_id != device_id) ||
             (type == SECTION_CORE && l->core.device_id != device_id))
        refuse(l, "the state is that of a device with another id");
    l->seen |= 1u << type;
    l->ended = type == SECTION_END;
    l->number++;
    l->position = 0;
}

static size_t take_part(void *to, uint64_t to_bytes, uint64_t at, const uint8_t *buf, size_t size)
{
    size_t n = MIN(size, (size_t)(to_bytes - at));
    memcpy((uint8_t *)to + at, buf, n);
    return n;
}

void state_load_write(struct state_load *l, uint32_t device_id, const uint8_t *buf, size_t size)
{
    for (size_t done = 0; done < size && !l->error;) {
        uint64_t payload_end = sizeof l->head + l->head.payload_bytes, ignored;
        size_t n;
        if (l->position < sizeof l->head) {
            n = take_part(&l->head, sizeof l->head, l->position, buf + done, size - done);
            if (l->position + n == sizeof l->head)
                begin_section(l);
        } else if (l->position < payload_end) {
            uint64_t at = l->position - sizeof l->head;
            n = MIN(size - done, (size_t)(l->head.payload_bytes - at));
            uint8_t *place = place_of(l, l->head.type, &ignored);
            if (place)
                memcpy(place + at, buf + done, n);
            XXH3_64bits_update(l->hash, buf + done, n);
        } else {
            n = take_part(&l->trailer, sizeof l->trailer, l->position - payload_end, buf + done, size - done);
        }
        done += n;
        l->received += n;
        l->position += n;
        if (l->position >= sizeof l->head &&
            l->position == sizeof l->head + l->head.payload_bytes + SECTION_TRAILER_BYTES)
            end_section(l, device_id);
    }
}

int state_load_check(struct state_load *l)
{
    const unsigned needed = 1u << SECTION_BEGIN | 1u << SECTION_CORE | 1u << SECTION_PCI | 1u << SECTION_END;
    if (l->received == 0)
        refuse(l, "no state came");
    else if (!l->ended || l->position != 0)
        refuse(l, "the state ends too early");
    else if ((l->seen & needed) != needed)
        refuse(l, "a part of the state is missing");
    return l->error;
}
