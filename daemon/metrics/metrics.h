/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics of this daemon for whoever scrapes them: an HTTP server on a UNIX socket or on the loopback.
 * Main thread; answering takes snapshots of what others count anyway.
 */
#pragma once
#include "domain/registry.h"
#include "migration/migration.h"

struct loop;
struct metrics;

/* address: "unix:PATH", or host:port of the loopback; "": none. fd: a listening socket that the service
 * manager gave, or -1; taken over. Config with err for an address that others could reach. */
int metrics_new(struct metrics **ret, struct loop *loop, struct registry *registry, const char *address,
                int fd, struct mig_error *err);
struct metrics *metrics_free(struct metrics *m);
DEFINE_CLEANUP(struct metrics *, metrics_free)

/* A migration began, or ended for good. userdata: the metrics. */
void metrics_started(struct migration *migration, void *userdata);
void metrics_ended(struct migration *migration, void *userdata);
