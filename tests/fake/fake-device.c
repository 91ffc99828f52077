/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-device.h"
#include <stdlib.h>
#include <sys/eventfd.h>

static struct fake_device *from_base(struct device *d)
{
    return CONTAINER_OF(d, struct fake_device, base);
}

static const struct device_info *fake_info(struct device *d)
{
    return &from_base(d)->info;
}

static int fake_log_start(struct device *d, uint64_t *page_bytes, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    if (f->start_rc < 0)
        return mig_error_set(err, MIG_ERR_DEVICE, -f->start_rc, "device %s refuses", d->name);
    f->starts++;
    f->logging = true;
    if (f->log_page_bytes)
        *page_bytes = f->log_page_bytes;
    else
        f->log_page_bytes = *page_bytes;
    bitmap_clear_all(f->log);
    return 0;
}

static int fake_log_stop(struct device *d, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    f->stops++;
    f->logging = false;
    return 0;
}

/* Bit n: anything logged in [iova + n * page_bytes, + page_bytes). Clears what it reports. Returns the bits.
 */
static uint64_t take_bits(struct fake_device *f, uint64_t iova, uint64_t size, uint64_t *words)
{
    uint64_t per_bit = f->log_page_bytes / 4096, first = (iova - FAKE_IOVA_BASE) / 4096, pages = size / 4096;
    uint64_t nbits = div_round_up(pages, per_bit);
    for (uint64_t i = 0; i < pages; i++)
        if (bitmap_test(f->log, first + i))
            words[i / per_bit / 64] |= UINT64_C(1) << (i / per_bit % 64);
    bitmap_clear_range(f->log, first, pages);
    return nbits;
}

static int fake_log_report(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    struct iova_mapping *all = NULL;
    size_t n = 0;
    f->reports++;
    if (f->report_rc < 0)
        return mig_error_set(err, MIG_ERR_DEVICE, -f->report_rc, "device %s: its log broke", d->name);
    if (iova_map_snapshot(d->map, &all, &n) < 0)
        return mig_error_oom(err);
    for (size_t i = 0; i < n; i++) {
        uint64_t words[FAKE_IOVA_PAGES / 64 + 1] = {0};
        uint64_t nbits = take_bits(f, all[i].iova, all[i].size_bytes, words);
        if (f->lying_lengths) {
            for (size_t k = nbits / 64; k < ELEMENTS(words); k++)
                words[k] |= k > nbits / 64 ? UINT64_MAX : UINT64_MAX << (nbits % 64);
            nbits = ELEMENTS(words) * 64;
        }
        cb(userdata, &all[i], f->log_page_bytes, words, nbits);
    }
    iova_mappings_free(all, n);
    return 0;
}

static int fake_dma_map(struct device *d, const struct iova_mapping *mapping, struct mig_error *err)
{
    if (mapping->iova < FAKE_IOVA_BASE ||
        !range_inside(mapping->iova - FAKE_IOVA_BASE, mapping->size_bytes, FAKE_IOVA_PAGES * 4096))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "beyond the window of the fake device");
    return iova_map_add(d->map, mapping, err);
}

static int fake_dma_unmap(struct device *d, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    uint64_t words[FAKE_IOVA_PAGES / 64 + 1] = {0};
    if (f->logging) {
        uint64_t nbits = take_bits(f, iova, size_bytes, words);
        if (!f->forgets_last_bits)
            iova_map_mark_bitmap(d->map, iova, f->log_page_bytes, words, nbits);
    }
    return iova_map_remove(d->map, iova, size_bytes, err);
}

static int fake_gone_fd(struct device *d)
{
    return from_base(d)->gone;
}

static void fake_destroy(struct device *d)
{
    struct fake_device *f = from_base(d);
    iova_map_free(d->map);
    bitmap_free(f->log);
    close_fd(&f->gone);
    free(f);
}

static const struct device_ops fake_ops = {
    .info = fake_info,
    .log_start = fake_log_start,
    .log_stop = fake_log_stop,
    .log_report = fake_log_report,
    .dma_map = fake_dma_map,
    .dma_unmap = fake_dma_unmap,
    .gone_fd = fake_gone_fd,
    .destroy = fake_destroy,
};

int fake_device_new(struct fake_device **ret, const char *name, uint64_t log_page_bytes)
{
    struct fake_device *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->info = (struct device_info){.kind = "fake", .dirty_log = true};
    f->log_page_bytes = log_page_bytes;
    f->gone = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = device_init(&f->base, &fake_ops, name);
    if (rc == 0)
        rc = bitmap_new(&f->log, FAKE_IOVA_PAGES);
    if (rc < 0 || f->gone < 0) {
        fake_destroy(&f->base);
        return rc < 0 ? rc : -EMFILE;
    }
    *ret = f;
    return 0;
}

void fake_device_wrote(struct fake_device *f, uint64_t iova, uint64_t size_bytes)
{
    if (!f->logging || size_bytes == 0)
        return;
    uint64_t first = (iova - FAKE_IOVA_BASE) / 4096, last = (iova + size_bytes - 1 - FAKE_IOVA_BASE) / 4096;
    bitmap_set_range(f->log, first, last - first + 1);
}

void fake_device_die(struct fake_device *f)
{
    f->report_rc = -ENODEV;
    (void)!eventfd_write(f->gone, 1);
}
