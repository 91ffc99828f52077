/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * migd-example-kvm-vmm: a VMM that migd can move. doc/integration.md walks through it.
 *
 *   guest.S, pattern.c      what runs inside, and what its memory must look like
 *   memory.c, vm.c, vcpu.c  the virtual machine; cpu-state.c is a vCPU as bytes
 *   dirty-log.c             what the vCPU wrote, for migd
 *   dma-space.c, device.c   passthrough devices and where they see the memory; drivers.c uses them
 *   register.c              what migd is handed
 *   vmm.c                   what it asks: Pause, SaveState, LoadState, Resume
 *
 * The main thread runs the event loop and the bus, and pulls KVM's dirty log; vcpu.c and drivers.c have a
 * thread each.
 */
#include "../common/bus.h"
#include "../common/say.h"
#include "options.h"
#include "register.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define TICK_USEC   20000u
#define EXIT_NO_KVM 77

struct program {
    struct options options;
    sd_event *event;
    sd_bus *bus;
    struct vmm vmm;
};

static int make_machine(struct vmm *v, const struct options *o)
{
    int r = guest_memory_create(&v->memory, o->memory);
    if (r == 0)
        r = vm_create(&v->vm, o->kvm, &v->memory);
    if (r == 0)
        r = vcpu_create(&v->vcpu, &v->vm, &v->memory);
    if (r == 0)
        r = cpu_log_create(&v->log, NULL, o->memory / 4096);
    if (r == 0)
        r = dirty_log_init(&v->dirty, &v->vm, &v->log, &v->memory);
    v->vcpu.rate = o->rate;
    v->dirty.lose = o->lose_dirty_bits;
    return r;
}

static int open_devices(struct vmm *v, const struct options *o)
{
    int r = o->ndevices ? dma_space_open(&v->space, o->interface) : 0;
    for (unsigned i = 0; i < o->ndevices && r == 0; i++, v->ndevices++)
        r = device_open(&v->devices[i], o->devices[i], &v->space);
    if (r == 0 && o->ndevices)
        r = dma_space_map(&v->space, &v->memory);
    v->drivers.devices = v->devices;
    v->drivers.ndevices = v->ndevices;
    v->drivers.memory = &v->memory;
    v->drivers.log = &v->log;
    drivers_init(&v->drivers);
    return r;
}

/* Passes KVM's log on, and looks whether all is well. */
static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct program *p = userdata;
    struct vmm *v = &p->vmm;
    int r = v->vcpu.failed || v->drivers.failed ? -EIO : v->running ? dirty_log_pull(&v->dirty) : 0;
    if (r < 0)
        return sd_event_exit(p->event, r);
    if ((r = sd_event_source_set_time_relative(source, TICK_USEC)) < 0)
        return r;
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int join_migd(struct program *p)
{
    int r = bus_open(&p->bus);
    if (r >= 0)
        r = sd_bus_attach_event(p->bus, p->event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = vmm_export(&p->vmm, p->options.incoming, p->bus);
    if (r >= 0)
        r = register_domain(p->bus, p->options.name, p->options.incoming, &p->vmm);
    return r;
}

/* The machine is complete before migd hears of it, and stands still until it knows all of it. */
static int start(struct program *p)
{
    struct vmm *v = &p->vmm;
    sd_event_source *timer = NULL;
    const char *why = NULL;
    int r = make_machine(v, &p->options);
    if (r == 0)
        r = open_devices(v, &p->options);
    if (r == 0 && !p->options.incoming) {
        guest_memory_boot(&v->memory);
        r = vcpu_boot(&v->vcpu);
    }
    if (r == 0 && p->options.name)
        r = join_migd(p);
    if (r >= 0 && !p->options.name)
        r = dirty_log_start(&v->dirty); /* nobody will ask for it: to see that it works */
    if (r >= 0 && !p->options.incoming)
        r = vmm_resume(v, &why);
    if (r >= 0)
        r = sd_event_add_time_relative(p->event, &timer, CLOCK_MONOTONIC, TICK_USEC, 1, on_tick, p);
    if (r >= 0)
        r = sd_event_source_set_floating(timer, 1);
    sd_event_source_unref(timer);
    if (r >= 0 && p->options.seconds)
        r = sd_event_add_time_relative(p->event, NULL, CLOCK_MONOTONIC, p->options.seconds * 1000000, 1, NULL,
                                       NULL);
    if (r >= 0)
        say("ready", "%s pid=%d memory=%s log=%s", p->options.incoming ? "incoming" : "running",
            (int)getpid(), v->memory.path, v->vm.manual_clear ? "manual" : "automatic");
    return r;
}

/* Its own proof at the end, whatever became of migrations. */
static int finish(struct vmm *v)
{
    const char *why = NULL;
    if (!v->running)
        return 0;
    int r = vmm_pause(v, &why);
    if (r == 0 && !vmm_check(v))
        r = -EIO;
    say("ended", "records=%" PRIu64 " transfers=%" PRIu64 " kvm-dirty-pages=%" PRIu64, v->vcpu.records,
        v->drivers.count, v->dirty.reported);
    return r;
}

static void close_all(struct program *p)
{
    struct vmm *v = &p->vmm;
    vcpu_close(&v->vcpu);
    drivers_close(&v->drivers);
    for (unsigned i = 0; i < v->ndevices; i++)
        device_close(&v->devices[i]);
    dma_space_close(&v->space);
    dirty_log_close(&v->dirty);
    cpu_log_close(&v->log);
    vm_close(&v->vm);
    guest_memory_close(&v->memory);
    sd_bus_flush_close_unref(p->bus);
    sd_event_unref(p->event);
}

int main(int argc, char **argv)
{
    struct program p = {.vmm = {.vm = {-1, -1}, .vcpu.fd = -1, .space.fd = -1, .memory.fd = -1}};
    sigset_t mask;
    int r = options_parse(&p.options, argc, argv);
    if (r)
        return r > 0 ? EXIT_SUCCESS : 2;
    /* Before any thread: they inherit the mask, and signals come through the loop. */
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    r = sd_event_new(&p.event);
    if (r >= 0)
        r = sd_event_add_signal(p.event, NULL, SIGTERM, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(p.event, NULL, SIGINT, NULL, NULL);
    if (r >= 0)
        r = start(&p);
    if (r >= 0)
        r = sd_event_loop(p.event);
    if (r >= 0)
        r = finish(&p.vmm);
    if (r < 0)
        fprintf(stderr, "migd-example-kvm-vmm: %s\n", strerror(-r));
    bool no_kvm = p.vmm.vm.kvm < 0;
    close_all(&p);
    return r >= 0 ? EXIT_SUCCESS : no_kvm ? EXIT_NO_KVM : EXIT_FAILURE;
}
