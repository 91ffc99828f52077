/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device as it should be: handshake, regions, DMA, log, migration. Real processes, real memory. */
#include "scene.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cmocka.h>

#define RECORD_OFFSET (5 * 64) /* the slot of device 5 in the first page */

enum { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P };

#define ARGS(...)                                                                                            \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

static void test_handshake(void **unused)
{
    struct scene s;
    scene_start(&s, "hello", ARGS("--idle"));
    scene_connect(&s, true);
    assert_non_null(strstr(s.client.version_json, "\"migration\":{\"pgsize\":4096}"));
    assert_non_null(strstr(s.client.version_json, "\"fd_index\":0"));

    struct vfu_device_info info = {.argsz = sizeof info};
    size_t n = sizeof info;
    assert_int_equal(client_command(&s.client, VFU_DEVICE_GET_INFO, &info, sizeof info, -1, &info, &n), 0);
    assert_int_equal(info.flags, VFU_DEVICE_FLAGS_RESET | VFU_DEVICE_FLAGS_PCI);
    assert_int_equal(info.num_regions, 9);
    assert_int_equal(info.num_irqs, 5);

    uint32_t id;
    assert_int_equal(client_read_register(&s.client, REG_ID, &id), 0);
    assert_int_equal(id, 5);
    assert_int_equal(client_read_register(&s.client, 1 << 20, &id), -EINVAL);
    assert_int_equal(client_command(&s.client, 15, &info, sizeof info, -1, NULL, NULL), -EINVAL);
    client_close(&s.client);

    /* Another client: no twin, and no descriptor comes. */
    scene_connect(&s, false);
    assert_null(strstr(s.client.version_json, "twin"));
    scene_end(&s);
}

static void test_bar2_can_be_mapped(void **unused)
{
    struct scene s;
    scene_start(&s, "bar2", ARGS("--idle"));
    scene_connect(&s, true);
    struct vfu_region_info info = {.argsz = sizeof info, .index = 2};
    uint8_t reply[256];
    size_t n = sizeof reply;
    assert_int_equal(client_command(&s.client, VFU_DEVICE_GET_REGION_INFO, &info, sizeof info, -1, reply, &n),
                     0);
    memcpy(&info, reply, sizeof info);
    assert_int_equal(n, sizeof info);
    assert_int_equal(s.client.reply_fd, -1);
    assert_true(info.argsz > sizeof info);
    assert_int_equal(info.flags & VFU_REGION_FLAG_CAPS, 0);
    n = sizeof reply;
    assert_int_equal(client_command(&s.client, VFU_DEVICE_GET_REGION_INFO, &info, sizeof info, -1, reply, &n),
                     0);
    memcpy(&info, reply, sizeof info);
    assert_int_equal(info.flags, 0xf);
    assert_true(s.client.reply_fd >= 0);
    uint8_t *bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s.client.reply_fd, 0);
    assert_true(bar != MAP_FAILED);
    memcpy(bar + 16, "mapped!", 8);
    struct vfu_region_rw rw = {.offset = 16, .region = 2, .count = 8};
    n = sizeof reply;
    assert_int_equal(client_command(&s.client, VFU_REGION_READ, &rw, sizeof rw, -1, reply, &n), 0);
    assert_memory_equal(reply + sizeof rw, "mapped!", 8);
    munmap(bar, 4096);
    scene_end(&s);
}

