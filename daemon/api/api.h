/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's face on the bus: objects, their interfaces, who may call what. Main thread. Long work is done
 * by helpers (api-job.h), and the method is answered when they are done.
 */
#pragma once
#include "config/config.h"
#include "domain/registry.h"
#include "incoming/incoming.h"
#include "outgoing/outgoing.h"

struct api;
struct loop;
struct sd_bus;
struct hook;
struct vm_context;

struct api_options { /* borrowed for as long as the api lives */
    struct loop *loop;
    struct sd_bus *bus;
    struct registry *registry;
    struct hook *hook; /* of libvirt; NULL: none */
    const struct vm_context *vm;
    const char *runtime_dir;
    const struct outgoing_context *outgoing;
    const struct config *config;       /* as it holds now, for showing */
    struct migration_options defaults; /* what a migration gets when its options do not say otherwise */
    /* Told of each migration when it begins, and when it has ended for good. May be NULL. */
    void (*migration_started)(struct migration *m, void *userdata);
    void (*migration_ended)(struct migration *m, void *userdata);
    void *userdata;
};

int api_new(struct api **ret, const struct api_options *options, struct mig_error *err);
/* Ends helpers and drops migrations; the bus must still be open. */
struct api *api_free(struct api *a);
DEFINE_CLEANUP(struct api *, api_free)

/* Shows a domain of the registry on the bus. */
int api_add_domain(struct api *a, struct domain *d, struct mig_error *err);
/* Shows a migration, of either direction; takes its own reference and becomes its observer. userdata is the
 * api: it fits the callbacks of incoming.h and recover.h. */
void api_add_migration(struct migration *m, void *userdata);
/* What outgoing migrations that were not asked for over the bus (recovery) tell their news to. */
const struct migration_observer *api_observer(struct api *a);
/* What a migration gets from now on when its options do not say otherwise. */
void api_set_defaults(struct api *a, const struct migration_options *defaults);
/* "host:port" of the peer listener, for the property; copied. */
void api_set_peer_address(struct api *a, const char *address);

/* For struct outgoing_context: what the newest migration to this destination reached that nothing capped.
 * userdata: the api. */
uint64_t api_known_bandwidth(const char *destination, void *userdata);

/* The daemon is to end: rolls back what can be rolled back and leaves the rest to its records; done() is
 * called when nothing runs any more. New work is refused from here on. */
void api_quit(struct api *a, void (*done)(void *userdata), void *userdata);
