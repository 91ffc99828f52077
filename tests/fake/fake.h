/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

struct fake_migration;

struct fake_domain {
    char *name;
    char path[128];
    bool incoming, released;
    const char *state;
    uint32_t n_memory;
    uint64_t memory_bytes;
    sd_bus_slot *slot;
    struct fake_migration *migration;
};

struct fake_migration {
    struct fake *fake;
    struct fake_domain *domain;
    char id[33];
    char path[128];
    char destination[64];
    const char *state, *phase, *error, *message, *hint, *gate, *verify;
    bool running;
    uint32_t round;
    uint64_t bandwidth;
    sd_bus_slot *slot;
    sd_event_source *timer;
    sd_bus_message *waiting[8];
    size_t n_waiting;
};

struct fake {
    sd_event *event;
    sd_bus *bus;
    FILE *log;
    struct fake_domain domain[16];
    size_t n_domains;
    struct fake_migration migration[32];
    size_t n_migrations;
};

extern const sd_bus_vtable fake_domain_vtable[];
int fake_log_call(sd_bus_message *m);
int fake_list_devices(sd_bus_message *m, void *userdata, sd_bus_error *e);
int fake_story_begin(struct fake *fake, struct fake_domain *d, const char *destination,
                     struct fake_migration **ret);
void fake_story_end_all(struct fake *fake);
