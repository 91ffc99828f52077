/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-parts.h"
#include "domain/kernel-devices.h"
#include "vfio/device.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

/* ---- container ---- */

static int track(struct container *c, bool on, struct mig_error *err)
{
    int r = CONTAINER_OF(c, struct fake_container, base)->track_rc;
    return on && r < 0 ? mig_error_set(err, MIG_ERR_TRACKER, -r, "the kernel does not want to") : 0;
}

static int read_bits(struct container *c, const struct iova_mapping *m, bool keep, container_report_cb cb,
                     void *userdata, struct mig_error *err)
{
    uint64_t nbits = m->size_bytes / REGION_PAGE_SIZE, nwords = div_round_up(nbits, 64);
    uint64_t *words = calloc(nwords, sizeof *words);
    assert_non_null(words);
    for (uint64_t i = 0; i < nbits && CONTAINER_OF(c, struct fake_container, base)->says_everything; i++)
        words[i / 64] |= UINT64_C(1) << (i % 64);
    cb(userdata, m, REGION_PAGE_SIZE, words, nbits);
    free(words);
    return 0;
}

static void destroy_container(struct container *c)
{
    container_clear(c);
    free(CONTAINER_OF(c, struct fake_container, base));
}

static const struct container_ops type1_ops = {
    .kind = "type1", .track = track, .read = read_bits, .destroy = destroy_container};
static const struct container_ops iommufd_ops = {
    .kind = "iommufd", .track = track, .read = read_bits, .destroy = destroy_container};

struct fake_container *fake_container_new(const char *kind, const char *name)
{
    struct fake_container *c = calloc(1, sizeof *c);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(container_init(&c->base, strcmp(kind, "type1") == 0 ? &type1_ops : &iommufd_ops, name,
                                    fd, NULL, NULL),
                     0);
    close(fd);
    return c;
}

void fake_container_add(struct domain *d, struct fake_container *c, bool mapped)
{
    const struct domain_container dc = {.container = &c->base, .automap = mapped};
    assert_int_equal(domain_map_container(d, &dc, NULL), 0);
    assert_int_equal(domain_insert_container(d, &dc, NULL), 0);
}

/* ---- tracker ---- */

struct fake_tracker {
    struct tracker base;
    int start_rc;
    uint64_t granularity_bytes;
};

static int start_tracker(struct tracker *t, struct mig_error *err)
{
    struct fake_tracker *f = CONTAINER_OF(t, struct fake_tracker, base);
    if (f->start_rc < 0)
        return mig_error_set(err, MIG_ERR_TRACKER, -f->start_rc, "nobody is there to be watched");
    t->granularity_bytes = f->granularity_bytes;
    t->started = true;
    return 0;
}

static void stop_tracker(struct tracker *t)
{
    t->started = false;
}

static int harvest_tracker(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    return 0;
}

static bool covers_all(const struct tracker *t, const struct region *r)
{
    return true;
}

static void destroy_tracker(struct tracker *t)
{
    free(CONTAINER_OF(t, struct fake_tracker, base));
}

static const struct tracker_ops fake_tracker_ops = {
    .kind = "uffd",
    .answers_gate = true,
    .start = start_tracker,
    .stop = stop_tracker,
    .harvest = harvest_tracker,
    .covers = covers_all,
    .destroy = destroy_tracker,
};

void fake_tracker_add(struct domain *d, const char *name, int start_rc, uint64_t granularity_bytes)
{
    struct fake_tracker *t = calloc(1, sizeof *t);
    assert_int_equal(tracker_init(&t->base, &fake_tracker_ops, name, "cpu", NULL), 0);
    t->start_rc = start_rc;
    t->granularity_bytes = granularity_bytes;
    assert_int_equal(domain_add_tracker(d, &t->base, NULL, NULL), 0);
}

/* ---- mediated device ---- */

static int answer(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    struct kvfio_feature *f = arg;
    if (request == KVFIO_DEVICE_GET_INFO) {
        ((struct kvfio_device_info *)arg)->flags = KVFIO_DEVICE_FLAG_RESET;
        return 0;
    }
    if (request != KVFIO_DEVICE_FEATURE)
        return -ENOTTY;
    switch (f->flags & 0xffff) {
    case KVFIO_FEATURE_MIGRATION:
        *(uint64_t *)(void *)(f + 1) = 7;
        return 0;
    case KVFIO_FEATURE_DEVICE_STATE:
        *(struct kvfio_mig_state *)(void *)(f + 1) =
            (struct kvfio_mig_state){.state = DEVICE_STATE_RUNNING, .data_fd = -1};
        return 0;
    default:
        return -ENOTTY;
    }
}

struct device *fake_mdev_new(const char *name, const char *dir)
{
    static const struct kernel_calls calls = {.ioctl = answer};
    char folder[256], link[300];
    snprintf(folder, sizeof folder, "%s/%s", dir, name);
    snprintf(link, sizeof link, "%s/subsystem", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(symlink("../../../bus/mdev", link), 0);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct kvfio_device_options o = {.fd = fd, .gone_fd = -1, .calls = &calls, .sysfs_path = folder};
    struct device *d = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    if (kvfio_device_new(&d, name, &o, &err) < 0)
        fail_msg("%s", err.message);
    close(fd);
    return d;
}