static void test_doorbell_interrupts(void **unused)
{
    struct scene s;
    scene_start(&s, "irq", ARGS("--idle"));
    scene_connect(&s, true);
    int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct vfu_irq_set set = {.argsz = sizeof set, .flags = 4 | 0x20, .index = 2, .count = 1};
    assert_int_equal(client_command(&s.client, VFU_DEVICE_SET_IRQS, &set, sizeof set, efd, NULL, NULL), 0);
    scene_write(&s, 3);
    uint64_t count = 0;
    client_idle(&s.client, 20);
    assert_int_equal(read(efd, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
    set.index = 1; /* has no vectors */
    assert_int_equal(client_command(&s.client, VFU_DEVICE_SET_IRQS, &set, sizeof set, efd, NULL, NULL),
                     -EINVAL);
    close(efd);
    scene_end(&s);
}

/* Exactly the pages that changed are in the report, and only once. */
static void test_log_matches_memory(void **unused)
{
    struct scene s;
    uint64_t bitmap[SCENE_BITMAP_WORDS];
    _cleanup_free_ uint8_t *before = malloc(SCENE_BYTES);
    scene_start(&s, "log", ARGS("--idle", "--pattern", "uniform"));
    scene_connect(&s, true);
    assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), -EINVAL);
    assert_int_equal(client_log_stop(&s.client), 0);
    scene_write(&s, 30);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    assert_int_equal(client_log_start(&s.client, 65536, NULL, NULL), -EINVAL);
    for (int round = 0; round < 5; round++) {
        memcpy(before, s.memory, SCENE_BYTES);
        scene_write(&s, 40);
        assert_int_equal(client_set_state(&s.client, STOP), 0);
        assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), 0);
        for (unsigned page = 0; page < SCENE_PAGES; page++) {
            bool changed = memcmp(before + page * 4096, s.memory + page * 4096, 4096) != 0;
            assert_int_equal(bitmap[page / 64] >> (page % 64) & 1, changed);
        }
        assert_in_range(bits_set(bitmap, SCENE_BITMAP_WORDS), 20, 40);
        assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), 0);
        assert_int_equal(bits_set(bitmap, SCENE_BITMAP_WORDS), 0);
        assert_int_equal(client_set_state(&s.client, RUNNING), 0);
    }
    scene_end(&s);
}

/* A report of a part clears this part only; bits come in the page size that was asked for. */
static void test_log_parts_and_page_sizes(void **unused)
{
    struct scene s;
    uint64_t bitmap[SCENE_BITMAP_WORDS];
    scene_start(&s, "parts", ARGS("--idle"));
    scene_connect(&s, true);
    struct vfu_log_range range = {SCENE_IOVA + 64 * 4096, 128 * 4096};
    assert_int_equal(client_log_start(&s.client, 4096, &range, NULL), 0);
    scene_write(&s, SCENE_PAGES); /* ring: each page once */
    assert_int_equal(client_report(&s.client, SCENE_IOVA + 60 * 4096, 10 * 4096, 4096, bitmap), 0);
    assert_int_equal(bitmap[0], 0x3f0);
    assert_int_equal(client_report(&s.client, SCENE_IOVA + 64 * 4096, 64 * 4096, 65536, bitmap), 0);
    assert_int_equal(bitmap[0], 0xf);
    assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), 0);
    assert_int_equal(bits_set(bitmap, SCENE_BITMAP_WORDS), 64);
    assert_true(bitmap[2] == UINT64_MAX);
    assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 3000, bitmap), -EINVAL);
    assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES + 4096, 4096, bitmap), -ENOENT);
    scene_end(&s);

    scene_start(&s, "insists", ARGS("--idle", "--log-page-size", "64K"));
    scene_connect(&s, true);
    uint64_t page_size;
    assert_int_equal(client_log_start(&s.client, 4096, NULL, &page_size), 0);
    assert_int_equal(page_size, 65536);
    scene_write(&s, 17);
    assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), -EINVAL);
    assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 65536, bitmap), 0);
    assert_int_equal(bitmap[0], 3);
    scene_end(&s);
}

