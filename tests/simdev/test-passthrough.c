/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pass-through server with a device that really does DMA: clients that know nothing of migration use it
 * through migd's socket, by descriptor and by message, and are moved without noticing more than a pause.
 */
#include "memory/region.h"
#include "scene.h"
#include "vfio-user/device.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct through {
    struct scene scene; /* device process, client, memory */
    struct device *device;
    struct region *region; /* what the domain knows: the same memfd */
    char path[108];
};

static int dma_fd(void *userdata, int fd, uint64_t offset, uint64_t size, struct region **ret,
                  uint64_t *ret_offset, struct mig_error *err)
{
    struct through *t = userdata;
    if (!range_inside(offset, size, t->region->size_bytes))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ERANGE, "outside");
    *ret = region_ref(t->region);
    *ret_offset = offset;
    return 0;
}
static const struct vfu_passthrough_callbacks callbacks = {.dma_fd = dma_fd};

static void through_start(struct through *t, const char *name, const char *const *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    *t = (struct through){0};
    scene_start(&t->scene, name, args);
    assert_int_equal(region_new_from_fd(&t->region, "ram", t->scene.memfd, 0, 0, true, &err), 0);
    snprintf(t->path, sizeof t->path, "/tmp/simdev-test-%d-%s.pass", (int)getpid(), name);
    struct vfu_device_options o = {.path = t->scene.device.socket_path,
                                   .listen_path = t->path,
                                   .passthrough = &callbacks,
                                   .userdata = t};
    if (vfu_device_new(&t->device, name, &o, &err) < 0)
        fail_msg("%s", err.message);
}

static void through_connect(struct through *t, bool twin, bool with_fd)
{
    struct scene *s = &t->scene;
    assert_int_equal(client_connect(&s->client, t->path, twin), 0);
    assert_int_equal(s->client.twin_fd >= 0, twin);
    assert_int_equal(client_map(&s->client, SCENE_IOVA, SCENE_BYTES, with_fd ? s->memfd : -1, 0, s->memory),
                     0);
}

static void through_end(struct through *t)
{
    client_close(&t->scene.client);
    device_unref(t->device);
    region_unref(t->region);
    scene_end(&t->scene);
}

static void into_dirty(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                       const uint64_t *words, uint64_t nbits)
{
    bitmap_or_words(m->region->dirty, m->offset_bytes / page_bytes, words, nbits, NULL, NULL);
}

static uint64_t harvest(struct through *t)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (t->device->ops->log_report(t->device, into_dirty, NULL, &err) < 0)
        fail_msg("%s", err.message);
    region_take_marks(t->region);
    return bitmap_count(t->region->dirty);
}

static void set_state(struct through *t, enum device_state state)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (t->device->ops->set_state(t->device, state, NULL, &err) < 0)
        fail_msg("%s", err.message);
}

static void move_pages(struct through *from, struct through *to)
{
    bitmap_for_each_run (from->region->dirty, first, count)
        memcpy(to->scene.memory + first * 4096, from->scene.memory + first * 4096, count * 4096);
    bitmap_clear_all(from->region->dirty);
}

static void migrate(const char *const *from_args, bool twin)
{
    struct through a, b;
    const char *to_args[8] = {"--incoming"};
    unsigned n = 1;
    for (unsigned i = 0; from_args[i]; i++)
        to_args[n++] = from_args[i];
    through_start(&a, "a", from_args);
    through_start(&b, "b", to_args);
    through_connect(&a, twin, true);
    scene_write(&a.scene, 100);

    struct mig_error err = MIG_ERROR_INIT;
    uint64_t page = 4096;
    assert_int_equal(a.device->ops->log_start(a.device, &page, &err), 0);
    memcpy(b.scene.memory, a.scene.memory, SCENE_BYTES);
    scene_write(&a.scene, 150);
    assert_true(harvest(&a) > 0);
    move_pages(&a, &b);
    scene_write(&a.scene, 50);
    /* The guest takes its memory out of the device's reach, and puts it back: nothing of what was written
     * before is lost. */
    assert_int_equal(client_unmap(&a.scene.client, SCENE_IOVA, SCENE_BYTES), 0);
    assert_int_equal(client_map(&a.scene.client, SCENE_IOVA, SCENE_BYTES, a.scene.memfd, 0, a.scene.memory),
                     0);
    region_take_marks(a.region);
    assert_true(bitmap_count(a.region->dirty) > 0);
    scene_write(&a.scene, 50);

    set_state(&a, DEVICE_STATE_STOP_COPY);
    harvest(&a);
    move_pages(&a, &b);
    set_state(&b, DEVICE_STATE_RESUMING);
    through_connect(&b, twin, true); /* the VMM of the destination comes while the device is being loaded */
    static uint8_t buf[32768];
    ssize_t size;
    while ((size = a.device->ops->read_state(a.device, buf, sizeof buf, &err)) > 0)
        assert_int_equal(b.device->ops->write_state(b.device, buf, (size_t)size, &err), 0);
    assert_int_equal(size, 0);
    set_state(&b, DEVICE_STATE_RUNNING);
    assert_int_equal(scene_sequence(&b.scene), 350);
    scene_write(&b.scene, 50); /* and goes on, without a gap */
    client_write_register(&b.scene.client, REG_CONTROL, 0);
    assert_int_equal(scene_check(&b.scene, &a.scene, &b.scene, NULL), 0);

    assert_int_equal(a.device->ops->log_stop(a.device, &err), 0);
    through_end(&a);
    through_end(&b);
}

static void test_migrate(void **state)
{
    static const char *const args[] = {"--idle", NULL};
    migrate(args, true);
    migrate(args, false);
}

static void test_migrate_by_message(void **state)
{
    static const char *const args[] = {"--idle", "--by-message", NULL};
    migrate(args, true);
}

/* The client keeps its memory for itself: the device's messages reach it through migd. */
static void test_foreign_memory(void **state)
{
    static const char *const args[] = {"--idle", "--by-message", NULL};
    for (int twin = 0; twin < 2; twin++) {
        struct through t;
        through_start(&t, "foreign", args);
        through_connect(&t, twin, false);
        scene_write(&t.scene, 100);
        assert_int_equal(t.scene.client.dma_writes, 100);
        assert_int_equal(scene_check(&t.scene, &t.scene, NULL, NULL), 0);
        struct vfu_device_status status;
        vfu_device_get_status(t.device, &status);
        assert_int_equal(status.foreign_mappings, 1);
        through_end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_migrate_by_message),
        cmocka_unit_test(test_foreign_memory),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
