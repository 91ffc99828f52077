/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's own client drives a device that really does DMA: a whole migration, judged page by page. */
#include "base/clock.h"
#include "client.h"
#include "memory/region.h"
#include "vfio-user/device.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PAGES 1024u
#define BYTES (PAGES * 4096ull)
#define IOVA  0x40000000ull
#define CHUNK 32768u

struct side {
    struct process process;
    struct device *device;
    struct region *region;
    char journal[128];
};

static void check(int r, const struct mig_error *err)
{
    if (r < 0)
        fail_msg("%s", err->message);
}

static void side_start(struct side *s, const char *name, const char *const *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    *s = (struct side){};
    snprintf(s->journal, sizeof s->journal, "/tmp/simdev-test-%d-%s.journal", (int)getpid(), name);
    const char *all[24] = {"--id", "5", "--journal", s->journal};
    for (unsigned i = 0; args[i]; i++)
        all[4 + i] = args[i];
    assert_int_equal(process_start(&s->process, name, all), 0);
    struct vfu_device_options o = {.path = s->process.socket_path, .fd = -1};
    check(vfu_device_new(&s->device, name, &o, &err), &err);
    check(region_new_made(&s->region, "ram", BYTES, 0, -1, &err), &err);
    struct iova_mapping m = {
        .iova = IOVA,
        .size_bytes = BYTES,
        .region = s->region,
        .prot = IOVA_READ | IOVA_WRITE,
    };
    check(s->device->ops->dma_map(s->device, &m, &err), &err);
}

static void side_end(struct side *s)
{
    device_unref(s->device);
    process_stop(&s->process, SIGTERM);
    region_unref(s->region);
    unlink(s->journal);
}

static void set_state(struct side *s, enum device_state state)
{
    struct mig_error err = MIG_ERROR_INIT;
    check(s->device->ops->set_state(s->device, state, NULL, &err), &err);
}

static void into_dirty(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                       const uint64_t *words, uint64_t nbits)
{
    uint64_t pages = page_bytes / 4096;
    for (uint64_t i = 0; i < nbits; i++) {
        if (words[i / 64] >> (i % 64) & 1)
            bitmap_set_range(m->region->dirty, i * pages, pages);
    }
}

/* By the kernel: the device goes on writing meanwhile, by migd's own thread where it writes by message, and a
 * copy through the mapping would be a race for a sanitizer. */
static void copy_memory(struct side *from, struct side *to, uint64_t offset, uint64_t bytes)
{
    off64_t in = (off64_t)offset, out = in;
    while (bytes > 0) {
        ssize_t n = copy_file_range(from->region->fd, &in, to->region->fd, &out, bytes, 0);
        if (n <= 0)
            fail_msg("copy_file_range: %s", n < 0 ? strerror(errno) : "nothing copied");
        bytes -= (uint64_t)n;
    }
}

/* What the log and the DMA messages say, and those pages copied to where there is a side to copy to. */
static uint64_t copy_dirty(struct side *from, struct side *to)
{
    struct mig_error err = MIG_ERROR_INIT;
    check(from->device->ops->log_report(from->device, into_dirty, NULL, &err), &err);
    region_take_marks(from->region);
    uint64_t n = bitmap_count(from->region->dirty);
    if (to != NULL) {
        bitmap_for_each_run (from->region->dirty, first, count)
            copy_memory(from, to, first * 4096, count * 4096);
    }
    bitmap_clear_all(from->region->dirty);
    return n;
}

static void copy_state(struct side *from, struct side *to)
{
    struct mig_error err = MIG_ERROR_INIT;
    uint8_t buf[CHUNK];
    for (;;) {
        ssize_t n = from->device->ops->read_state(from->device, buf, sizeof buf, &err);
        if (n == 0 || n == -ENOMSG)
            return;
        check((int)n, &err);
        check(to->device->ops->write_state(to->device, buf, (size_t)n, &err), &err);
    }
}