static void test_unmap_takes_the_last_bits(void **unused)
{
    struct scene s;
    uint64_t bitmap[SCENE_BITMAP_WORDS];
    scene_start(&s, "unmap", ARGS("--idle"));
    scene_connect(&s, true);
    assert_int_equal(client_map(&s.client, SCENE_IOVA, SCENE_BYTES, s.memfd, 0, s.memory), -EEXIST);
    assert_int_equal(client_map(&s.client, SCENE_IOVA + 4096, 4096, s.memfd, 0, s.memory), -EINVAL);
    assert_int_equal(client_map(&s.client, 0, SCENE_BYTES + 4096, s.memfd, 0, s.memory), -EINVAL);
    assert_int_equal(client_unmap_bitmap(&s.client, SCENE_IOVA, SCENE_BYTES, bitmap, sizeof bitmap), -EINVAL);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    scene_write(&s, 7);
    assert_int_equal(client_unmap_bitmap(&s.client, SCENE_IOVA, SCENE_BYTES, bitmap, sizeof bitmap + 8),
                     -EINVAL);
    assert_int_equal(client_unmap(&s.client, SCENE_IOVA, 4096), -ENOENT);
    assert_int_equal(client_unmap_bitmap(&s.client, SCENE_IOVA, SCENE_BYTES, bitmap, sizeof bitmap), 0);
    assert_int_equal(bitmap[0], 0x7f);
    assert_int_equal(client_unmap(&s.client, SCENE_IOVA, SCENE_BYTES), -ENOENT);

    /* Mapped elsewhere it goes on, and logs what came later too. */
    assert_int_equal(client_map(&s.client, 0x5000, 4 * 4096, s.memfd, 8192, s.memory + 8192), 0);
    scene_write(&s, 2);
    assert_int_equal(client_report(&s.client, 0x5000, 4 * 4096, 4096, bitmap), 0);
    assert_int_equal(bits_set(bitmap, 1), 2);
    struct vfu_dma_unmap all = {.argsz = sizeof all, .flags = VFU_DMA_UNMAP_ALL};
    assert_int_equal(client_command(&s.client, VFU_DMA_UNMAP, &all, sizeof all, -1, NULL, NULL), 0);
    assert_int_equal(client_report(&s.client, 0x5000, 4 * 4096, 4096, bitmap), -ENOENT);
    scene_end(&s);
}

static void test_states(void **unused)
{
    struct scene s;
    uint32_t state;
    scene_start(&s, "states", ARGS("--rate", "0"));
    scene_connect(&s, true);
    /* Every pair that the kernel's table allows, and the engine is silent where it must be. */
    for (uint32_t from = STOP; from <= PRE_COPY_P2P; from++) {
        for (uint32_t to = STOP; to <= PRE_COPY_P2P; to++) {
            assert_int_equal(client_set_state(&s.client, RUNNING), 0);
            if (from == RESUMING)
                continue; /* cannot be left without a state */
            assert_int_equal(client_set_state(&s.client, from), 0);
            bool forbidden = from == STOP_COPY && (to == PRE_COPY || to == PRE_COPY_P2P);
            assert_int_equal(client_set_state(&s.client, to), forbidden ? -EINVAL : 0);
            assert_int_equal(client_get_state(&s.client, &state), 0);
            assert_int_equal(state, forbidden ? from : to);
            bool writes = state == RUNNING || state == PRE_COPY;
            /* At full speed every page is written many times in this time; a busy machine gets more of it. */
            uint64_t before[8];
            memcpy(before, s.memory + RECORD_OFFSET, sizeof before);
            bool changed = false;
            for (int wait = 0; wait < (writes ? 2000 : 3) && !changed; wait++) {
                client_idle(&s.client, 1);
                changed = memcmp(before, s.memory + RECORD_OFFSET, sizeof before) != 0;
            }
            assert_int_equal(changed, writes);
            if (state == RESUMING)
                assert_int_equal(client_command(&s.client, VFU_DEVICE_RESET, NULL, 0, -1, NULL, NULL), 0);
        }
    }
    assert_int_equal(client_set_state(&s.client, 99), -EINVAL);
    assert_int_equal(client_set_state(&s.client, ERROR), -EINVAL);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), 0);
    assert_int_equal(client_unmap(&s.client, SCENE_IOVA, SCENE_BYTES), -EINVAL);
    scene_end(&s);

    scene_start(&s, "simple", ARGS("--no-p2p", "--no-precopy"));
    scene_connect(&s, true);
    assert_int_equal(client_set_state(&s.client, RUNNING_P2P), -EINVAL);
    assert_int_equal(client_set_state(&s.client, PRE_COPY), -EINVAL);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), 0);
    scene_end(&s);
}

