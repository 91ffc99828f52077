/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DMA logging of a vfio-user device.
 *
 * One REPORT per mapping, of exactly its range and with the page size of START: common servers refuse or
 * corrupt everything else. The bitmap of a reply is handed on in pieces as it arrives, so that a mapping of
 * any size costs one piece of memory. Pages that went by DMA_WRITE message are not in the log; dma.c marks
 * them.
 */
#include "vfio-user/device-private.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOG_PAGE_MAX (UINT64_C(1) << 30)

static int log_start_once(struct vfu_device *vd, uint64_t wish, uint64_t *ret_choice, int *ret_refused,
                          struct mig_error *err)
{
    /* No ranges: everything that is or will be mapped. */
    struct vfu_log_control request = {.page_size = wish}, reply = {.page_size = wish};
    int r = vfu_feature(vd, VFU_FEATURE_DMA_LOGGING_START | VFU_FEATURE_SET, "DMA_LOGGING_START", &request,
                        sizeof request, &reply, 0, sizeof reply, ret_refused, err);
    if (r == 0)
        *ret_choice = reply.page_size;
    return r;
}

static int log_stop_locked(struct vfu_device *vd, struct mig_error *err)
{
    int r = vfu_feature(vd, VFU_FEATURE_DMA_LOGGING_STOP | VFU_FEATURE_SET, "DMA_LOGGING_STOP", NULL, 0, NULL,
                        0, 0, NULL, err);
    if (r == 0)
        vd->log_on = false;
    return r;
}

static int log_start_locked(struct vfu_device *vd, uint64_t *page_bytes, struct mig_error *err)
{
    uint64_t choice = 0;
    int refused = 0;
    int r = log_start_once(vd, *page_bytes, &choice, &refused, err);
    if (r < 0 && refused) {
        /* An earlier client may have left the log on, with another page size. */
        struct mig_error ignored = MIG_ERROR_INIT;
        if (log_stop_locked(vd, &ignored) == 0)
            r = log_start_once(vd, *page_bytes, &choice, &refused, err);
    }
    if (r < 0)
        return r;
    if (!is_power_of_two(choice) || choice < REGION_PAGE_SIZE || choice > LOG_PAGE_MAX) {
        log_stop_locked(vd, NULL);
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "%s wants to log DMA in pages of %" PRIu64 " bytes", vfu_conn_label(vd->conn),
                             choice);
    }
    vd->log_on = true;
    vd->log_page_bytes = *page_bytes = choice;
    return 0;
}

int vfu_log_start(struct device *d, uint64_t *page_bytes, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    if (!vd->info[atomic_load(&vd->info_index)].dirty_log)
        return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "%s has no log of its DMA",
                             vfu_conn_label(vd->conn));
    pthread_mutex_lock(&vd->map_lock);
    int r = log_start_locked(vd, page_bytes, err);
    pthread_mutex_unlock(&vd->map_lock);
    return r;
}

int vfu_log_stop(struct device *d, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    if (!vd->info[atomic_load(&vd->info_index)].dirty_log)
        return 0;
    pthread_mutex_lock(&vd->map_lock);
    int r =
        log_stop_locked(vd, err); /* also when it seems off: a START may have timed out and come true later */
    pthread_mutex_unlock(&vd->map_lock);
    return r;
}

struct report {
    struct {
        struct vfu_feature_header header;
        struct vfu_log_report report;
    } head;
    const struct iova_mapping *mapping;
    uint64_t page_bytes;
    device_log_cb cb;
    void *userdata;
    bool wrong;
};

/* The part of the mapping that one piece of the bitmap stands for, as a mapping of its own. */
static int take_piece(void *userdata, uint64_t offset, const void *data, size_t size)
{
    struct report *rep = userdata;
    const struct iova_mapping *m = rep->mapping;
    const struct vfu_log_report *h = &rep->head.report;
    if (h->iova != m->iova || h->length != m->size_bytes || h->page_size != rep->page_bytes) {
        rep->wrong = true;
        return -EPROTO;
    }
    uint64_t skip = offset * 8 * rep->page_bytes;
    if (skip >= m->size_bytes)
        return 0; /* padding of the last word */
    struct iova_mapping part = *m;
    part.iova += skip;
    part.offset_bytes += skip;
    part.size_bytes = MIN(m->size_bytes - skip, (uint64_t)size * 8 * rep->page_bytes);
    rep->cb(rep->userdata, &part, rep->page_bytes, data, div_round_up(part.size_bytes, rep->page_bytes));
    return 0;
}

