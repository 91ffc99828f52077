/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules of domains and their registry, and the way through the saved form and back. Devices are fakes behind
 * the ops table. */
#include "base/fds.h"
#include "base/json.h"
#include "base/log.h"
#include "domain/client.h"
#include "domain/registry.h"
#include "domain/restore.h"
#include "domain/saved.h"
#include "domain/uffd-again.h"
#include "loop/loop.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* ---- a device that remembers ---- */
struct fake {
    struct device device;
    struct device_info info;
    unsigned maps, unmaps;
    uint64_t refuse_iova; /* DMA_MAP there fails; 1: nowhere */
    int gone[2];
};

static const struct device_info *fake_info(struct device *d)
{
    return &((struct fake *)d)->info;
}
static int fake_map(struct device *d, const struct iova_mapping *m, struct mig_error *err)
{
    struct fake *f = (struct fake *)d;
    if (m->iova == f->refuse_iova)
        return mig_error_set(err, MIG_ERR_DEVICE, 0, "fake refuses 0x%llx", (unsigned long long)m->iova);
    f->maps++;
    return iova_map_add(d->map, m, err);
}
static int fake_unmap(struct device *d, uint64_t iova, uint64_t size, struct mig_error *err)
{
    ((struct fake *)d)->unmaps++;
    return iova_map_remove(d->map, iova, size, err);
}
static int fake_gone_fd(struct device *d)
{
    return ((struct fake *)d)->gone[0];
}
static void fake_destroy(struct device *d)
{
    struct fake *f = (struct fake *)d;
    close(f->gone[0]);
    close_fd(&f->gone[1]);
    iova_map_free(d->map);
    free(f);
}
static const struct device_ops fake_ops = {.info = fake_info,
                                           .dma_map = fake_map,
                                           .dma_unmap = fake_unmap,
                                           .gone_fd = fake_gone_fd,
                                           .destroy = fake_destroy};

static struct fake *fake_new(const char *name)
{
    struct fake *f = calloc(1, sizeof *f);
    assert_int_equal(device_init(&f->device, &fake_ops, name), 0);
    assert_int_equal(pipe2(f->gone, O_CLOEXEC), 0);
    f->info = (struct device_info){.kind = "vfio-user", .dirty_log = true};
    f->refuse_iova = 1;
    return f;
}

static struct domain_device describe(struct fake *f)
{
    return (struct domain_device){.device = &f->device,
                                  .socket = (char *)"/nonexistent/nic.sock",
                                  .timeout_usec = 1000000,
                                  .log_page_bytes = 4096,
                                  .use_precopy = true,
                                  .automap = true};
}

/* ---- helpers ---- */
static struct domain *new_domain(const char *name)
{
    struct domain *d;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(domain_new(&d, name, false, &e), 0);
    return d;
}