static int judge(const struct side *a, const struct side *b)
{
    char program[4096], memory[128];
    const char *top = getenv("TOP_BUILDDIR");
    snprintf(program, sizeof program, "%s/simdev-check", top ? top : ".");
    snprintf(memory, sizeof memory, "/proc/%d/fd/%d:0x%llx:%llu", (int)getpid(), b->region->fd, IOVA, BYTES);
    const char *argv[] = {program,    "--memory",  memory,     "--journal",
                          a->journal, "--journal", b->journal, NULL};
    return run_program(argv);
}

/* Returns what simdev-check says; *ret_gate is how many pages were dirty after the final read. */
static int migrate(const char *const *source_args, uint64_t *ret_gate)
{
    static const char *const incoming[] = {"--incoming", NULL};
    struct side a, b;
    struct mig_error err = MIG_ERROR_INIT;
    uint64_t page_bytes = 4096;
    side_start(&a, "a", source_args);
    side_start(&b, "b", incoming);
    set_state(&b, DEVICE_STATE_RESUMING);
    usleep(50000);
    check(a.device->ops->log_start(a.device, &page_bytes, &err), &err);
    copy_memory(&a, &b, 0, BYTES);
    set_state(&a, DEVICE_STATE_PRE_COPY);
    uint64_t found = 0;
    for (int round = 0; round < 4 || (found == 0 && round < 100); round++) {
        usleep(20000);
        found += copy_dirty(&a, &b);
        copy_state(&a, &b);
    }
    assert_true(found > 0);
    usleep(20000); /* what is written now is for the final read */
    set_state(&a, DEVICE_STATE_PRE_COPY_P2P);
    set_state(&a, DEVICE_STATE_STOP_COPY);
    copy_dirty(&a, &b);
    copy_state(&a, &b);
    usleep(30000);
    *ret_gate = copy_dirty(&a, NULL);
    set_state(&b, DEVICE_STATE_RUNNING);
    usleep(50000);
    set_state(&b, DEVICE_STATE_STOP);
    int verdict = judge(&a, &b);
    side_end(&a);
    side_end(&b);
    return verdict;
}

static void test_migrate(void **unused)
{
    static const char *const ways[][8] = {
        {"--rate", "4000", "--pattern", "ring", "--state-size", "1M"},
        {"--rate", "0", "--pattern", "uniform"},
        {"--rate", "3000", "--pattern", "burst", "--by-message"},
        {"--rate", "5000", "--pattern", "zipf", "--log-page-size", "64K"},
        {"--rate", "5000", "--pattern", "oscillate", "--misbehave", "split"},
        {"--rate", "5000", "--misbehave", "merge", "--misbehave", "error-payload"},
        {"--rate", "5000", "--misbehave", "fragile"},
    };
    for (unsigned i = 0; i < ELEMENTS(ways); i++) {
        uint64_t gate;
        print_message("%s %s %s %s\n", ways[i][0], ways[i][1], ways[i][2], ways[i][3]);
        assert_int_equal(migrate(ways[i], &gate), 0);
        assert_int_equal(gate, 0);
    }
}

/* What the device does wrong is seen: by the gate, or by the checker. */
static void test_migrate_with_bad_devices(void **unused)
{
    static const char *const strays[] = {"--rate", "2000", "--misbehave", "write-after-stop=1000", NULL};
    static const char *const late[] = {"--rate",      "2000",       "--pattern", "uniform",
                                       "--misbehave", "late-dirty", NULL};
    static const char *const loses[] = {"--rate",      "500",        "--pattern", "uniform",
                                        "--misbehave", "lose-bit=4", NULL};
    uint64_t gate;
    assert_int_equal(migrate(strays, &gate), 1);
    assert_true(gate > 0);
    assert_int_equal(migrate(late, &gate), 1);
    assert_true(gate > 0);
    assert_int_equal(migrate(loses, &gate), 1);
    assert_int_equal(gate, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_migrate_with_bad_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
