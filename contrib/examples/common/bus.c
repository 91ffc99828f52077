/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus.h"
#include "migd-bus.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bus_open(sd_bus **ret)
{
    const char *address = getenv(MIGD_ENV_BUS_ADDRESS);
    sd_bus *bus = NULL;
    int r;
    if (!address) {
        r = sd_bus_open_system(&bus);
    } else {
        r = sd_bus_new(&bus);
        if (r >= 0)
            r = sd_bus_set_address(bus, address);
        if (r >= 0)
            r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
            r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
            r = sd_bus_start(bus);
    }
    if (r < 0) {
        fprintf(stderr, "Cannot connect to the bus: %s\n", strerror(-r));
        sd_bus_unref(bus);
        return r;
    }
    *ret = bus;
    return 0;
}

int bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *member,
                 sd_bus_message **ret)
{
    return sd_bus_message_new_method_call(bus, ret, MIGD_BUS_NAME, path, interface, member);
}

int bus_call(sd_bus *bus, sd_bus_message *m, sd_bus_message **ret)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *reply = NULL;
    int r = sd_bus_call(bus, m, 0, &error, &reply);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", sd_bus_message_get_member(m),
                error.message ? error.message : strerror(-r));
    else if (ret)
        *ret = sd_bus_message_ref(reply);
    sd_bus_message_unref(reply);
    sd_bus_message_unref(m);
    sd_bus_error_free(&error);
    return r < 0 ? r : 0;
}
