/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-vm-plan.h"
#include "base/clock.h"

static int append_flags(sd_bus_message *m, const struct vm_plan *p)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    const char *word;
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "flags");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (size_t i = 0; r >= 0 && (word = vm_plan_flag(p, i)); i++)
        r = sd_bus_message_append(m, "s", word);
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

int api_append_vm_plan(sd_bus_message *m, const struct vm_plan *p)
{
    char command[1200];
    vm_plan_command(p, command, sizeof command);
    const struct {
        const char *key, *value;
    } words[] = {{"domain", p->name},       {"uuid", p->uuid},
                 {"destination", p->host},  {"peer-domain", p->peer_name},
                 {"engine", p->engine},     {"why", p->why},
                 {"uri", p->uri},           {"destination-uri", p->destination_uri},
                 {"data-uri", p->data_uri}, {"command", command}};
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    for (size_t i = 0; r >= 0 && i < ELEMENTS(words); i++)
        r = sd_bus_message_append(m, "{sv}", words[i].key, "s", words[i].value);
    if (r >= 0)
        r = append_flags(m, p);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}", "bandwidth", "t", p->bandwidth_mib << 20,
                                  "max-downtime", "t", p->max_downtime_msec * USEC_PER_MSEC, "connections",
                                  "u", (uint32_t)p->connections, "memory", "t", p->memory_bytes, "persistent",
                                  "b", (int)p->persistent);
    return r < 0 ? r : sd_bus_message_close_container(m);
}
