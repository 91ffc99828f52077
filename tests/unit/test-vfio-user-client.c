/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vfio-user client against a server that behaves: mapping, log, states, stream, DMA messages,
 * descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "fake-vfio-user.h"
#include "base/clock.h"
#include "vfio-user/device.h"
#include "vfio-user/negotiate.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (UINT64_C(1) << 20)

static struct device *attach(struct fake_server *f, const struct vfu_device_options *more)
{
    struct vfu_device_options o = more ? *more : (struct vfu_device_options){0};
    struct mig_error err = MIG_ERROR_INIT;
    struct device *d = NULL;
    o.fd = f->client;
    if (!o.timeout_usec)
        o.timeout_usec = 5 * USEC_PER_SEC;
    fake_start(f);
    if (vfu_device_new(&d, "nic0", &o, &err) < 0)
        fail_msg("%s", err.message);
    close_fd(&f->client);
    return d;
}

static struct region *memory(uint64_t size)
{
    struct region *r = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    if (region_new_made(&r, "ram", size, 0, -1, &err) < 0)
        fail_msg("%s", err.message);
    return r;
}

static void map(struct device *d, struct region *r, uint64_t iova, uint64_t offset, uint64_t size)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct iova_mapping m = {.iova = iova,
                             .size_bytes = size,
                             .region = r,
                             .offset_bytes = offset,
                             .prot = IOVA_READ | IOVA_WRITE};
    if (d->ops->dma_map(d, &m, &err) < 0)
        fail_msg("%s", err.message);
}

/* What a tracker would do. */
static void into_dirty(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                       const uint64_t *words, uint64_t nbits)
{
    assert_true(page_bytes == 4096);
    assert_true(nbits == m->size_bytes / 4096);
    bitmap_or_words(m->region->dirty, m->offset_bytes / 4096, words, nbits, NULL, NULL);
}

static void report(struct device *d)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (d->ops->log_report(d, into_dirty, NULL, &err) < 0)
        fail_msg("%s", err.message);
}

