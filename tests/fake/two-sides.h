/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Both engines in one process, over a real UNIX socket: a source and a destination domain whose devices and
 * VMM controllers stand behind their ops tables. The fakes count their calls and fail at the n-th, or
 * misbehave as real devices do.
 */
#pragma once
#include "domain/registry.h"
#include "incoming/incoming.h"
#include "loop/loop.h"
#include "outgoing/outgoing.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#define MEMORY_BYTES (UINT64_C(4) << 20)
#ifndef STATE_BYTES
#define STATE_BYTES 600000u /* more than a socket holds */
#endif

/* The n-th call of any fake fails; 0: none. */
extern atomic_int fault_countdown;
extern atomic_int fault_fired;
extern char fault_where[128];
extern atomic_int fault_delay_msec; /* before it fails */
extern const char *fault_only;      /* count only calls whose name holds this; NULL: all */

/* A device that writes a few pages at each report while it runs, and whose state is a pattern. */
struct fake_device {
    struct device base;
    struct device_info info;
    enum device_state state;
    bool logging;
    uint32_t next_page;
    uint32_t saved, loaded;
    /* PRE_COPY: where its data ends for now, how much a drain gets of it (0: all), how often more of it
     * appears, and whether it says that there is some left for ever. */
    uint32_t precopy_end, precopy_pace, precopy_given;
    unsigned renewals;
    bool never_done;
    bool left_precopy_early; /* what it has to say did not get out in PRE_COPY */
    /* What it does wrong. */
    unsigned rogue_pages;   /* written at each report although it is stopped, and reported */
    unsigned rogue_reports; /* so many reports long; 0: for ever */
    unsigned rogue_after;   /* quiet for so many reports in STOP_COPY first */
    unsigned rogue_done;
    bool loses_bits;          /* writes one more page at each report than it reports */
    bool dirties_all;         /* every page, at every report */
    int gone_fd;              /* readable: it is dead; 0: there is no such thing */
    uint64_t stop_copy_bytes; /* what it expects to hand out, if its info says that it can be asked */
    bool gullible;            /* takes any state over, as the kernel's sample driver does */
    bool taken;               /* it was told to take a state over */
};

struct fake_controller {
    struct controller base;
    bool runs;
    bool loaded;
    unsigned load_msec; /* so long it takes */
    struct region
        *load_writes; /* loading writes its last page, as QEMU's under KVM does; NULL: it does not */
};

struct side {
    struct domain *domain;
    struct fake_device *device[2];
    struct fake_controller *controller;
    struct region *region;
    struct registry *registry;
    struct migration *migration;
    bool ended;
    bool seen; /* for the test */
    struct scene *scene;
};

struct scene {
    struct loop *loop;
    struct loop_timer *patience;
    struct side source, destination;
    struct incoming *incoming;
    char dir[64], address[100];
    char source_peer[120]; /* where the source goes instead of address; "": there */
    char source_dir[100], destination_dir[100], source_address[120];
    struct outgoing_context context;
    struct ratelimit *total; /* set before it runs: the cap over what the source sends; NULL: none */
    bool late;
    bool refuse_overrides;         /* at the destination; set before it runs */
    struct patience_limits limits; /* the same; 0: none */
    bool tcp;                      /* set before it runs: over TCP, the source listening on every address */
};

/* ndevices: 0 to 2 on each side, with migration flags STOP_COPY, P2P and PRE_COPY. */
void make_scene(struct scene *s, size_t ndevices);
/* Until both sides have ended; s->late when that took too long. Answers outgoing_start's result when it
 * refused. */
int run_scene(struct scene *s, const struct migration_options *o, struct mig_error *err);
/* The same towards whatever listens at s->address. */
void run_source(struct scene *s, const struct migration_options *o);
/* Only the destination's listener. */
void scene_listen(struct scene *s);
/* Two daemons after a restart: each takes up the record that it finds; RECORD_STATE_MAX: none. Until what was
 * taken up has ended. */
#define SCENE_ID "0123456789abcdef0123456789abcdef"
void recover_scene(struct scene *s, enum record_state out, enum record_state in);
/* The state of a side's record now, or -errno. */
int scene_record(const struct scene *s, bool incoming);
void end_scene(struct scene *s);
/* Anything of it runs; all of it runs. */
bool side_runs(const struct side *side, size_t ndevices);
bool side_runs_whole(const struct side *side, size_t ndevices);

/* For leaks: "/proc/self/fd". */
size_t count_entries(const char *dir);
/* Of this process. A thread that was joined is among them for a moment. */
size_t count_threads_at_rest(void);
