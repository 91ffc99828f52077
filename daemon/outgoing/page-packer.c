/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/page-packer.h"
#include "outgoing/codec-choice.h"
#include <string.h>
#include <time.h>

#define SMALLER(bytes) ((bytes) - (bytes) / 16) /* what is not that much smaller is not worth unpacking */

struct page_packer {
    struct codec_state *state;
    bool adaptive;
    struct codec_choice choice;
    enum codec now; /* of this batch */
    uint64_t begun_nsec;
    uint8_t sample[CODEC_SAMPLE_BYTES];
    uint8_t packed[CODEC_MAX_BYTES];
};

static uint64_t now_nsec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int page_packer_new(struct page_packer **ret, enum compression compression, const bool *codecs)
{
    *ret = NULL;
    if (compression == COMPRESSION_OFF)
        return 0;
    /* Not calloc: most of it is a buffer that a connection may never touch. */
    _cleanup_(page_packer_freep) struct page_packer *p = malloc(sizeof *p);
    if (!p)
        return -ENOMEM;
    p->adaptive = compression == COMPRESSION_ADAPTIVE;
    p->now = compression == COMPRESSION_LZ4 ? CODEC_LZ4 : CODEC_ZSTD;
    p->state = NULL;
    codec_choice_init(&p->choice, codecs);
    int r = codec_state_new(&p->state);
    if (r == 0)
        *ret = TAKE_PTR(p);
    return r;
}

struct page_packer *page_packer_free(struct page_packer *p)
{
    if (p)
        codec_state_free(p->state);
    free(p);
    return NULL;
}

static void take_sample(struct page_packer *p, enum codec codec, const struct iovec *pieces, int npieces)
{
    size_t n = 0, packed_bytes;
    for (int i = 0; i < npieces && n < sizeof p->sample; i++) {
        size_t part = MIN(pieces[i].iov_len, sizeof p->sample - n);
        memcpy(p->sample + n, pieces[i].iov_base, part);
        n += part;
    }
    uint64_t begun_nsec = now_nsec();
    if (codec_pack(p->state, codec, p->sample, n, p->packed, n, &packed_bytes) < 0)
        packed_bytes = n;
    codec_choice_sampled(&p->choice, codec, n, packed_bytes, now_nsec() - begun_nsec);
}

enum codec page_packer_choose(struct page_packer *p, const struct iovec *pieces, int npieces, size_t bytes)
{
    p->begun_nsec = now_nsec();
    if (!p->adaptive)
        return p->now;
    enum codec sample;
    p->now = codec_choice_next(&p->choice, bytes, &sample);
    if (sample != CODEC_NONE) {
        take_sample(p, sample, pieces, npieces);
        p->now = codec_choice_next(&p->choice, bytes, &sample);
    }
    return p->now;
}

int page_packer_pack(struct page_packer *p, const void *src, size_t bytes, const void **ret,
                     size_t *ret_bytes)
{
    *ret = p->packed;
    return codec_pack(p->state, p->now, src, bytes, p->packed, SMALLER(bytes), ret_bytes);
}

void page_packer_sent(struct page_packer *p, size_t bytes)
{
    if (p->adaptive)
        codec_choice_sent(&p->choice, p->now, bytes, now_nsec() - p->begun_nsec);
}
