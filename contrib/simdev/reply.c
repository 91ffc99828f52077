/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server.h"
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES (UINT64_C(2) << 20)

/* Bitmaps of a large memory are mostly zero: on huge pages what nobody writes costs nothing. */
static void *zeroed(size_t bytes)
{
    void *p = calloc(1, bytes);
    uintptr_t from = align_up((uintptr_t)p, HUGE_PAGE_BYTES);
    if (p && bytes >= 2 * HUGE_PAGE_BYTES)
        madvise((void *)from, bytes - (from - (uintptr_t)p), MADV_HUGEPAGE);
    return p;
}

void *reply_make(struct reply *r, size_t payload_bytes)
{
    free(r->message);
    r->message = zeroed(sizeof(struct vfu_header) + payload_bytes);
    r->payload = r->message ? r->message + sizeof(struct vfu_header) : NULL;
    r->payload_bytes = r->payload ? payload_bytes : 0;
    return r->payload;
}