static int memory_fd(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static struct region *new_region(const char *name, uint64_t size)
{
    _cleanup_close_ int fd = memory_fd(size);
    struct region *region;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(region_new_from_fd(&region, name, fd, 0, size, true, &e), 0);
    return region;
}

static int add_memory(struct domain *d, const char *name, uint64_t size, const uint64_t *iovas, size_t n,
                      struct mig_error *e)
{
    _cleanup_(region_unrefp) struct region *region = new_region(name, size);
    *e = MIG_ERROR_INIT;
    return domain_add_memory(d, region, iovas, n, e);
}

/* ---- tests ---- */
static void names(void **state)
{
    static const char *const good[] = {"a", "0", "vm-1.prod_x",
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"};
    static const char *const bad[] = {
        "",    ".a", "-a",  "a/b",
        "a b", "ä",  "a\n", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_int_equal(domain_name_check(good[i], NULL), strlen(good[i]) <= DOMAIN_NAME_MAX ? 0 : -EINVAL);
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct mig_error e = MIG_ERROR_INIT;
        assert_int_equal(domain_name_check(bad[i], &e), -EINVAL);
        assert_int_equal(e.code, MIG_ERR_INVALID_ARGUMENT);
        assert_true(e.hint[0]);
    }
    assert_int_equal(domain_part_name_check("device", "0000:00:04.0", NULL), 0);
    assert_int_equal(domain_part_name_check("device", ":a", NULL), -EINVAL);
    assert_int_equal(domain_name_check("0000:00:04.0", NULL), -EINVAL);
}

static void memory_rules(void **state)
{
    _cleanup_(domain_unrefp) struct domain *d = new_domain("demo");
    struct mig_error e;
    assert_int_equal(add_memory(d, "ram0", MIB, (uint64_t[]){0, 4 * MIB}, 2, &e), 0);
    assert_int_equal(add_memory(d, "ram0", MIB, NULL, 0, &e), -EEXIST);
    assert_int_equal(add_memory(d, "ram1", MIB, (uint64_t[]){4 * MIB - 4096}, 1, &e), -EEXIST);
    assert_non_null(strstr(e.message, "ram0"));
    assert_int_equal(add_memory(d, "ram1", MIB, (uint64_t[]){100}, 1, &e), -EINVAL);
    assert_int_equal(add_memory(d, "ram1", MIB, (uint64_t[]){UINT64_MAX - 4095}, 1, &e), -EINVAL);
    assert_int_equal(add_memory(d, "ram1", MIB, (uint64_t[]){MIB, MIB + 4096}, 2, &e), -EINVAL);
    assert_int_equal(add_memory(d, "-ram", MIB, NULL, 0, &e), -EINVAL);
    assert_int_equal(add_memory(d, "ram1", MIB, (uint64_t[]){MIB}, 1, &e), 0);
    assert_int_equal(d->nmemory, 2);
    assert_int_equal(domain_find_memory(d, "ram1")->region->index, 1);
    assert_null(domain_find_memory(d, "ram2"));
}

static void devices_see_memory_whenever_it_comes(void **state)
{
    _cleanup_(domain_unrefp) struct domain *d = new_domain("demo");
    struct fake *f = fake_new("nic0"), *other = fake_new("nic1");
    struct domain_device dd = describe(f), by_hand = describe(other);
    struct mig_error e;
    by_hand.automap = false;
    assert_int_equal(add_memory(d, "ram0", MIB, (uint64_t[]){0, 4 * MIB}, 2, &e), 0);
    assert_int_equal(domain_add_device(d, &dd, &e), 0);
    assert_int_equal(domain_add_device(d, &by_hand, &e), 0);
    assert_int_equal(domain_add_device(d, &dd, &e), -EEXIST);
    device_unref(&f->device);
    device_unref(&other->device);
    assert_int_equal(f->maps, 2);
    assert_int_equal(add_memory(d, "ram1", MIB, (uint64_t[]){MIB}, 1, &e), 0);
    assert_int_equal(f->maps, 3);
    assert_int_equal(other->maps, 0);
    /* a device that refuses: nothing of it stays */
    f->refuse_iova = 9 * MIB;
    assert_true(add_memory(d, "ram2", MIB, (uint64_t[]){8 * MIB, 9 * MIB}, 2, &e) < 0);
    assert_non_null(strstr(e.message, "mapping memory ram2 into device nic0"));
    assert_int_equal(d->nmemory, 2);
    assert_int_equal(iova_map_lookup(f->device.map, 8 * MIB, &(struct iova_mapping){0}), -ENOENT);
    assert_int_equal(d->ntrackers, 2);
    assert_string_equal(d->trackers[0]->ops->kind, "device");
}

static void trackers_that_say_everything_know_later_memory(void **state)
{
    _cleanup_(domain_unrefp) struct domain *d = new_domain("demo");
    struct fake *f = fake_new("nic0");
    struct domain_device dd = describe(f);
    struct mig_error e;
    dd.tracker_all = true;
    assert_int_equal(domain_add_device(d, &dd, &e), 0);
    device_unref(&f->device);
    struct tracker *before = d->trackers[0];
    assert_string_equal(before->ops->kind, "all");
    assert_int_equal(add_memory(d, "ram0", MIB, NULL, 0, &e), 0);
    /* whole, through the harvest that a migration would make */
    assert_string_equal(d->trackers[0]->ops->kind, "all");
    assert_string_equal(d->trackers[0]->device, "nic0");
    assert_int_equal(domain_find_memory(d, "ram0")->region->refs, 2);
}

static void busy_domains_do_not_change(void **state)
{
    _cleanup_(domain_unrefp) struct domain *d = new_domain("demo");
    struct fake *f = fake_new("nic0");
    struct domain_device dd = describe(f);
    struct controller *c;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(controller_new_none(&c, &e), 0);
    assert_int_equal(domain_borrow(d, "0123", &e), 0);
    assert_int_equal(domain_borrow(d, "4567", &e), -EBUSY);
    assert_non_null(strstr(e.message, "0123"));
    assert_int_equal(add_memory(d, "ram0", MIB, NULL, 0, &e), -EBUSY);
    assert_int_equal(domain_add_device(d, &dd, &e), -EBUSY);
    assert_int_equal(domain_set_controller(d, c, NULL, &e), -EBUSY);
    assert_int_equal(domain_begin_job(d, "AddMemory x", &e), -EBUSY);
    domain_give_back(d);
    assert_string_equal(d->migration_id, "");
    assert_int_equal(domain_begin_job(d, "AddMemory x", &e), 0);
    assert_int_equal(domain_borrow(d, "4567", &e), -EBUSY);
    assert_non_null(strstr(e.message, "AddMemory x"));
    assert_int_equal(domain_insert_device(d, &dd, &e), -EBUSY);
    domain_end_job(d);
    assert_int_equal(domain_set_controller(d, c, NULL, &e), 0);
    controller_unref(c);
    device_unref(&f->device);
}

static void count_changes(struct domain *d, void *userdata)
{
    ++*(unsigned *)userdata;
}

static void a_dead_device_breaks_the_domain(void **state)
{
    _cleanup_(loop_freep) struct loop *l = NULL;
    struct domain *d = new_domain("demo");
    struct fake *f = fake_new("nic0");
    struct domain_device dd = describe(f);
    struct mig_error e = MIG_ERROR_INIT;
    unsigned changes = 0;
    assert_int_equal(loop_new(&l), 0);
    d->loop = l;
    d->changed = count_changes;
    d->changed_userdata = &changes;
    assert_int_equal(domain_add_device(d, &dd, &e), 0);
    device_unref(&f->device);
    domain_watch_devices(d);
    assert_int_equal(d->state, DOMAIN_STATE_RUNNING);
    assert_int_equal(domain_borrow(d, "0123", &e), 0);
    close_fd(&f->gone[1]);
    domain_watch_devices(d);
    assert_int_equal(d->state, DOMAIN_STATE_RUNNING); /* whoever borrows it finds out */
    changes = 0;
    domain_give_back(d);
    assert_int_equal(d->state, DOMAIN_STATE_BROKEN);
    assert_non_null(strstr(d->problem, "nic0"));
    assert_true(changes >= 1);
    domain_unref(d);
}

static void registry_rules(void **state)
{
    _cleanup_(registry_freep) struct registry *r = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(registry_new(&r), 0);
    _cleanup_(domain_unrefp) struct domain *a = new_domain("a"), *b = new_domain("b"),
                                           *again = new_domain("a");
    assert_int_equal(registry_add(r, a, &e), 0);
    assert_int_equal(registry_add(r, b, &e), 0);
    assert_int_equal(registry_add(r, again, &e), -EEXIST);
    assert_ptr_equal(registry_find(r, "b"), b);
    assert_ptr_equal(registry_nth(r, 0), a);
    assert_null(registry_nth(r, 2));
    registry_remove(r, a);
    assert_null(registry_find(r, "a"));
    assert_ptr_equal(registry_nth(r, 0), b);
    assert_int_equal(a->refs, 1);
    char name[16];
    for (unsigned i = 1; i < REGISTRY_DOMAINS_MAX; i++) {
        snprintf(name, sizeof name, "d%u", i);
        _cleanup_(domain_unrefp) struct domain *d = new_domain(name);
        assert_int_equal(registry_add(r, d, &e), 0);
    }
    assert_int_equal(registry_add(r, a, &e), -E2BIG);
}

/* ---- the saved form ---- */
static char dir[] = "/tmp/test-domain-XXXXXX";

static struct domain *restore(const char *name, struct json_object *o)
{
    struct domain *d = new_domain(name);
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(domain_from_json(d, NULL, o, &e), 0);
    return d;
}

static void saved_form_and_back(void **state)
{
    char path[128], log_path[128], saved_path[160];
    struct mig_error e = MIG_ERROR_INIT;
    snprintf(path, sizeof path, "%s/ram", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(saved_path, sizeof saved_path, "%s/domains/demo.json", dir);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600),
                        log_fd = open(log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, 4 * MIB), 0);
    assert_int_equal(ftruncate(log_fd, 4096), 0);

    _cleanup_(domain_unrefp) struct domain *d = new_domain("demo");
    assert_int_equal(domain_keep_saved(d, dir, &e), 0);
    _cleanup_(region_unrefp) struct region *region = NULL;
    assert_int_equal(region_new_from_fd(&region, "ram0", fd, MIB, 2 * MIB, true, &e), 0);
    region->origin = strdup(path);
    assert_int_equal(domain_add_memory(d, region, (uint64_t[]){0, UINT64_C(0xffffffff00000000)}, 2, &e), 0);
    struct tracker *t;
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", region, log_fd, 64, 4096, &e), 0);
    _cleanup_(json_object_putp) struct json_object *saved = json_object_new_object();
    json_add_string(saved, "name", "cpu");
    json_add_string(saved, "type", "cpu-log");
    json_add_string(saved, "memory", "ram0");
    json_add_string(saved, "path", log_path);
    json_add_u64(saved, "offset", 64);
    json_add_u64(saved, "page-size", 4096);
    assert_int_equal(domain_add_tracker(d, t, saved, &e), 0);
    domain_set_state(d, DOMAIN_STATE_DEPARTED, "went \"away\"");

    _cleanup_free_ char *text = NULL;
    assert_int_equal(read_file(saved_path, 1 << 20, &text, NULL), 0);
    _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(text);
    assert_non_null(o);
    _cleanup_(domain_unrefp) struct domain *back = restore("demo", o);
    assert_int_equal(back->state, DOMAIN_STATE_DEPARTED);
    assert_string_equal(back->problem, "went \"away\"");
    assert_int_equal(back->nmemory, 1);
    assert_int_equal(back->memory[0].region->offset_bytes, MIB);
    assert_int_equal(back->memory[0].region->size_bytes, 2 * MIB);
    assert_int_equal(back->memory[0].niovas, 2);
    assert_true(back->memory[0].iova[1] == UINT64_C(0xffffffff00000000));
    assert_int_equal(back->ntrackers, 1);
    assert_string_equal(back->trackers[0]->ops->kind, "cpu-log");
    /* The second generation is the same as the first. */
    _cleanup_(json_object_putp) struct json_object *again = domain_to_json(back);
    assert_true(json_object_equal(o, again));
    domain_forget_saved(d);
    assert_int_equal(access(saved_path, F_OK), -1);
}

static void what_cannot_come_back_is_said(void **state)
{
    static const char *const forms[][2] = {
        {"{'name':'demo','memory':[{'name':'ram0','size':4096}]}", "memory ram0 came as a descriptor"},
        {"{'name':'demo','memory':[{'name':'ram0','make':true,'size':4096}]}",
         "memory ram0 was made by migd"},
        {"{'name':'demo','memory':[{'name':'ram0','path':'/nonexistent/ram','size':4096}]}",
         "/nonexistent/ram"},
        {"{'name':'demo','memory':[{'name':'ram0','path':'/dev/null','size':4096}]}", "ram0"},
        {"{'name':'demo','memory':[{'size':4096}]}", "without a name"},
        {"{'name':'demo','devices':[{'name':'nic0'}]}", "device nic0 came as a connected socket"},
        {"{'name':'demo','devices':[{'name':'nic0','socket':'/nonexistent/sock'}]}", "/nonexistent/sock"},
        {"{'name':'demo','trackers':[{'name':'t','type':'cpu-log','memory':'ram9','path':'/x'}]}",
         "lost its memory ram9"},
        {"{'name':'demo','trackers':[{'name':'t','type':'magic'}]}", "type magic"},
        {"{'name':'demo','trackers':[7]}", "without name or type"},
        {"{'name':'demo','controller':{'type':'dbus'}}", "controller"},
    };
    for (size_t i = 0; i < ELEMENTS(forms); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s", forms[i][0]);
        for (char *c = text; *c; c++)
            if (*c == '\'')
                *c = '"';
        _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(text);
        _cleanup_(domain_unrefp) struct domain *d = restore("demo", o);
        assert_int_equal(d->state, DOMAIN_STATE_BROKEN);
        if (!strstr(d->problem, forms[i][1]) || !strstr(d->problem, "register it again"))
            fail_msg("%s: %s", text, d->problem);
        /* A migration that is wound up does not make it whole. */
        domain_set_state(d, DOMAIN_STATE_RUNNING, NULL);
        assert_int_equal(d->state, DOMAIN_STATE_BROKEN);
        assert_true(d->problem[0]);
        domain_set_state(d, DOMAIN_STATE_DEPARTED, NULL);
        assert_int_equal(d->state, DOMAIN_STATE_DEPARTED);
    }
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(domain_unrefp) struct domain *d = new_domain("demo");
    assert_true(domain_from_json(d, NULL, NULL, &e) < 0);
}

static void a_userfaultfd_is_found_again(void **state)
{
    int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */),
        again = -1;
    struct mig_error e = MIG_ERROR_INIT;
    uint64_t start = process_start_time(getpid());
    if (uffd < 0)
        skip(); /* not here */
    assert_true(start > 0);
    assert_int_equal(process_start_time(0x3fffffff), 0);
    int r = uffd_take_again(getpid(), start, "cpu", &again, &e);
    if (r == -EPERM || r == -ENOSYS) {
        close(uffd);
        skip();
    }
    assert_int_equal(r, 0);
    assert_true(again >= 0 && again != uffd);
    close(again);
    assert_true(uffd_take_again(getpid(), start + 1, "cpu", &again, &e) <
                0); /* the pid means another process by now */
    assert_non_null(strstr(e.message, "has ended"));
    int second = dup(uffd);
    assert_true(uffd_take_again(getpid(), start, "cpu", &again, &e) < 0);
    assert_non_null(strstr(e.message, "2 userfaultfds"));
    close(second);
    close(uffd);
    assert_true(uffd_take_again(getpid(), start, "cpu", &again, &e) < 0);
}

