/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the holder process share. One thread. */
#pragma once
#include "base/util.h"
#include <systemd/sd-bus.h>

#define HOLDER_IOVA (h.iova)
/* A page that is not migrated, from which edu fetches what it will write. */
#define HOLDER_SCRATCH UINT64_C(0x8000000)
enum { HOLDER_PAGES = 2048 };

struct holder {
    const char *domain, *kind;
    bool incoming, rogue, silent, unregistered, other, again;
    uint64_t iova; /* of its memory */
    int memory_fd;
    uint8_t *memory;
    uint64_t *scratch;
    int container, iommufd, edu, mtty, mtty_container;
    uint32_t ioas;
    char *path; /* of the domain */
    sd_bus *bus;
    bool running, saved, loaded;
    /* A file, so that a holder which takes over from a killed one has it. */
    struct holder_journal {
        uint64_t number;
        uint64_t last[HOLDER_PAGES]; /* 0: never written by edu */
        uint64_t by_mtty[HOLDER_PAGES];
        uint64_t edu_writes, mtty_writes; /* page + 1 while a device writes it */
        char tty[80];                     /* sysfs folder of the mtty */
        uint32_t ids[4];
    } * journal;
};
extern struct holder h;

void holder_call(const char *path, const char *interface, const char *member, sd_bus_message **ret,
                 const char *types, ...);
uint64_t holder_random_page(void);
/* A new number into a page, and what mtty writes: at iova, or where the memory is mapped (0). */
void holder_edu_writes(uint64_t page, uint64_t iova);
void holder_mtty_writes(uint64_t page, uint64_t iova);
/* holder-track.c: whether the kind has that word; opening and registering; before each DMA; while it is
 * paused (true: again soon); after its state was saved; whenever it wakes up. */
bool holder_tracks(const char *word);
void holder_track_open(void);
void holder_track_register(void);
void holder_track_turn(void);
bool holder_track_paused(void);
void holder_track_saved(void);
void holder_track_prove(void);
/* holder-open.c: has migd open the devices, and maps; the domain has its memory. */
void holder_open_by_migd(void);
