/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manager.StartVm, CheckVm and ListVms: domains of libvirt's, which migd does not own and knows by their name
 * only. A helper asks libvirt; the call is answered when it has. */
#pragma once
#include <systemd/sd-bus.h>

int api_method_start_vm(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_method_check_vm(sd_bus_message *m, void *userdata, sd_bus_error *error);
int api_method_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *error);
