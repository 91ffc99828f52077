/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manager.LibvirtHook: what libvirt's hook program asks. Root only. */
#pragma once
#include <systemd/sd-bus.h>

int api_method_libvirt_hook(sd_bus_message *m, void *userdata, sd_bus_error *error);
