/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/state-keep.h"
#include <string.h>

int state_keep_add(struct state_keep *k, uint32_t index, uint64_t offset, const void *bytes, size_t size)
{
    struct state_chunk *c = malloc(sizeof *c + size);
    if (!c)
        return -ENOMEM;
    *c = (struct state_chunk){.index = index, .offset = offset, .size = size};
    memcpy(c->bytes, bytes, size);
    if (!k->first)
        k->last = &k->first;
    *k->last = c;
    k->last = &c->next;
    k->bytes += size;
    return 0;
}

void state_keep_taken(struct state_keep *k, uint32_t index, uint64_t bytes)
{
    struct state_chunk **at = &k->first;
    while (*at) {
        struct state_chunk *c = *at;
        if (c->index != index || c->offset + c->size > bytes) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        k->bytes -= c->size;
        free(c);
    }
    k->last = at;
}

void state_keep_clear(struct state_keep *k)
{
    while (k->first) {
        struct state_chunk *next = k->first->next;
        free(k->first);
        k->first = next;
    }
    *k = (struct state_keep){0};
}
