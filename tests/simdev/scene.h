/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every test of the device needs: a device process, a client, memory in a memfd, and a small precopy
 * loop. */
#pragma once
#include "client.h"

#define SCENE_PAGES        512u
#define SCENE_BYTES        (SCENE_PAGES * 4096ull)
#define SCENE_IOVA         0x100000000ull
#define SCENE_BITMAP_WORDS (SCENE_PAGES / 64)

struct scene {
    struct process device;
    struct client client;
    int memfd;
    uint8_t *memory;
    char journal[128];
};

/* Registers of BAR0. */
enum {
    REG_ID = 4,
    REG_CONTROL = 8,
    REG_RATE = 12,
    REG_PATTERN = 16,
    REG_DOORBELL = 20,
    REG_SEQUENCE = 24,
    REG_ERRORS = 40
};

/* Starts a device (--id 5, a journal, and args, NULL-terminated), makes memory; fails the test on trouble. */
void scene_start(struct scene *s, const char *name, const char *const *args);
/* Connects and maps all memory. */
void scene_connect(struct scene *s, bool twin);
void scene_end(struct scene *s);
uint64_t scene_sequence(struct scene *s);
/* Rings the doorbell for n pages and waits until they are written. */
void scene_write(struct scene *s, uint32_t n);
/* Copies memory to the other scene by rounds of the dirty log, until the device is in STOP_COPY and all is
 * there. Returns how many pages the final report named. */
unsigned scene_copy(struct scene *from, struct scene *to, unsigned rounds, uint8_t **state,
                    size_t *state_bytes);
/* Exit code of simdev-check over the memory of `judged` and the journals of both (b may be NULL). */
int scene_check(const struct scene *judged, const struct scene *a, const struct scene *b, const char *option);
unsigned bits_set(const uint64_t *bitmap, unsigned words);
