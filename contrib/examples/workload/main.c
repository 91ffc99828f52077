/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * migd-example-vmm: how a VMM or a userspace driver joins in with migd. Read register.c for the registration,
 * vmm.c for the four methods that it must answer, tracking.h for the two ways to say which pages its CPUs
 * wrote. ../kvm-vmm is a VMM with a real vCPU and kernel devices.
 *
 * The main thread runs the event loop and the bus; cpus.c has the threads that write memory.
 */
#include "../common/bus.h"
#include "../common/say.h"
#include "check.h"
#include "register.h"
#include "vmm.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

struct program {
    struct options options;
    sd_event *event;
    sd_bus *bus;
    struct guest_memory memory;
    struct cpu_log log;
    int uffd;
    struct cpu_journal journal;
    struct cpus cpus;
    struct vmm_interface vmm;
};

static int open_bus(struct program *p)
{
    int r = bus_open(&p->bus);
    if (r < 0)
        return r;
    r = sd_bus_attach_event(p->bus, p->event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0 && p->options.bus_name) {
        r = sd_bus_request_name(p->bus, p->options.bus_name, 0);
        if (r < 0)
            fprintf(stderr, "Cannot own the name %s: %s\n", p->options.bus_name, strerror(-r));
    }
    return r < 0 ? r : 0;
}

static int get_memory(struct program *p, const char *domain_path)
{
    const struct options *o = &p->options;
    if (o->open_domain)
        return open_memory(p->bus, o->open_domain, o->open_memory, &p->memory);
    if (o->make)
        return register_make_memory(p->bus, domain_path, o, &p->memory);
    return guest_memory_create(&p->memory, o->memory_path, o->size, o->huge_bytes);
}

/* What stands in the last quarter of each page stays there, whoever migrates: the check compares it. */
static void note_fill(struct program *p)
{
    if (!p->journal.header)
        return;
    for (uint64_t page = 0; page < p->journal.header->pages; page++)
        p->journal.tails[page] = tail_digest(p->memory.base + page * GUEST_PAGE_BYTES);
    p->journal.header->filled = 1;
}

static void print_json(const struct program *p)
{
    const char *unique = NULL;
    sd_bus_get_unique_name(p->bus, &unique);
    printf("{\"pid\":%d,\"memory\":\"%s\",\"offset\":%" PRIu64 ",\"size\":%" PRIu64
           ",\"address\":\"0x%" PRIxPTR "\"",
           (int)getpid(), p->memory.path, p->memory.offset, p->memory.size, (uintptr_t)p->memory.base);
    if (p->log.words)
        printf(",\"cpu-log\":\"%s\"", p->log.path);
    if (p->uffd >= 0)
        printf(",\"uffd\":%d", p->uffd);
    printf(",\"bus-name\":\"%s\",\"path\":\"%s\"}\n", p->options.bus_name ? p->options.bus_name : unique,
           VMM_PATH);
}

static int start(struct program *p)
{
    struct options *o = &p->options;
    char *domain_path = NULL;
    int r;

    if ((r = open_bus(p)) < 0)
        return r;
    if (o->register_name && (r = register_domain(p->bus, o, &domain_path)) < 0)
        return r;
    if ((r = get_memory(p, domain_path)) < 0)
        goto out;
    uint64_t pages = p->memory.size / GUEST_PAGE_BYTES;
    if (o->journal && (r = cpu_journal_create(&p->journal, o->journal, pages, o->threads)) < 0)
        goto out;
    if (o->fill_dir) {
        if ((r = guest_memory_fill(&p->memory, o->fill_dir)) < 0)
            goto out;
        note_fill(p);
    }
    if (o->track == TRACK_CPU_LOG && (r = cpu_log_create(&p->log, o->log_path, pages)) < 0)
        goto out;
    if (o->track == TRACK_UFFD && (r = p->uffd = uffd_create()) < 0)
        goto out;

    p->cpus = (struct cpus){
        .memory = &p->memory,
        .log = &p->log,
        .journal = &p->journal,
        .rate = o->rate,
        .count = o->threads,
        .span_pages =
            o->span && o->span < p->memory.size ? (o->span + GUEST_PAGE_BYTES - 1) / GUEST_PAGE_BYTES : pages,
    };
    cpus_init(&p->cpus, o->seed);
    if ((r = vmm_export(&p->vmm, &p->cpus, o->incoming, p->bus)) < 0)
        goto out;
    if (domain_path && (r = register_rest(p->bus, domain_path, o, &p->memory, &p->log, p->uffd)) < 0)
        goto out;
    print_json(p);
    if (!o->incoming && (r = cpus_resume(&p->cpus)) < 0)
        goto out;
    say("ready", "%s", o->incoming ? "incoming" : "running");
out:
    free(domain_path);
    return r;
}

int main(int argc, char **argv)
{
    struct program p = {.uffd = -1, .memory.fd = -1};
    sigset_t mask;
    int r = options_parse(&p.options, argc, argv);
    if (r)
        return r > 0 ? EXIT_SUCCESS : 2;
    if (p.options.check) {
        r = check_run(&p.options);
        return r < 0 ? 2 : r;
    }
    /* Before any thread: they inherit the mask, and signals come through the loop. */
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    r = sd_event_new(&p.event);
    if (r >= 0)
        r = sd_event_add_signal(p.event, NULL, SIGTERM, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(p.event, NULL, SIGINT, NULL, NULL);
    if (r >= 0)
        r = start(&p);
    if (r >= 0)
        r = sd_event_loop(p.event);
    if (r < 0)
        fprintf(stderr, "migd-example-vmm: %s\n", strerror(-r));

    cpus_quit(&p.cpus);
    if (p.uffd >= 0)
        close(p.uffd);
    cpu_log_close(&p.log);
    cpu_journal_close(&p.journal);
    guest_memory_close(&p.memory);
    sd_bus_flush_close_unref(p.bus);
    sd_event_unref(p.event);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
