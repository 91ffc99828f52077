/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Senders are known by their unique names, which a bus never gives to another connection, so what was learned
 * of one stays true. The table is small and forgets at random: the bus is asked again then.
 */
#include "api/api-policy.h"
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define KNOWN            64u
#define ASK_TIMEOUT_USEC UINT64_C(2000000)

struct known {
    char name[32];
    uint32_t uid;
};
struct api_policy {
    struct known known[KNOWN];
};

struct api_policy *api_policy_new(void)
{
    return calloc(1, sizeof(struct api_policy));
}

struct api_policy *api_policy_free(struct api_policy *p)
{
    free(p);
    return NULL;
}

static struct known *place_of(struct api_policy *p, const char *name)
{
    unsigned h = 5381;
    for (const char *c = name; *c; c++)
        h = h * 33 + (unsigned char)*c;
    return &p->known[h % KNOWN];
}

/* Asks the bus driver, which answers from its memory: the one call that the main thread waits for. */
static int ask_uid(sd_bus *bus, const char *sender, uint32_t *ret)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetConnectionUnixUser");
    if (r >= 0)
        r = sd_bus_message_append(call, "s", sender);
    if (r >= 0)
        r = sd_bus_call(bus, call, ASK_TIMEOUT_USEC, NULL, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "u", ret);
    return r < 0 ? r : 0;
}

static int sender_uid(struct api_policy *p, sd_bus_message *m, uint32_t *ret)
{
    const char *sender = sd_bus_message_get_sender(m);
    if (!sender || strlen(sender) >= sizeof p->known[0].name)
        return -EACCES;
    struct known *k = place_of(p, sender);
    if (strcmp(k->name, sender) != 0) {
        uint32_t uid;
        int r = ask_uid(sd_bus_message_get_bus(m), sender, &uid);
        if (r < 0)
            return r;
        strcpy(k->name, sender);
        k->uid = uid;
    }
    *ret = k->uid;
    return 0;
}

int api_policy_check(struct api_policy *p, sd_bus_message *m, struct mig_error *err)
{
    uint32_t uid = UINT32_MAX;
    int r = sender_uid(p, m, &uid);
    if (r == 0 && (uid == 0 || uid == geteuid()))
        return 0;
    const char *member = sd_bus_message_get_member(m);
    if (r < 0)
        r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, 0, "%s is not allowed: migd cannot tell who calls",
                          member ? member : "this");
    else
        r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, 0, "%s is not allowed for user %u",
                          member ? member : "this", uid);
    mig_error_hint(err, "call it as root, or as the user that migd runs as");
    return r;
}
