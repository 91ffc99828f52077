/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DMA logging of a kernel VFIO device. Facts: linux/vfio.h "VFIO_DEVICE_FEATURE_DMA_LOGGING_START".
 *
 * The kernel wants the ranges at the start: at most 256, and a device may take fewer. So mappings that lie
 * close together are announced as one range, and when the device refuses, as fewer and wider ones. A mapping
 * that comes later counts as written whole at every report, unless it lies inside what was announced.
 *
 * A REPORT clears what it reports and only sets bits; when it fails the log cannot be trusted, which the
 * tracker above answers by taking all memory as written.
 */
#include "base/log.h"
#include "vfio/device-private.h"
#include <inttypes.h>
#include <string.h>

#define LOG_PAGE_MAX (UINT64_C(1) << 30)
#define PIECE_BITS   ((uint64_t)2 << 23) /* 2 MiB of bitmap */

/* The kernel wants whole pages of the size that is wished for. Sorted, without overlaps; what grows together
 * is one range. Returns how many. */
static size_t widen_ranges(struct kvfio_log_range *ranges, size_t n, uint64_t page_bytes)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t last = (ranges[i].iova + ranges[i].length - 1) | (page_bytes - 1);
        struct kvfio_log_range r = {.iova = ranges[i].iova & ~(page_bytes - 1)};
        r.length = last - r.iova == UINT64_MAX ? ranges[i].length : last - r.iova + 1;
        struct kvfio_log_range *before = kept ? &ranges[kept - 1] : NULL;
        if (before && r.iova <= before->iova + (before->length - 1))
            before->length = MAX(before->length, last - before->iova + 1);
        else
            ranges[kept++] = r;
    }
    return kept;
}

