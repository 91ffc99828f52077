/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The methods and properties of org.migd.Migd1.Domain, which live in several files by what they are about.
 * userdata is the struct api_domain. */
#pragma once
#include "api/api-context.h"

/* api-domain-memory.c */
int api_domain_add_memory(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_make_memory(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_open_memory(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* api-domain-device.c */
int api_domain_add_user_device(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_map(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_unmap(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* api-domain-kernel.c */
int api_domain_add_container(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_add_device(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* api-domain-open.c */
int api_domain_open_device(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_get_opened(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error);
/* api-domain-qemu.c */
int api_domain_add_qemu(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* api-domain-tracker.c */
int api_domain_add_dirty_log(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_domain_set_controller(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* api-check.c */
int api_domain_check(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* api-domain-view.c */
int api_domain_get_memory(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error);
int api_domain_get_devices(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error);
int api_domain_get_containers(sd_bus *bus, const char *path, const char *interface, const char *property,
                              sd_bus_message *reply, void *userdata, sd_bus_error *error);
int api_domain_get_trackers(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error);
