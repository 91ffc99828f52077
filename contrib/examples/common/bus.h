/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls of migd over D-Bus, as any client makes them. Main thread; calls block. */
#pragma once
#include <systemd/sd-bus.h>

/* Opens the bus of MIGD_BUS_ADDRESS, or the system bus. Prints why it failed. */
int bus_open(sd_bus **ret);
/* A call of migd, to be filled and given to bus_call(). */
int bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *member,
                 sd_bus_message **ret);
/* Sends m, which is consumed, and hands out the reply if ret is given. What migd refuses is printed: its
 * message says what failed and what to do. */
int bus_call(sd_bus *bus, sd_bus_message *m, sd_bus_message **ret);
