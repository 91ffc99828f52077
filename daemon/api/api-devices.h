/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manager.ListDevices: the VFIO-capable devices of this host. */
#pragma once
#include <systemd/sd-bus.h>

/* The inventory is taken on a helper; userdata is a struct api. */
int api_method_list_devices(sd_bus_message *m, void *userdata, sd_bus_error *error);
