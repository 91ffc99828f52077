/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * migd on the bus, as its clients see it: connecting, calling, reading properties, and what goes wrong with
 * each in words. The bus is the system bus of arg_host if there is one, else the one that MIGD_BUS_ADDRESS
 * names, else the system bus.
 */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

struct json_object;

/* Calls that wait for devices, which have timeouts of their own, get this long. */
#define BUS_CALL_TIMEOUT_USEC (120ull * 1000 * 1000)

static inline void message_unrefp(sd_bus_message **m)
{
    sd_bus_message_unref(*m);
}
static inline void bus_unrefp(sd_bus **bus)
{
    sd_bus_flush_close_unref(*bus);
}
#define _cleanup_message_   _cleanup_(message_unrefp)
#define _cleanup_bus_       _cleanup_(bus_unrefp)
#define _cleanup_bus_error_ _cleanup_(sd_bus_error_free)

/* --host: [USER@]HOST whose migd is meant, reached by ssh; NULL: this one. */
extern const char *arg_host;

int bus_open(sd_bus **ret, struct mig_error *err);
/* Fills err from the reply to a failed call, returns its -errno. r is what the call returned. */
int bus_error(const sd_bus_error *e, int r, struct mig_error *err);
/* The same for an error text that says "MESSAGE. HINT". */
void bus_split_hint(struct mig_error *err, const char *text);
/* Whether it says that migd left the bus before it answered, or is not there. */
bool bus_is_gone(const sd_bus_error *e);

/* A call to an object of migd, without its arguments. */
int bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *method,
                 sd_bus_message **ret, struct mig_error *err);
/* Sends it and waits; ret_reply may be NULL. */
int bus_call(sd_bus *bus, sd_bus_message *m, uint64_t timeout_usec, sd_bus_message **ret_reply,
             struct mig_error *err);
/* For r < 0 of a function that builds or reads a message. */
int bus_message_failed(int r, struct mig_error *err);

/* Path of the domain or migration that an operator names; the caller frees *ret. */
int bus_domain_path(sd_bus *bus, const char *name, char **ret, struct mig_error *err);
int bus_migration_path(sd_bus *bus, const char *id_or_name, char **ret, struct mig_error *err);
/* All properties of an interface of an object, as a JSON object. */
int bus_properties(sd_bus *bus, const char *path, const char *interface, struct json_object **ret,
                   struct mig_error *err);
/* Property Status of a migration. */
int bus_migration_status(sd_bus *bus, const char *path, struct json_object **ret, struct mig_error *err);
/* {"domains": [...], "migrations": [...]}: the properties of every object that migd has. */
int bus_objects(sd_bus *bus, struct json_object **ret_domains, struct json_object **ret_migrations,
                struct mig_error *err);