static void migrate(const char *pattern, const char *rate, bool by_message, bool twin)
{
    struct scene a, b;
    _cleanup_free_ uint8_t *state = NULL;
    size_t state_bytes = 0;
    const char *const message = by_message ? "--by-message" : "--seed=9";
    scene_start(&a, "a", ARGS("--pattern", pattern, "--rate", rate, "--state-size", "300K", message));
    scene_start(&b, "b", ARGS("--incoming", message));
    scene_connect(&a, twin);
    scene_connect(&b, twin);
    client_idle(&a.client, 100);
    assert_true(scene_sequence(&a) > 0);
    assert_int_equal(scene_sequence(&b), 0);
    if (by_message) {
        /* Nothing is in the log: the client knows what it wrote itself. Stop, then copy. */
        assert_true(a.client.dma_writes > 0);
        assert_int_equal(client_set_state(&a.client, STOP_COPY), 0);
        memcpy(b.memory, a.memory, SCENE_BYTES);
        assert_int_equal(client_save(&a.client, &state, &state_bytes), 0);
    } else {
        scene_copy(&a, &b, 4, &state, &state_bytes);
    }
    assert_true(state_bytes > 300 * 1024);
    assert_int_equal(scene_check(&b, &a, NULL, NULL), 0);

    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_load(&b.client, state, state_bytes), 0);
    assert_int_equal(client_set_state(&b.client, RUNNING), 0);
    client_idle(&b.client, 100);
    assert_int_equal(client_set_state(&b.client, STOP), 0);
    assert_int_equal(scene_check(&b, &a, &b, NULL), 0);
    uint32_t errors;
    assert_int_equal(client_read_register(&b.client, REG_ERRORS, &errors), 0);
    assert_int_equal(errors, 0);

    /* The checker is no yes-man: an old page, a flipped bit, a chain in the wrong order. */
    uint8_t *page = NULL, kept[4096];
    for (unsigned i = 0; i < SCENE_PAGES && !page; i++) {
        if (memcmp(b.memory + i * 4096, a.memory + i * 4096, 4096) != 0)
            page = b.memory + i * 4096;
    }
    assert_non_null(page);
    memcpy(kept, page, 4096);
    memcpy(page, a.memory + (page - b.memory), 4096);
    assert_int_equal(scene_check(&b, &a, &b, NULL), 1);
    memcpy(page, kept, 4096);
    page[5 * 64 + 40] ^= 1;
    assert_int_equal(scene_check(&b, &a, &b, NULL), 1);
    memcpy(page, kept, 4096);
    assert_int_equal(scene_check(&b, &a, &b, "--json"), 0);
    assert_int_equal(scene_check(&b, &b, &a, NULL), 1);
    assert_int_equal(scene_check(&b, &a, &b, "--nonsense"), 2);
    scene_end(&a);
    scene_end(&b);
}

static void test_migrate_ring(void **unused)
{
    migrate("ring", "3000", false, true);
}
static void test_migrate_uniform(void **unused)
{
    migrate("uniform", "0", false, true);
}
static void test_migrate_zipf(void **unused)
{
    migrate("zipf", "20000", false, false);
}
static void test_migrate_burst(void **unused)
{
    migrate("burst", "2000", false, true);
}
static void test_migrate_oscillate(void **unused)
{
    migrate("oscillate", "5000", false, true);
}
static void test_migrate_by_message(void **unused)
{
    migrate("uniform", "2000", true, true);
}
static void test_migrate_by_message_without_twin(void **unused)
{
    migrate("ring", "0", true, false);
}

/* A state that is not whole is refused, the device is in ERROR, and a reset leads out. */
static void test_bad_state_is_refused(void **unused)
{
    struct scene a, b;
    _cleanup_free_ uint8_t *state = NULL;
    size_t bytes = 0;
    uint32_t now;
    scene_start(&a, "a", ARGS("--rate", "1000"));
    scene_start(&b, "b", ARGS("--incoming"));
    scene_connect(&a, true);
    scene_connect(&b, true);
    client_idle(&a.client, 30);
    assert_int_equal(client_set_state(&a.client, STOP_COPY), 0);
    assert_int_equal(client_save(&a.client, &state, &bytes), 0);
    for (int way = 0; way < 4; way++) {
        assert_int_equal(client_set_state(&b.client, RESUMING), 0);
        size_t n = way == 0 ? bytes - 1 : way == 1 ? 0 : bytes;
        state[bytes / 2] ^= way == 2;
        assert_int_equal(client_load(&b.client, state, n), 0);
        if (way == 3)
            assert_int_equal(client_load(&b.client, state, 100), 0);
        assert_int_equal(client_set_state(&b.client, STOP), -EINVAL);
        state[bytes / 2] ^= way == 2;
        assert_int_equal(client_get_state(&b.client, &now), 0);
        assert_int_equal(now, ERROR);
        assert_int_equal(client_set_state(&b.client, RUNNING), -EINVAL);
        assert_int_equal(client_command(&b.client, VFU_DEVICE_RESET, NULL, 0, -1, NULL, NULL), 0);
        assert_int_equal(client_get_state(&b.client, &now), 0);
        assert_int_equal(now, RUNNING);
        client_idle(&b.client, 10);
        assert_int_equal(scene_sequence(&b), 0);
    }
    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_load(&b.client, state, bytes), 0);
    assert_int_equal(client_set_state(&b.client, RUNNING), 0);

    /* What it took over is given up for the next one, of which nothing comes: a reset does not bring it back.
     */
    assert_int_equal(client_set_state(&b.client, STOP), 0);
    uint64_t last = scene_sequence(&b);
    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_command(&b.client, VFU_DEVICE_RESET, NULL, 0, -1, NULL, NULL), 0);
    client_idle(&b.client, 30);
    assert_int_equal(scene_sequence(&b), last);
    scene_end(&a);
    scene_end(&b);

    scene_start(&b, "other", ARGS("--incoming", "--id", "6"));
    scene_connect(&b, true);
    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_load(&b.client, state, bytes), 0);
    assert_int_equal(client_set_state(&b.client, STOP), -EINVAL);
    scene_end(&b);
}

