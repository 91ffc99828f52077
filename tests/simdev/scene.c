/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scene.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define STATE_RUNNING   2u
#define STATE_STOP_COPY 3u
#define STATE_PRE_COPY  6u

void scene_start(struct scene *s, const char *name, const char *const *args)
{
    *s = (struct scene){.client = {.fd = -1, .twin_fd = -1, .reply_fd = -1}};
    snprintf(s->journal, sizeof s->journal, "/tmp/simdev-test-%d-%s.journal", (int)getpid(), name);
    const char *all[40] = {"--id", "5", "--journal", s->journal};
    for (unsigned i = 0; args[i]; i++)
        all[4 + i] = args[i];
    assert_int_equal(process_start(&s->device, name, all), 0);
    s->memfd = memfd_create("scene", MFD_CLOEXEC);
    assert_true(s->memfd >= 0 && ftruncate(s->memfd, SCENE_BYTES) == 0);
    s->memory = mmap(NULL, SCENE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0);
    assert_true(s->memory != MAP_FAILED);
}

void scene_connect(struct scene *s, bool twin)
{
    assert_int_equal(client_connect(&s->client, s->device.socket_path, twin), 0);
    assert_int_equal(s->client.twin_fd >= 0, twin);
    assert_int_equal(client_map(&s->client, SCENE_IOVA, SCENE_BYTES, s->memfd, 0, s->memory), 0);
}

void scene_end(struct scene *s)
{
    client_close(&s->client);
    process_stop(&s->device, SIGTERM);
    munmap(s->memory, SCENE_BYTES);
    close_fd(&s->memfd);
    unlink(s->journal);
}

uint64_t scene_sequence(struct scene *s)
{
    uint32_t low, high;
    assert_int_equal(client_read_register(&s->client, REG_SEQUENCE, &low), 0);
    assert_int_equal(client_read_register(&s->client, REG_SEQUENCE + 4, &high), 0);
    return (uint64_t)high << 32 | low;
}

void scene_write(struct scene *s, uint32_t n)
{
    uint64_t target = scene_sequence(s) + n;
    assert_int_equal(client_write_register(&s->client, REG_DOORBELL, n), 0);
    for (int i = 0; i < 2000 && scene_sequence(s) < target; i++)
        client_idle(&s->client, 1);
    assert_true(scene_sequence(s) >= target);
}

unsigned bits_set(const uint64_t *bitmap, unsigned words)
{
    unsigned n = 0;
    for (unsigned i = 0; i < words; i++)
        n += (unsigned)__builtin_popcountll(bitmap[i]);
    return n;
}

static unsigned copy_dirty(struct scene *from, struct scene *to)
{
    uint64_t bitmap[SCENE_BITMAP_WORDS];
    assert_int_equal(client_report(&from->client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), 0);
    for (unsigned page = 0; page < SCENE_PAGES; page++) {
        if (bitmap[page / 64] >> (page % 64) & 1)
            memcpy(to->memory + page * 4096, from->memory + page * 4096, 4096);
    }
    return bits_set(bitmap, SCENE_BITMAP_WORDS);
}

unsigned scene_copy(struct scene *from, struct scene *to, unsigned rounds, uint8_t **state,
                    size_t *state_bytes)
{
    assert_int_equal(client_log_start(&from->client, 4096, NULL, NULL), 0);
    memcpy(to->memory, from->memory, SCENE_BYTES);
    assert_int_equal(client_set_state(&from->client, STATE_PRE_COPY), 0);
    for (unsigned i = 0; i < rounds; i++) {
        copy_dirty(from, to);
        assert_int_equal(client_save(&from->client, state, state_bytes), 0);
        client_idle(&from->client, 20);
    }
    assert_int_equal(client_set_state(&from->client, STATE_STOP_COPY), 0);
    unsigned last = copy_dirty(from, to);
    assert_int_equal(client_save(&from->client, state, state_bytes), 0);
    return last;
}

int scene_check(const struct scene *judged, const struct scene *a, const struct scene *b, const char *option)
{
    char program[4096], memory[128];
    const char *top = getenv("TOP_BUILDDIR");
    snprintf(program, sizeof program, "%s/simdev-check", top ? top : ".");
    snprintf(memory, sizeof memory, "/proc/%d/fd/%d@0:0x%llx:%llu", (int)getpid(), judged->memfd, SCENE_IOVA,
             SCENE_BYTES);
    const char *argv[12] = {program, "--memory", memory, "--journal", a->journal};
    unsigned n = 5;
    if (b) {
        argv[n++] = "--journal";
        argv[n++] = b->journal;
    }
    argv[n++] = option;
    return run_program(argv);
}
