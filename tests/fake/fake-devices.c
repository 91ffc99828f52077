/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ListDevices of the fake migd: a host with one device of each verdict, and one that a daemon of the future
 * tells about with words that nobody knows and text that wants to drive the terminal.
 */
#include "fake.h"
#include "migd-bus.h"
#include <string.h>

#define FINDING(code, severity, subject, message, remedy)                                                    \
    6, "code", "s", code, "severity", "s", severity, "side", "s", "source", "subject", "s", subject,         \
        "message", "s", message, "remedy", "s", remedy
#define NOTHING "aa{sv}", 0

static int append_devices(sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'a', "a{sv}");
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 15, "address", "s", "0000:17:00.1", "kind", "s", "pci",
                                  "vendor", "u", 0x15b3, "device", "u", 0x101e, "class", "u", 0x020000,
                                  "driver", "s", "mlx5_vfio_pci", "group", "s", "42", "numa-node", "u", 1,
                                  "holders", NOTHING, "probe", "s", "cdev", "migration-flags", "as", 2,
                                  "stop-copy", "p2p", "stop-copy-size", "t", UINT64_C(4) << 20, "device-log",
                                  "b", 1, "verdict", "s", "can-migrate", "findings", NOTHING);
    for (int i = 2; r >= 0 && i < 5; i++) {
        char address[32];
        snprintf(address, sizeof address, "0000:17:00.%d", i);
        r = sd_bus_message_append(
            m, "a{sv}", 7, "address", "s", address, "vendor", "u", 0x15b3, "device", "u", 0x101e, "driver",
            "s", "vfio-pci", "verdict", "s", "cannot-migrate", "holders", NOTHING, "findings", "aa{sv}", 2,
            FINDING("device-plain-driver", "error", address, "It has a variant driver", "Bind that"),
            FINDING("group-shared", "note", address, "Shared", "Leave it"));
    }
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 8, "address", "s", "0000:18:00.0", "holders", "aa{sv}", 1, 2,
                                  "pid", "u", 123, "command", "s", "qemu-system-x86", "probe", "s", "held",
                                  "verdict", "s", "not-known", "domain", "s", "demo", "group-members",
                                  "aa{sv}", 2, 2, "address", "s", "0000:18:00.0", "driver", "s", "vfio-pci",
                                  2, "address", "s", "0000:18:00.1", "driver", "s", "", "findings", NOTHING,
                                  "reason", "s", "Held");
    if (r >= 0)
        r = sd_bus_message_append(
            m, "a{sv}", 5, "address", "s", "6d696764-0000-4000-aaaa-000000000001", "kind", "s", "mdev",
            "device-log", "b", 0, "verdict", "s", "cannot-converge", "findings", "aa{sv}", 1,
            FINDING("device-no-dirty-tracking", "warning", "x", "Nobody tells", "Use another"));
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 4, "address", "s", "new\x1b[2J", "verdict", "s", "can-fly",
                                  "later", "(sv)", "x", "t", UINT64_C(1), "findings", "aa{sv}", 1,
                                  FINDING("made-later", "fatal", "x", "An \x1b[31malarm", "None"));
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int fake_list_devices(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    sd_bus_message *reply = NULL;
    fake_log_call(m);
    int r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = append_devices(reply);
    if (r >= 0)
        r = sd_bus_message_append(reply, "aa{sv}", 1,
                                  FINDING("host-no-iommufd", "warning", "", "No iommufd here", "Build one"));
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r < 0 ? r : 1;
}