/* A client that dies leaves the device in its state; memory is let go of, and written again when it is mapped
 * again. */
static void test_next_client(void **unused)
{
    struct scene s;
    uint32_t now;
    scene_start(&s, "next", ARGS("--rate", "0"));
    scene_connect(&s, true);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), 0);
    client_close(&s.client);
    assert_int_equal(client_connect(&s.client, s.device.socket_path, true), 0);
    assert_int_equal(client_get_state(&s.client, &now), 0);
    assert_int_equal(now, STOP_COPY);
    assert_int_equal(client_set_state(&s.client, RUNNING), 0);
    uint64_t before = scene_sequence(&s);
    client_idle(&s.client, 10);
    assert_int_equal(scene_sequence(&s), before);
    assert_int_equal(client_map(&s.client, SCENE_IOVA, SCENE_BYTES, s.memfd, 0, s.memory), 0);
    for (int wait = 0; wait < 2000 && scene_sequence(&s) == before; wait++)
        client_idle(&s.client, 1);
    assert_true(scene_sequence(&s) > before);
    client_close(&s.client);
    assert_int_equal(process_stop(&s.device, SIGTERM), 0);
    scene_end(&s);
}

/* The journal is right whenever the process dies. */
static void test_killed(void **unused)
{
    struct scene s;
    scene_start(&s, "killed", ARGS("--rate", "0", "--pattern", "uniform"));
    scene_connect(&s, true);
    client_idle(&s.client, 30);
    process_stop(&s.device, SIGKILL);
    assert_int_equal(scene_check(&s, &s, NULL, "--killed"), 0);
    scene_end(&s);
}

/* Two devices share every page; one memory is mapped at two addresses. */
static void test_shared_and_aliased_memory(void **unused)
{
    struct scene a, b;
    char program[4096], low[128], high[128];
    const char *top = getenv("TOP_BUILDDIR");
    scene_start(&a, "a", ARGS("--pattern", "uniform", "--rate", "0"));
    scene_start(&b, "b", ARGS("--pattern", "zipf", "--rate", "0", "--id", "6"));
    scene_connect(&a, true);
    assert_int_equal(client_connect(&b.client, b.device.socket_path, true), 0);
    assert_int_equal(client_map(&b.client, SCENE_IOVA, SCENE_BYTES, a.memfd, 0, a.memory), 0);
    assert_int_equal(client_map(&b.client, 0x10000, SCENE_BYTES, a.memfd, 0, a.memory), 0);
    client_idle(&a.client, 50);
    assert_int_equal(client_set_state(&a.client, STOP), 0);
    assert_int_equal(client_set_state(&b.client, STOP), 0);
    snprintf(program, sizeof program, "%s/simdev-check", top ? top : ".");
    snprintf(high, sizeof high, "/proc/%d/fd/%d:0x%llx:%llu", (int)getpid(), a.memfd, SCENE_IOVA,
             SCENE_BYTES);
    snprintf(low, sizeof low, "/proc/%d/fd/%d@0x0:0x10000:%llu", (int)getpid(), a.memfd, SCENE_BYTES);
    const char *whole[] = {program,    "--journal", a.journal,  "--journal", b.journal,
                           "--memory", high,        "--memory", low,         NULL};
    assert_int_equal(run_program(whole), 0);
    /* Without the other address, pages that were written there last seem to hold a stranger's record. */
    const char *half[] = {program, "--journal", b.journal, "--memory", high, NULL};
    assert_int_equal(run_program(half), 1);
    scene_end(&a);
    scene_end(&b);
}