static uint64_t gap_before(const struct kvfio_log_range *r)
{
    return r[0].iova - (r[-1].iova + r[-1].length);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorted, without overlaps: joins neighbours, those with the narrowest gaps first, until at most max are
 * left. Returns how many, 0 without memory. */
static size_t join_ranges(struct kvfio_log_range *ranges, size_t n, size_t max)
{
    if (n < 2)
        return n;
    _cleanup_free_ uint64_t *gaps = malloc((n - 1) * sizeof *gaps);
    if (!gaps)
        return 0;
    for (size_t i = 1; i < n; i++)
        gaps[i - 1] = gap_before(&ranges[i]);
    qsort(gaps, n - 1, sizeof *gaps, by_size);
    size_t joins = n > max ? n - max : 0, kept = 1, joined = 0;
    uint64_t widest = joins ? gaps[joins - 1] : 0;
    for (size_t i = 1; i < n; i++) {
        uint64_t gap = ranges[i].iova - (ranges[kept - 1].iova + ranges[kept - 1].length);
        if (gap == 0 || gap < widest || (gap == widest && joined < joins)) {
            ranges[kept - 1].length += gap + ranges[i].length;
            joined++;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

static int gather_ranges(struct kvfio_device *kd, struct kvfio_log_range **ret, size_t *ret_count)
{
    struct iova_mapping *m = NULL;
    size_t n = 0;
    if (iova_map_snapshot(kd->device.map, &m, &n) < 0)
        return -ENOMEM;
    struct kvfio_log_range *ranges = calloc(MAX(n, (size_t)1), sizeof *ranges);
    for (size_t i = 0; ranges && i < n; i++)
        ranges[i] = (struct kvfio_log_range){m[i].iova, m[i].size_bytes};
    iova_mappings_free(m, n);
    *ret = ranges;
    *ret_count = n;
    return ranges ? 0 : -ENOMEM;
}

static int start_once(struct kvfio_device *kd, const struct kvfio_log_range *ranges, size_t n,
                      uint64_t *page_bytes)
{
    struct kvfio_log_control c = {
        .page_size = *page_bytes, .num_ranges = (uint32_t)n, .ranges = (uintptr_t)ranges};
    int r = kvfio_feature(kd, KVFIO_FEATURE_LOG_START | KVFIO_FEATURE_SET, &c, sizeof c);
    if (r == 0)
        *page_bytes = c.page_size;
    return r;
}

static int stop_locked(struct kvfio_device *kd)
{
    int r = kvfio_feature(kd, KVFIO_FEATURE_LOG_STOP | KVFIO_FEATURE_SET, NULL, 0);
    kd->log_on = false;
    free(kd->log_ranges);
    kd->log_ranges = NULL;
    kd->nlog_ranges = 0;
    kernel_bitmap_free(&kd->bits);
    return r;
}

static int start_locked(struct kvfio_device *kd, uint64_t *page_bytes, struct mig_error *err)
{
    struct kvfio_log_range *ranges;
    size_t n;
    if (gather_ranges(kd, &ranges, &n) < 0)
        return mig_error_oom(err);
    free(kd->log_ranges);
    kd->log_ranges = ranges;
    kd->nlog_ranges = 0;
    if (n == 0) { /* it sees no memory, so there is nothing to log; the kernel refuses an empty list */
        kd->log_on = true;
        kd->log_page_bytes = *page_bytes;
        return 0;
    }
    n = widen_ranges(ranges, n, *page_bytes);
    uint64_t page = *page_bytes;
    bool left_on = false;
    int r = -EINVAL;
    for (size_t max = KVFIO_LOG_RANGES_MAX; max && r < 0; max /= 4) {
        n = join_ranges(ranges, n, max);
        if (n == 0)
            return mig_error_oom(err);
        page = *page_bytes;
        r = start_once(kd, ranges, n, &page);
        if (r < 0 && !left_on) { /* an earlier user may have left the log on */
            left_on = true;
            if (kvfio_feature(kd, KVFIO_FEATURE_LOG_STOP | KVFIO_FEATURE_SET, NULL, 0) == 0)
                r = start_once(kd, ranges, n, &page);
        }
        if (r == -ENODEV || r == -ENOTTY || n == 1)
            break;
    }
    if (r < 0)
        return kvfio_fail(kd, r, err, "turning its DMA log on for %zu ranges", n);
    if (!is_power_of_two(page) || page < REGION_PAGE_SIZE || page > LOG_PAGE_MAX) {
        stop_locked(kd);
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "device %s wants to log DMA in pages of %" PRIu64 " bytes", kd->device.name,
                             page);
    }
    kd->nlog_ranges = n;
    kd->log_on = true;
    kd->log_page_bytes = *page_bytes = page;
    return 0;
}

int kvfio_log_start(struct device *d, uint64_t *page_bytes, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    if (!kd->info.dirty_log) {
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s has no log of its DMA", d->name);
        mig_error_hint(err, "its driver cannot log, or the kernel was built without iommufd: track by its "
                            "container, or as \"all\"");
        return r;
    }
    int r = kvfio_check_holder(kd, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&kd->map_lock);
    r = kd->log_on ? 0 : start_locked(kd, page_bytes, err);
    if (r == 0)
        *page_bytes = kd->log_page_bytes;
    pthread_mutex_unlock(&kd->map_lock);
    return r;
}

int kvfio_log_stop(struct device *d, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    pthread_mutex_lock(&kd->map_lock);
    bool asked = kd->nlog_ranges > 0;
    int r = kd->log_on ? stop_locked(kd) : 0;
    pthread_mutex_unlock(&kd->map_lock);
    return r < 0 && asked ? kvfio_fail(kd, r, err, "turning its DMA log off") : 0;
}

static bool announced(const struct kvfio_device *kd, const struct iova_mapping *m)
{
    for (size_t i = 0; i < kd->nlog_ranges; i++) {
        const struct kvfio_log_range *g = &kd->log_ranges[i];
        if (m->iova >= g->iova && range_inside(m->iova - g->iova, m->size_bytes, g->length))
            return true;
    }
    return false;
}

/* Everything of the mapping, in pages of the log. */
static int report_all(struct kvfio_device *kd, const struct iova_mapping *m, device_log_cb cb, void *userdata)
{
    struct iova_mapping piece = *m;
    for (uint64_t done = 0; done < m->size_bytes; done += piece.size_bytes) {
        piece.iova = m->iova + done;
        piece.offset_bytes = m->offset_bytes + done;
        piece.size_bytes = MIN(m->size_bytes - done, PIECE_BITS * kd->log_page_bytes);
        uint64_t nbits = div_round_up(piece.size_bytes, kd->log_page_bytes);
        if (kernel_bitmap_prepare(&kd->bits, nbits) < 0)
            return -ENOMEM;
        memset(kd->bits.words, 0xff, kernel_bitmap_bytes(nbits));
        cb(userdata, &piece, kd->log_page_bytes, kd->bits.words, nbits);
    }
    return 0;
}

/* [iova, iova + size) into kd->bits. */
static int read_log(struct kvfio_device *kd, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    if (kernel_bitmap_prepare(&kd->bits, div_round_up(size_bytes, kd->log_page_bytes)) < 0)
        return mig_error_oom(err);
    struct kvfio_log_report r = {.iova = iova,
                                 .length = size_bytes,
                                 .page_size = kd->log_page_bytes,
                                 .bitmap = (uintptr_t)kd->bits.words};
    int e = kvfio_feature(kd, KVFIO_FEATURE_LOG_REPORT | KVFIO_FEATURE_GET, &r, sizeof r);
    return e < 0 ? kvfio_fail(kd, e, err, "reading its DMA log at IOVA 0x%" PRIx64, iova) : 0;
}

/* [from, to) of the mapping was written. */
static void report_written(const struct iova_mapping *m, uint64_t from, uint64_t to, device_log_cb cb,
                           void *userdata)
{
    static const uint64_t all[64] = {[0 ... 63] = UINT64_MAX};
    struct iova_mapping piece = *m;
    for (uint64_t at = from; at < to; at += piece.size_bytes) {
        piece.iova = at;
        piece.offset_bytes = m->offset_bytes + (at - m->iova);
        piece.size_bytes = MIN(to - at, sizeof all * 8 * REGION_PAGE_SIZE);
        cb(userdata, &piece, REGION_PAGE_SIZE, all, piece.size_bytes / REGION_PAGE_SIZE);
    }
}

/* A log in large pages, of which the first and the last may belong to other mappings as well: whoever reads a
 * page clears it, so what it says of the others is marked at once. */
static int report_coarse(struct kvfio_device *kd, const struct iova_mapping *m, device_log_cb cb,
                         void *userdata, struct mig_error *err)
{
    uint64_t page = kd->log_page_bytes, low = m->iova & ~(page - 1), end = m->iova + m->size_bytes,
             left = ((end - 1) | (page - 1)) - low + 1, piece;
    for (uint64_t at = low; left; at += piece, left -= piece) {
        piece = MIN(left, PIECE_BITS * page);
        int r = read_log(kd, at, piece, err);
        if (r < 0)
            return r;
        const struct bitmap bits = bitmap_view(kd->bits.words, piece / page);
        bitmap_for_each_run (&bits, first, count) {
            uint64_t from = at + first * page, size = count * page;
            if (from < m->iova)
                iova_map_mark(kd->device.map, from, m->iova - from);
            if (size > end - from)
                iova_map_mark(kd->device.map, end, size - (end - from));
            report_written(m, MAX(from, m->iova), size > end - from ? end : from + size, cb, userdata);
        }
    }
    return 0;
}

static int report_mapping(struct kvfio_device *kd, const struct iova_mapping *m, device_log_cb cb,
                          void *userdata, struct mig_error *err)
{
    struct iova_mapping piece = *m;
    if (!announced(kd, m))
        return (m->prot & IOVA_WRITE) && report_all(kd, m, cb, userdata) < 0 ? mig_error_oom(err) : 0;
    if (kd->log_page_bytes > REGION_PAGE_SIZE)
        return report_coarse(kd, m, cb, userdata, err);
    for (uint64_t done = 0; done < m->size_bytes; done += piece.size_bytes) {
        piece.iova = m->iova + done;
        piece.offset_bytes = m->offset_bytes + done;
        piece.size_bytes = MIN(m->size_bytes - done, PIECE_BITS * REGION_PAGE_SIZE);
        int r = read_log(kd, piece.iova, piece.size_bytes, err);
        if (r < 0)
            return r;
        cb(userdata, &piece, REGION_PAGE_SIZE, kd->bits.words, piece.size_bytes / REGION_PAGE_SIZE);
    }
    return 0;
}

/* The mapping as it is now, when it is still the one of the snapshot. */
static bool still_there(struct kvfio_device *kd, const struct iova_mapping *m, struct iova_mapping *ret)
{
    if (iova_map_lookup(kd->device.map, m->iova, ret) < 0)
        return false;
    if (ret->iova == m->iova && ret->size_bytes == m->size_bytes)
        return true;
    region_unref(ret->region);
    return false;
}

int kvfio_log_report(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    struct iova_mapping *mappings = NULL;
    size_t count = 0;
    int r = kvfio_check_holder(kd, err);
    if (r < 0)
        return r;
    if (iova_map_snapshot(d->map, &mappings, &count) < 0)
        return mig_error_oom(err);
    for (size_t i = 0; i < count && r == 0; i++) {
        struct iova_mapping now;
        pthread_mutex_lock(&kd->map_lock);
        if (!kd->log_on) {
            r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "the DMA log of device %s is off", d->name);
        } else if (still_there(kd, &mappings[i], &now)) {
            r = report_mapping(kd, &now, cb, userdata, err);
            region_unref(now.region);
        }
        pthread_mutex_unlock(&kd->map_lock);
    }
    iova_mappings_free(mappings, count);
    return r;
}

int kvfio_dma_map(struct device *d, const struct iova_mapping *mapping, struct mig_error *err)
{
    return iova_map_add(d->map, mapping, err);
}

static void mark_report(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                        const uint64_t *words, uint64_t nbits)
{
    struct kvfio_device *kd = userdata;
    iova_map_mark_bitmap(kd->device.map, m->iova, page_bytes, words, nbits);
}

int kvfio_dma_unmap(struct device *d, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    struct mig_error e = MIG_ERROR_INIT;
    struct iova_mapping m;
    pthread_mutex_lock(&kd->map_lock);
    if (kd->log_on && iova_map_lookup(d->map, iova, &m) == 0) {
        if (m.iova == iova && m.size_bytes == size_bytes && report_mapping(kd, &m, mark_report, kd, &e) < 0) {
            log_mig_error(LOG_WARNING, &(struct log_fields){.device = d->name}, &e,
                          "the last bits of a mapping are lost, all of it counts as written");
            iova_map_mark(d->map, iova, size_bytes);
        }
        region_unref(m.region);
    }
    int r = iova_map_remove(d->map, iova, size_bytes, err);
    pthread_mutex_unlock(&kd->map_lock);
    return r;
}
