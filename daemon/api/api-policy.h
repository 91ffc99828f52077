/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every decision about who may do what. Each method of an object stands in the vtable with api_authorized as
 * its handler; that one asks this file first and then calls the method's own handler. A method that this file
 * does not know is denied.
 *
 * Root and the user that migd runs as are never asked about. For everybody else polkit decides
 * (org.migd.Migd1.inspect, .register, .migrate, .receive, .resolve, .debug), without the main thread waiting
 * for it: the message is put aside, and its object is looked up anew when the answer is there. Reading
 * properties is for the bus's own policy to forbid.
 */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

struct api;
struct api_audit;
struct api_policy;

struct api_policy *api_policy_new(void);
/* Calls that wait for an answer are answered with Busy. */
struct api_policy *api_policy_free(struct api_policy *p);

/* A method and its own handler. */
struct api_method {
    const char *name;
    sd_bus_message_handler_t handler;
};
/* Whose methods api_authorized calls: find as for sd_bus_add_fallback_vtable with the api as its userdata;
 * NULL: the object is the api itself. methods ends with a NULL name and stays valid. */
int api_policy_add(struct api_policy *p, struct api *a, const char *interface, sd_bus_object_find_t find,
                   const struct api_method *methods);
/* The handler for the vtable. */
int api_authorized(sd_bus_message *m, void *object, sd_bus_error *error);

/* Of the call whose handler runs; NULL in between. */
const struct api_audit *api_policy_current(const struct api_policy *p);

/* For the setters of properties, which cannot wait for polkit: root and the user that migd runs as. */
int api_policy_check_root(struct api_policy *p, sd_bus_message *m, struct mig_error *err);