static void log_start(struct device *d)
{
    struct mig_error err = MIG_ERROR_INIT;
    uint64_t page = 4096;
    if (d->ops->log_start(d, &page, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(page == 4096);
}

static void test_attach(void **state)
{
    unsigned fds = count_fds();
    struct fake_server *f = fake_new();
    struct device *d = attach(f, NULL);
    const struct device_info *i = d->ops->info(d);
    assert_string_equal(i->kind, "vfio-user");
    assert_int_equal(i->migration_flags, DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_PRE_COPY);
    assert_true(i->dirty_log);
    assert_true(i->resettable);
    assert_int_equal(i->num_regions, 9);
    assert_int_equal(i->num_irqs, 5);
    assert_int_equal(i->pci_vendor, 0x8086);
    assert_int_equal(i->pci_device, 0x1234);
    assert_int_equal(i->pci_revision, 5);
    assert_int_equal(i->pci_subvendor, 0xbbaa);
    assert_int_equal(i->pci_subdevice, 0xddcc);
    struct vfu_device_status s;
    vfu_device_get_status(d, &s);
    assert_true(s.twin_socket);
    struct pollfd p = {.fd = d->ops->gone_fd(d), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    uint64_t bytes;
    struct device_precopy precopy;
    assert_int_equal(d->ops->stop_copy_size(d, &bytes, NULL), -EOPNOTSUPP);
    assert_int_equal(d->ops->precopy_info(d, &precopy, NULL), -EOPNOTSUPP);
    device_unref(d);
    fake_free(f);
    assert_int_equal(count_fds(), fds);
}

static void test_no_migration(void **state)
{
    struct fake_server *f = fake_new();
    f->no_migration = true;
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    enum device_state s;
    uint64_t page = 4096;
    assert_int_equal(d->ops->info(d)->migration_flags, 0);
    assert_false(d->ops->info(d)->dirty_log);
    assert_true(d->ops->get_state(d, &s, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_NOT_SUPPORTED);
    assert_true(d->ops->log_start(d, &page, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_NOT_SUPPORTED);
    assert_int_equal(d->ops->log_stop(d, &err), 0);
    device_unref(d);
    fake_free(f);
}

static void test_map_and_log(void **state)
{
    unsigned fds = count_fds();
    struct fake_server *f = fake_new();
    struct region *r = memory(64 * MIB);
    struct device *d = attach(f, NULL);
    map(d, r, 0x100000000, 0, 32 * MIB);
    map(d, r, 0x40000000, 48 * MIB, 16 * MIB);
    log_start(d);

    fake_touch(f, 0x100000000 + 5 * 4096, 0xab); /* region page 5 */
    fake_touch(f, 0x40000000, 0xcd);             /* region page 48 MiB */
    fake_touch(f, 0x40000000 + 16 * MIB - 1, 0xef);
    assert_int_equal(r->map[5 * 4096], 0xab); /* the descriptor went over with the right offset */
    assert_int_equal(r->map[48 * MIB], 0xcd);
    report(d);
    assert_true(bitmap_count(r->dirty) == 3);
    assert_true(bitmap_test(r->dirty, 5));
    assert_true(bitmap_test(r->dirty, 48 * MIB / 4096));
    assert_true(bitmap_test(r->dirty, 64 * MIB / 4096 - 1));
    bitmap_clear_all(r->dirty);
    report(d); /* read and cleared */
    assert_true(bitmap_is_empty(r->dirty));

    /* R6: a mapping leaves; its last bits do not. */
    struct mig_error err = MIG_ERROR_INIT;
    fake_touch(f, 0x40000000 + 7 * 4096, 1);
    assert_int_equal(d->ops->dma_unmap(d, 0x40000000, 16 * MIB, &err), 0);
    assert_true(region_take_marks(r) == 1);
    assert_true(bitmap_test(r->dirty, 48 * MIB / 4096 + 7));
    assert_int_equal(f->commands[VFU_DMA_UNMAP], 1); /* in one step */

    /* Wrong unmaps are refused here. */
    assert_true(d->ops->dma_unmap(d, 0x40000000, 16 * MIB, &err) < 0);
    assert_true(d->ops->dma_unmap(d, 0x100000000, 4096, &err) < 0);
    assert_int_equal(f->commands[VFU_DMA_UNMAP], 1);

    assert_int_equal(d->ops->log_stop(d, &err), 0);
    assert_false(f->log_on);
    assert_true(d->ops->log_report(d, into_dirty, NULL, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_WRONG_STATE);
    assert_int_equal(d->ops->dma_unmap(d, 0x100000000, 32 * MIB, &err), 0);
    device_unref(d);
    fake_free(f);
    region_unref(r);
    assert_int_equal(count_fds(), fds);
}

static void test_unmap_without_bitmap(void **state)
{
    struct fake_server *f = fake_new();
    f->no_unmap_bitmap = true;
    struct region *r = memory(4 * MIB);
    struct device *d = attach(f, NULL);
    map(d, r, 0, 0, 4 * MIB);
    log_start(d);
    fake_touch(f, 9 * 4096, 1);
    assert_int_equal(d->ops->dma_unmap(d, 0, 4 * MIB, NULL), 0);
    assert_true(region_take_marks(r) == 1);
    assert_true(bitmap_test(r->dirty, 9));
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

/* A device that stands still refuses unmaps: the mapping stays, nothing is lost. */
static void test_unmap_while_stopped(void **state)
{
    struct fake_server *f = fake_new();
    struct region *r = memory(4 * MIB);
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    map(d, r, 0, 0, 4 * MIB);
    log_start(d);
    fake_touch(f, 9 * 4096, 1);
    assert_int_equal(d->ops->set_state(d, DEVICE_STATE_STOP_COPY, NULL, &err), 0);
    assert_true(d->ops->dma_unmap(d, 0, 4 * MIB, &err) < 0);
    region_take_marks(r);
    assert_true(bitmap_test(r->dirty, 9));
    struct iova_mapping m;
    assert_int_equal(iova_map_lookup(d->map, 0, &m), 0);
    region_unref(m.region);
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

static unsigned pieces;
static void count_pieces(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                         const uint64_t *words, uint64_t nbits)
{
    pieces++;
    into_dirty(userdata, m, page_bytes, words, nbits);
}

/* Its bitmap is larger than one piece of a reply: 8 GiB of pages come first, then the rest. */
static void test_large_mapping(void **state)
{
    static const uint64_t size = 12 * 1024 * MIB, iova = 1024 * MIB, seam = 8 * 1024 * MIB;
    struct fake_server *f = fake_new();
    struct region *r = memory(size); /* sparse */
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    map(d, r, iova, 0, size);
    log_start(d);
    fake_touch(f, iova, 1);
    fake_touch(f, iova + seam - 1, 1);
    fake_touch(f, iova + seam, 1);
    fake_touch(f, iova + size - 1, 1);
    assert_int_equal(d->ops->log_report(d, count_pieces, NULL, &err), 0);
    assert_int_equal(pieces, 2);
    assert_true(bitmap_count(r->dirty) == 4);
    assert_true(bitmap_test(r->dirty, 0));
    assert_true(bitmap_test(r->dirty, seam / 4096 - 1));
    assert_true(bitmap_test(r->dirty, seam / 4096));
    assert_true(bitmap_test(r->dirty, r->npages - 1));
    bitmap_clear_all(r->dirty);
    fake_touch(f, iova + seam + 4096, 1); /* and the same for last bits */
    assert_int_equal(d->ops->dma_unmap(d, iova, size, &err), 0);
    assert_true(region_take_marks(r) == 1);
    assert_true(bitmap_test(r->dirty, seam / 4096 + 1));
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

static void test_log_left_on(void **state)
{
    struct fake_server *f = fake_new();
    f->log_on = true; /* by a client that crashed */
    f->log_page = 65536;
    struct device *d = attach(f, NULL);
    log_start(d);
    fake_sync(f);
    assert_true(f->log_page == 4096);
    device_unref(d);
    fake_free(f);
}

static void test_states(void **state)
{
    struct fake_server *f = fake_new();
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    enum device_state s, reached;
    static const enum device_state way[] = {
        DEVICE_STATE_PRE_COPY,  DEVICE_STATE_STOP_COPY, DEVICE_STATE_RUNNING,
        DEVICE_STATE_STOP_COPY, DEVICE_STATE_RESUMING,  DEVICE_STATE_RUNNING,
        DEVICE_STATE_PRE_COPY,  DEVICE_STATE_STOP,      DEVICE_STATE_RUNNING};
    for (size_t i = 0; i < ELEMENTS(way); i++) {
        if (d->ops->set_state(d, way[i], &reached, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(reached, way[i]);
        assert_int_equal(f->state, way[i]);
        assert_int_equal(d->ops->get_state(d, &s, &err), 0);
        assert_int_equal(s, way[i]);
    }
    assert_true(d->ops->set_state(d, DEVICE_STATE_RUNNING_P2P, &reached, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_NOT_SUPPORTED);
    f->state = DEVICE_STATE_ERROR;
    assert_true(d->ops->set_state(d, DEVICE_STATE_RUNNING, &reached, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_WRONG_STATE);
    assert_int_equal(reached, DEVICE_STATE_ERROR);
    device_unref(d);
    fake_free(f);
}

static bool refuse_stop_copy(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct {
        struct vfu_feature_header h;
        struct vfu_mig_state s;
    } m;
    if (h->command != VFU_DEVICE_FEATURE || size < sizeof m)
        return false;
    memcpy(&m, payload, sizeof m);
    if (m.h.flags != (VFU_FEATURE_MIG_DEVICE_STATE | VFU_FEATURE_SET) || m.s.state != DEVICE_STATE_STOP_COPY)
        return false;
    fake_error(f, h, EIO, payload, size);
    return true;
}

static void test_refused_state(void **state)
{
    struct fake_server *f = fake_new();
    f->hook = refuse_stop_copy;
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    enum device_state reached = DEVICE_STATE_ERROR;
    assert_true(d->ops->set_state(d, DEVICE_STATE_STOP_COPY, &reached, &err) < 0);
    assert_int_equal(reached, DEVICE_STATE_STOP); /* asked, not assumed */
    assert_int_equal(err.code, MIG_ERR_DEVICE);
    assert_non_null(strstr(err.message, "from stop to stop-copy"));
    assert_non_null(strstr(err.message, "nic0"));
    char steps[300];
    assert_int_equal(
        device_recover(d, DEVICE_STATE_RUNNING, DEVICE_STATE_STOP_COPY, &reached, steps, sizeof steps, &err),
        0);
    assert_int_equal(reached, DEVICE_STATE_RUNNING);
    assert_int_equal(f->state, DEVICE_STATE_RUNNING);
    device_unref(d);
    fake_free(f);
}

/* A server that a crashed client left standing still. */
static void test_left_stopped(void **state)
{
    struct fake_server *f = fake_new();
    f->state = DEVICE_STATE_STOP_COPY;
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    enum device_state s;
    assert_int_equal(d->ops->get_state(d, &s, &err), 0);
    assert_int_equal(s, DEVICE_STATE_STOP_COPY);
    assert_int_equal(d->ops->info(d)->num_regions, 0);
    assert_int_equal(d->ops->info(d)->migration_flags, 5);
    struct region *r = memory(MIB); /* its mapping waits for a state that takes it */
    map(d, r, 0x10000, 0, MIB);
    assert_int_equal(f->commands[VFU_DMA_MAP], 1);
    assert_int_equal(d->ops->set_state(d, DEVICE_STATE_RUNNING, &s, &err), 0);
    assert_int_equal(s, DEVICE_STATE_RUNNING);
    assert_int_equal(d->ops->info(d)->num_regions, 9); /* now it tells */
    assert_int_equal(d->ops->info(d)->pci_vendor, 0x8086);
    fake_touch(f, 0x10000 + 4096, 0x44);
    assert_int_equal(r->map[4096], 0x44);
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

static void test_stream(void **state)
{
    struct fake_server *f = fake_new();
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    uint8_t *got = malloc(MIB), *sent = malloc(MIB);
    f->stream_size = 300001;
    for (size_t i = 0; i < sizeof f->stream; i++)
        f->stream[i] = (uint8_t)(i * 7 + i / 251);
    memcpy(sent, f->stream, f->stream_size);
    fake_sync(f);

    ssize_t n = d->ops->read_state(d, got, MIB, &err);
    assert_true(n < 0 && n != -ENOMSG); /* not saving */
    assert_int_equal(d->ops->set_state(d, DEVICE_STATE_PRE_COPY, NULL, &err), 0);
    size_t total = 0;
    while ((n = d->ops->read_state(d, got + total, 5000, &err)) > 0 && total < 100000)
        total += (size_t)n;
    total += (size_t)n;
    fake_sync(f);
    size_t all = f->stream_size;
    f->stream_size = f->stream_pos; /* nothing at the moment */
    fake_sync(f);
    assert_int_equal(d->ops->read_state(d, got + total, 5000, &err), -ENOMSG);
    fake_sync(f);
    f->stream_size = all;
    fake_sync(f);
    assert_int_equal(d->ops->set_state(d, DEVICE_STATE_STOP_COPY, NULL, &err), 0);
    while ((n = d->ops->read_state(d, got + total, MIB - total, &err)) > 0)
        total += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(total, 300001);
    assert_memory_equal(got, sent, total);
    assert_true(d->ops->read_state(d, got, 0, &err) < 0);

    assert_int_equal(d->ops->set_state(d, DEVICE_STATE_RESUMING, NULL, &err), 0);
    fake_sync(f);
    memset(f->stream, 0, sizeof f->stream);
    fake_sync(f);
    assert_int_equal(d->ops->write_state(d, got, total, &err), 0); /* in pieces that the server accepts */
    fake_sync(f);
    assert_int_equal(f->written, total);
    assert_memory_equal(f->stream, sent, total);
    assert_int_equal(d->ops->write_state(d, got, 0, &err), 0);
    free(got);
    free(sent);
    device_unref(d);
    fake_free(f);
}

static void dma_checks(struct fake_server *f, struct device *d, struct region *r, int socket)
{
    uint8_t buf[8192], *view = map_view(r->fd, r->size_bytes);
    view[0x1000] = 0x5a;
    assert_int_equal(fake_dma(socket, false, 0x10000 + 0x1000, buf, 16), 0);
    assert_int_equal(buf[0], 0x5a);
    memset(buf, 0x77, sizeof buf);
    /* Across the seam of two mappings that lead to different places of the region, three pages in all. */
    assert_int_equal(fake_dma(socket, true, 0x10000 + MIB - 100, buf, 4096 + 200), 0);
    assert_int_equal(view[MIB - 100], 0x77);
    assert_int_equal(view[MIB - 101], 0);
    assert_int_equal(view[2 * MIB], 0x77);
    assert_int_equal(view[2 * MIB + 4195], 0x77);
    assert_int_equal(view[2 * MIB + 4196], 0);
    region_take_marks(r);
    assert_true(bitmap_count(r->dirty) == 3);
    assert_true(bitmap_test(r->dirty, MIB / 4096 - 1));
    assert_true(bitmap_test(r->dirty, 2 * MIB / 4096));
    assert_true(bitmap_test(r->dirty, 2 * MIB / 4096 + 1));

    assert_int_equal(fake_dma(socket, false, 0x9000, buf, 16), EFAULT);                /* before */
    assert_int_equal(fake_dma(socket, false, 0x10000 + 2 * MIB - 8, buf, 16), EFAULT); /* over the end */
    assert_int_equal(fake_dma(socket, true, UINT64_MAX - 4, buf, 16), EINVAL);         /* wraps */
    assert_int_equal(fake_dma(socket, true, 0x10000000, buf, 16), EACCES);             /* read-only mapping */
    assert_int_equal(fake_dma(socket, false, 0x10000000, buf, 16), 0);
    assert_int_equal(fake_dma(socket, false, 0x10000, buf, UINT32_MAX), EINVAL); /* more than agreed */
    assert_int_equal(fake_dma(socket, false, 0x10000, buf, 0), 0);
    struct vfu_device_status s;
    vfu_device_get_status(d, &s);
    assert_true(s.dma_writes == 1);
    assert_true(s.dma_reads == 3);
    assert_true(s.dma_refused == 5);
    munmap(view, r->size_bytes);
}

static struct device *attach_for_dma(struct fake_server *f, struct region *r)
{
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    map(d, r, 0x10000, 0, MIB);
    map(d, r, 0x10000 + MIB, 2 * MIB, MIB);
    struct iova_mapping ro = {
        .iova = 0x10000000, .size_bytes = MIB, .region = r, .offset_bytes = 0, .prot = IOVA_READ};
    assert_int_equal(d->ops->dma_map(d, &ro, &err), 0);
    return d;
}

static void test_dma_twin(void **state)
{
    struct fake_server *f = fake_new();
    struct region *r = memory(4 * MIB);
    struct device *d = attach_for_dma(f, r);
    dma_checks(f, d, r, fake_twin(f));
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

/* DMA in the middle of a command: on the twin socket, or on the main one when there is none. */
static bool dma_in_report(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct vfu_feature_header head;
    memcpy(&head, payload, MIN(sizeof head, size));
    if (h->command == VFU_DEVICE_FEATURE &&
        head.flags == (VFU_FEATURE_DMA_LOGGING_REPORT | VFU_FEATURE_GET)) {
        uint8_t byte = 0x99;
        int r = fake_dma(f->twin >= 0 ? f->twin : f->socket, true, 0x10000 + 0x3000, &byte, 1);
        if (r != 0) {
            fake_error(f, h, EPIPE, NULL, 0);
            return true;
        }
    }
    return false;
}

static void dma_amid_report(bool twin)
{
    struct fake_server *f = fake_new();
    struct region *r = memory(4 * MIB);
    f->no_twin = !twin;
    f->hook = dma_in_report;
    struct device *d = attach_for_dma(f, r);
    log_start(d);
    fake_touch(f, 0x10000, 1);
    report(d);
    assert_true(bitmap_test(r->dirty, 0));
    assert_false(bitmap_test(r->dirty, 3));
    region_take_marks(r);
    assert_true(bitmap_test(r->dirty, 3)); /* by message: marked here, not in the server's log */
    uint8_t *view = map_view(r->fd, r->size_bytes);
    assert_int_equal(view[0x3000], 0x99);
    munmap(view, r->size_bytes);
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

static void test_dma_amid_report_twin(void **state)
{
    dma_amid_report(true);
}

static void test_dma_amid_report_main(void **state)
{
    dma_amid_report(false);
}

/* Without a twin socket and with no command under way, the device thread answers on the main socket. The
 * fake's own thread would take the replies, so the messages are sent from a hook of a command that is
 * answered first. */
static int idle_dma_result = -2;
static bool dma_after_reply(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    if (h->command != VFU_DEVICE_RESET)
        return false;
    fake_reply(f, h, NULL, 0);
    usleep(50000); /* the command is over for the client */
    uint8_t byte = 0x42;
    __atomic_store_n(&idle_dma_result, fake_dma(f->socket, true, 0x10000 + 0x5000, &byte, 1),
                     __ATOMIC_SEQ_CST);
    return true;
}

static void test_dma_idle_main(void **state)
{
    struct fake_server *f = fake_new();
    struct region *r = memory(4 * MIB);
    f->no_twin = true;
    f->no_migration = true;
    f->hook = dma_after_reply;
    struct device *d = attach_for_dma(f, r);
    assert_int_equal(d->ops->reset(d, NULL), 0);
    for (int i = 0; i < 200 && __atomic_load_n(&idle_dma_result, __ATOMIC_SEQ_CST) == -2; i++)
        usleep(10000);
    assert_int_equal(__atomic_load_n(&idle_dma_result, __ATOMIC_SEQ_CST), 0);
    region_take_marks(r);
    assert_true(bitmap_test(r->dirty, 5));
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

/* A server that takes no descriptors: mappings go without, and DMA by message is what there is. */
static void test_no_descriptors(void **state)
{
    struct fake_server *f = fake_new();
    struct region *r = memory(4 * MIB);
    f->max_msg_fds = 0;
    struct device *d = attach_for_dma(f, r);
    log_start(d);
    dma_checks(f, d, r, fake_twin(f));
    report(d);
    assert_int_equal(d->ops->dma_unmap(d, 0x10000, MIB, NULL), 0);
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

static void test_map_refused(void **state)
{
    struct fake_server *f = fake_new();
    struct region *r = memory(4 * MIB);
    struct device *d = attach(f, NULL);
    struct mig_error err = MIG_ERROR_INIT;
    map(d, r, 0, 0, MIB);
    struct iova_mapping m = {.iova = 4096, .size_bytes = MIB, .region = r, .prot = IOVA_READ};
    assert_true(d->ops->dma_map(d, &m, &err) < 0); /* overlaps: never sent */
    assert_int_equal(f->commands[VFU_DMA_MAP], 1);
    f->state = DEVICE_STATE_STOP;
    m.iova = 16 * MIB;
    assert_true(d->ops->dma_map(d, &m, &err) < 0); /* refused by the device: and not in the map */
    assert_int_equal(err.code, MIG_ERR_DEVICE);
    assert_non_null(strstr(err.message, "DMA_MAP of 0x1000000"));
    struct iova_mapping found;
    assert_int_equal(iova_map_lookup(d->map, 16 * MIB, &found), -ENOENT);
    device_unref(d);
    fake_free(f);
    region_unref(r);
}

static void test_options(void **state)
{
    struct device *d = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    char path[200];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    struct vfu_device_options none = {.fd = -1}, too_long = {.path = path},
                              absent = {.path = "/nonexistent/x.sock"},
                              no_socket = {.fd = STDERR_FILENO, .timeout_usec = USEC_PER_SEC},
                              slow = {.fd = 0, .timeout_usec = 1};
    assert_true(vfu_device_new(&d, "nic0", &none, &err) < 0);
    assert_true(vfu_device_new(&d, "nic0", &too_long, &err) < 0);
    assert_true(vfu_device_new(&d, "nic0", &slow, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_INVALID_ARGUMENT);
    assert_true(vfu_device_new(&d, "nic0", &absent, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_GONE);
    assert_non_null(strstr(err.message, "/nonexistent/x.sock"));
    assert_true(vfu_device_new(&d, "nic0", &no_socket, &err) < 0);
    assert_true(vfu_device_new(&d, "", &absent, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_INVALID_ARGUMENT);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_no_migration),
        cmocka_unit_test(test_map_and_log),
        cmocka_unit_test(test_unmap_without_bitmap),
        cmocka_unit_test(test_unmap_while_stopped),
        cmocka_unit_test(test_large_mapping),
        cmocka_unit_test(test_log_left_on),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_refused_state),
        cmocka_unit_test(test_left_stopped),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_dma_twin),
        cmocka_unit_test(test_dma_amid_report_twin),
        cmocka_unit_test(test_dma_amid_report_main),
        cmocka_unit_test(test_dma_idle_main),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_map_refused),
        cmocka_unit_test(test_options),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