/* A FIFO in the place of memory must not keep anybody waiting. */
static void a_fifo_is_no_memory(void **state)
{
    char path[128], text[256];
    snprintf(path, sizeof path, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(text, sizeof text,
             "{\"name\":\"demo\",\"memory\":[{\"name\":\"ram0\",\"path\":\"%s\",\"size\":4096}]}", path);
    _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(text);
    _cleanup_(domain_unrefp) struct domain *d = restore("demo", o);
    assert_int_equal(d->state, DOMAIN_STATE_BROKEN);
}

static void all_done(void *userdata)
{
    loop_exit(userdata, 5);
}

static void give_up(void *userdata)
{
    loop_exit(userdata, 99);
}

static void all_saved_domains_come_back(void **state)
{
    char path[160], text[128];
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(loop_freep) struct loop *l = NULL;
    _cleanup_(registry_freep) struct registry *r = NULL;
    struct restore *all;
    struct loop_timer *timer;
    assert_int_equal(loop_new(&l), 0);
    assert_int_equal(registry_new(&r), 0);
    snprintf(path, sizeof path, "%s/domains", dir);
    assert_int_equal(mkdir_parents(path), 0);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "%s/domains/d%u.json", dir, i);
        snprintf(text, sizeof text, "{\"name\":\"d%u\",\"incoming\":true}", i);
        assert_int_equal(write_file_atomic(path, text, strlen(text)), 0);
    }
    snprintf(path, sizeof path, "%s/domains/garbage.json", dir);
    assert_int_equal(write_file_atomic(path, "{{{", 3), 0);
    snprintf(path, sizeof path, "%s/domains/-.json", dir);
    assert_int_equal(write_file_atomic(path, "{}", 2), 0);
    assert_int_equal(loop_timer_new(&timer, l, give_up, l), 0);
    loop_timer_arm(timer, 10000000);
    assert_int_equal(restore_start(&all, l, NULL, r, dir, all_done, l, &e), 0);
    assert_int_equal(loop_run(l), 5);
    restore_free(all);
    assert_null(registry_nth(r, 20));
    for (unsigned i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "d%u", i);
        struct domain *d = registry_find(r, text);
        assert_non_null(d);
        assert_int_equal(d->state, DOMAIN_STATE_WAITING);
        assert_int_equal(domain_check_idle(d, &e), 0);
    }
    /* The end of the daemon in the middle of it. */
    _cleanup_(registry_freep) struct registry *r2 = NULL;
    assert_int_equal(registry_new(&r2), 0);
    assert_int_equal(restore_start(&all, l, NULL, r2, dir, all_done, l, &e), 0);
    restore_free(all);
    loop_timer_free(timer);
}

static int setup(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(memory_rules),
        cmocka_unit_test(devices_see_memory_whenever_it_comes),
        cmocka_unit_test(trackers_that_say_everything_know_later_memory),
        cmocka_unit_test(busy_domains_do_not_change),
        cmocka_unit_test(a_dead_device_breaks_the_domain),
        cmocka_unit_test(registry_rules),
        cmocka_unit_test(saved_form_and_back),
        cmocka_unit_test(what_cannot_come_back_is_said),
        cmocka_unit_test(a_fifo_is_no_memory),
        cmocka_unit_test(a_userfaultfd_is_found_again),
        cmocka_unit_test(all_saved_domains_come_back),
    };
    log_set_max_level(LOG_EMERG);
    return cmocka_run_group_tests(tests, setup, teardown);
}
