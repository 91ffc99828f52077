/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the holder process share. One thread. */
#pragma once
#include "base/util.h"
#include <systemd/sd-bus.h>

#define HOLDER_IOVA UINT64_C(0x100000)
/* A page that is not migrated, from which edu fetches what it will write. */
#define HOLDER_SCRATCH UINT64_C(0x8000000)
enum { HOLDER_PAGES = 2048 };

struct holder {
    const char *domain, *kind;
    bool incoming, rogue, silent, unregistered, other, again;
    int memory_fd;
    uint8_t *memory;
    uint64_t *scratch;
    int container, iommufd, edu, mtty, mtty_container;
    uint32_t ioas;
    char *path; /* of the domain */
    sd_bus *bus;
    bool running, loaded;
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
/* holder-open.c: has migd open the devices, and maps; the domain has its memory. */
void holder_open_by_migd(void);