/* A guest with a vIOMMU: the same addresses lead to other memory after an unmap. */
static void test_remapped_addresses(void **unused)
{
    struct scene s;
    uint64_t half = SCENE_BYTES / 2;
    char program[4096], memory[2][128];
    const char *top = getenv("TOP_BUILDDIR");
    scene_start(&s, "remap", ARGS("--idle"));
    assert_int_equal(client_connect(&s.client, s.device.socket_path, true), 0);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t offset = i % 2 * half;
        assert_int_equal(client_map(&s.client, SCENE_IOVA, half, s.memfd, offset, s.memory + offset), 0);
        scene_write(&s, 300 - 50 * i);
        assert_int_equal(client_unmap(&s.client, SCENE_IOVA, half), 0);
        snprintf(memory[i % 2], sizeof memory[0], "/proc/%d/fd/%d@%llu:0x%llx:%llu", (int)getpid(), s.memfd,
                 (unsigned long long)offset, SCENE_IOVA, (unsigned long long)half);
    }
    snprintf(program, sizeof program, "%s/simdev-check", top ? top : ".");
    const char *argv[] = {program,    "--journal", s.journal,     "--memory", memory[0],
                          "--memory", memory[1],   "--by-offset", NULL};
    assert_int_equal(run_program(argv), 0);
    argv[7] = NULL;
    assert_int_equal(run_program(argv), 1);
    scene_end(&s);
}

/* zipf and oscillate keep to few pages for a while, uniform does not. */
static void test_patterns_differ(void **unused)
{
    static const struct {
        const char *name;
        unsigned min, max;
    } patterns[] = {{"ring", 400, 400}, {"uniform", 230, 330}, {"zipf", 60, 220}, {"oscillate", 1, 120}};
    for (unsigned i = 0; i < ELEMENTS(patterns); i++) {
        struct scene s;
        uint64_t bitmap[SCENE_BITMAP_WORDS];
        scene_start(&s, patterns[i].name, ARGS("--idle", "--pattern", patterns[i].name));
        scene_connect(&s, true);
        assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
        scene_write(&s, 400);
        assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), 0);
        assert_in_range(bits_set(bitmap, SCENE_BITMAP_WORDS), patterns[i].min, patterns[i].max);
        scene_end(&s);
    }
}

static void test_rate_and_range(void **unused)
{
    struct scene s;
    scene_start(&s, "rate", ARGS("--rate", "4000", "--range", "0x100010000:64K", "--pattern", "uniform"));
    scene_connect(&s, true);
    client_idle(&s.client, 500);
    uint64_t n = scene_sequence(&s);
    assert_in_range(n, 200, 2200);
    assert_int_equal(client_set_state(&s.client, STOP), 0);
    for (uint64_t i = 0; i < SCENE_BYTES; i += 4096) {
        bool inside = i >= 0x10000 && i < 0x20000, written = false;
        for (unsigned k = 0; k < 64; k++)
            written = written || s.memory[i + RECORD_OFFSET + k];
        assert_int_equal(written, inside);
    }
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_bar2_can_be_mapped),
        cmocka_unit_test(test_doorbell_interrupts),
        cmocka_unit_test(test_log_matches_memory),
        cmocka_unit_test(test_log_parts_and_page_sizes),
        cmocka_unit_test(test_unmap_takes_the_last_bits),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_migrate_ring),
        cmocka_unit_test(test_migrate_uniform),
        cmocka_unit_test(test_migrate_zipf),
        cmocka_unit_test(test_migrate_burst),
        cmocka_unit_test(test_migrate_oscillate),
        cmocka_unit_test(test_migrate_by_message),
        cmocka_unit_test(test_migrate_by_message_without_twin),
        cmocka_unit_test(test_bad_state_is_refused),
        cmocka_unit_test(test_next_client),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_shared_and_aliased_memory),
        cmocka_unit_test(test_remapped_addresses),
        cmocka_unit_test(test_patterns_differ),
        cmocka_unit_test(test_rate_and_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
