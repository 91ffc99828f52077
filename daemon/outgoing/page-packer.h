/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packs the batches of one page connection: which codec (codec-choice.h when that is to be found out), the
 * buffers, the clock. Used by one thread, for each batch: choose, pack if a codec was chosen, and sent when
 * it has gone out, whether packed or not.
 */
#pragma once
#include "migration/options.h"
#include "transport/codec.h"
#include <sys/uio.h>

struct page_packer;

/* codecs: CODEC_MAX flags, what the destination unpacks. *ret is NULL when there is nothing to pack with. */
int page_packer_new(struct page_packer **ret, enum compression compression, const bool *codecs);
struct page_packer *page_packer_free(struct page_packer *p);
DEFINE_CLEANUP(struct page_packer *, page_packer_free)

/* Begins a batch that lies in these pieces of guest memory; they may be read, and change meanwhile. */
enum codec page_packer_choose(struct page_packer *p, const struct iovec *pieces, int npieces, size_t bytes);
/* bytes at src, which nobody changes. *ret stays until the next call. -E2BIG: not worth it, send it as it is.
 */
int page_packer_pack(struct page_packer *p, const void *src, size_t bytes, const void **ret,
                     size_t *ret_bytes);
void page_packer_sent(struct page_packer *p, size_t bytes);
