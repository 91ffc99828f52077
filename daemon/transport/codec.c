/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport/codec.h"
#include <errno.h>
#include <lz4.h>
#include <string.h>
#include <zstd.h>

/* The fastest of its ordinary levels: the next ones pack memory a few percent tighter for half the speed. */
#define ZSTD_LEVEL 1

struct codec_state {
    void *lz4; /* LZ4_sizeofState(); made when needed, as all three */
    ZSTD_CCtx *zstd_pack;
    ZSTD_DCtx *zstd_unpack;
};

static const char *const words[] = {[CODEC_NONE] = "none", [CODEC_LZ4] = "lz4", [CODEC_ZSTD] = "zstd"};

const char *codec_to_string(enum codec c)
{
    return words[c];
}

int codec_from_string(const char *word, enum codec *ret)
{
    for (int c = 0; c < CODEC_MAX; c++)
        if (strcmp(words[c], word) == 0) {
            *ret = (enum codec)c;
            return 0;
        }
    return -EINVAL;
}

int codec_state_new(struct codec_state **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

struct codec_state *codec_state_free(struct codec_state *s)
{
    if (s) {
        free(s->lz4);
        ZSTD_freeCCtx(s->zstd_pack);
        ZSTD_freeDCtx(s->zstd_unpack);
    }
    free(s);
    return NULL;
}

static int pack_lz4(struct codec_state *s, const void *src, size_t size, void *dst, size_t room, size_t *ret)
{
    if (!s->lz4 && !(s->lz4 = malloc((size_t)LZ4_sizeofState())))
        return -ENOMEM;
    int n = LZ4_compress_fast_extState(s->lz4, src, dst, (int)size, (int)room, 1);
    *ret = (size_t)n;
    return n > 0 ? 0 : -E2BIG;
}

static int pack_zstd(struct codec_state *s, const void *src, size_t size, void *dst, size_t room, size_t *ret)
{
    if (!s->zstd_pack && !(s->zstd_pack = ZSTD_createCCtx()))
        return -ENOMEM;
    *ret = ZSTD_compressCCtx(s->zstd_pack, dst, room, src, size, ZSTD_LEVEL);
    return ZSTD_isError(*ret) ? -E2BIG : 0;
}

int codec_pack(struct codec_state *s, enum codec c, const void *src, size_t size, void *dst, size_t room,
               size_t *ret)
{
    if (size == 0 || size > CODEC_MAX_BYTES || room > CODEC_MAX_BYTES)
        return -EINVAL;
    switch (c) {
    case CODEC_LZ4:
        return pack_lz4(s, src, size, dst, room, ret);
    case CODEC_ZSTD:
        return pack_zstd(s, src, size, dst, room, ret);
    default:
        return -EINVAL;
    }
}

static int unpack_zstd(struct codec_state *s, const void *src, size_t packed_size, void *dst, size_t size)
{
    if (!s->zstd_unpack && !(s->zstd_unpack = ZSTD_createDCtx()))
        return -ENOMEM;
    return ZSTD_decompressDCtx(s->zstd_unpack, dst, size, src, packed_size) == size ? 0 : -EBADMSG;
}

int codec_unpack(struct codec_state *s, enum codec c, const void *src, size_t packed_size, void *dst,
                 size_t size)
{
    if (size == 0 || size > CODEC_MAX_BYTES || packed_size == 0 || packed_size > CODEC_MAX_BYTES)
        return -EBADMSG;
    switch (c) {
    case CODEC_LZ4:
        return LZ4_decompress_safe(src, dst, (int)packed_size, (int)size) == (int)size ? 0 : -EBADMSG;
    case CODEC_ZSTD:
        return unpack_zstd(s, src, packed_size, dst, size);
    default:
        return -EBADMSG;
    }
}