int vfu_log_report_mapping(struct vfu_device *vd, const struct iova_mapping *m, device_log_cb cb,
                           void *userdata, struct mig_error *err)
{
    struct report rep = {.mapping = m, .page_bytes = vd->log_page_bytes, .cb = cb, .userdata = userdata};
    struct {
        struct vfu_feature_header header;
        struct vfu_log_report report;
    } request = {
        .header = {.flags = VFU_FEATURE_DMA_LOGGING_REPORT | VFU_FEATURE_GET},
        .report = {.iova = m->iova, .length = m->size_bytes, .page_size = rep.page_bytes},
    };
    uint64_t bitmap_bytes = vfu_bitmap_bytes(m->size_bytes, rep.page_bytes);
    if (bitmap_bytes > UINT32_MAX - 2 * sizeof request - sizeof(struct vfu_header))
        return mig_error_set(err, MIG_ERR_LIMIT, 0,
                             "%s: the log of one mapping of %" PRIu64 " bytes does not fit one message",
                             vfu_conn_label(vd->conn), m->size_bytes);
    request.header.argsz = (uint32_t)(sizeof request + bitmap_bytes);
    struct vfu_call call = {
        .command = VFU_DEVICE_FEATURE,
        .what = "DMA_LOGGING_REPORT",
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .reply = &rep.head,
        .reply_min = (uint32_t)(sizeof rep.head + bitmap_bytes),
        .reply_max = sizeof rep.head,
        .data_max = bitmap_bytes,
        .sink = take_piece,
        .userdata = &rep,
    };
    int r = vfu_conn_call(vd->conn, &call, err);
    if (r < 0 && rep.wrong)
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "%s reported on 0x%" PRIx64 " (%" PRIu64 " bytes in pages of %" PRIu64
                             ") when 0x%" PRIx64 " (%" PRIu64 " bytes in pages of %" PRIu64 ") was asked for",
                             vfu_conn_label(vd->conn), rep.head.report.iova, rep.head.report.length,
                             rep.head.report.page_size, m->iova, m->size_bytes, rep.page_bytes);
    if (r < 0)
        return mig_error_wrap(err, "IOVA 0x%" PRIx64 " of region %s", m->iova, m->region->name);
    return 0;
}

/* The mapping as it is now, when it is still the one of the snapshot's place; one that came since is in the
 * next report. */
static bool still_there(struct vfu_device *vd, const struct iova_mapping *m, struct iova_mapping *ret)
{
    if (iova_map_lookup(vd->device.map, m->iova, ret) < 0)
        return false;
    if (ret->iova == m->iova && ret->size_bytes == m->size_bytes)
        return true;
    region_unref(ret->region);
    return false;
}

int vfu_log_report(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    struct iova_mapping *mappings = NULL;
    size_t count = 0;
    if (vfu_conn_caps(vd->conn)->max_msg_fds == 0)
        return 0; /* no descriptors, so all DMA goes by message and is marked here */
    int r = iova_map_snapshot(d->map, &mappings, &count);
    if (r < 0)
        return mig_error_oom(err);
    for (size_t i = 0; i < count && r == 0; i++) {
        struct iova_mapping now;
        pthread_mutex_lock(&vd->map_lock);
        if (!vd->log_on) {
            r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "the DMA log of %s is off",
                              vfu_conn_label(vd->conn));
        } else if (still_there(vd, &mappings[i], &now)) {
            r = vfu_log_report_mapping(vd, &now, cb, userdata, err);
            region_unref(now.region);
        }
        pthread_mutex_unlock(&vd->map_lock);
    }
    iova_mappings_free(mappings, count);
    return r;
}
