/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-audit.h"
#include "api/api-context.h"
#include "base/log.h"
#include "base/printable.h"
#include "migd-bus.h"
#include <stdio.h>
#include <string.h>

/* RegisterDomain and GetDomain name their domain by the first argument. */
static void take_argument(struct api_audit *a)
{
    const char *name;
    if (sd_bus_message_has_signature(a->call, "sa{sv}") > 0 || sd_bus_message_has_signature(a->call, "s") > 0)
        if (sd_bus_message_read(a->call, "s", &name) >= 0) {
            snprintf(a->domain, sizeof a->domain, "%s", name);
            make_printable(a->domain);
        }
    sd_bus_message_rewind(a->call, true);
}

void api_audit_begin(struct api_audit *ret, sd_bus_message *call, const char *action, uint32_t uid,
                     const void *object)
{
    const char *interface = sd_bus_message_get_interface(call), *member = sd_bus_message_get_member(call);
    *ret = (struct api_audit){.call = call, .action = action, .uid = uid};
    if (object && strcmp(interface, MIGD_IFACE_DOMAIN) == 0) {
        snprintf(ret->domain, sizeof ret->domain, "%s", ((const struct api_domain *)object)->domain->name);
    } else if (object && strcmp(interface, MIGD_IFACE_MIGRATION) == 0) {
        const struct migration *m = ((const struct api_migration *)object)->migration;
        snprintf(ret->domain, sizeof ret->domain, "%s", migration_domain(m));
        snprintf(ret->migration, sizeof ret->migration, "%s", migration_id(m));
    } else if (interface && strcmp(interface, MIGD_IFACE_MANAGER) == 0 &&
               (strcmp(member, "RegisterDomain") == 0 || strcmp(member, "GetDomain") == 0)) {
        take_argument(ret);
    }
}

static struct log_fields fields_of(const struct api_audit *a, enum migd_message message, const char *who)
{
    return (struct log_fields){
        .message = message,
        .domain = *a->domain ? a->domain : NULL,
        .migration = *a->migration ? a->migration : NULL,
        .action = a->action,
        .method = sd_bus_message_get_member(a->call),
        .caller_uid = who,
    };
}

static void name_user(const struct api_audit *a, char *buf, size_t size)
{
    if (a->uid == API_UID_UNKNOWN)
        snprintf(buf, size, "unknown");
    else
        snprintf(buf, size, "%u", a->uid);
}

void api_audit_decided(const struct api_audit *a, bool allowed, const char *why)
{
    char who[12];
    name_user(a, who, sizeof who);
    struct log_fields fields = fields_of(a, allowed ? MESSAGE_ACCESS_ALLOWED : MESSAGE_ACCESS_DENIED, who);
    const char *sender = sd_bus_message_get_sender(a->call);
    fields.reason = why;
    log_write(allowed ? LOG_INFO : LOG_NOTICE, &fields, "%s on %s by user %s (%s): %s, %s", fields.method,
              sd_bus_message_get_path(a->call), who, sender ? sender : "nobody",
              allowed ? "allowed" : "denied", why);
}

void api_audit_ended(const struct api_audit *a, const sd_bus_error *error)
{
    if (!sd_bus_error_is_set(error))
        return;
    char who[12], text[512];
    name_user(a, who, sizeof who);
    snprintf(text, sizeof text, "%s", error->message ? error->message : error->name);
    make_printable(text);
    struct log_fields fields = fields_of(a, MESSAGE_CALL_FAILED, who);
    const size_t prefix = strlen(MIGD_ERROR_PREFIX);
    fields.error = strncmp(error->name, MIGD_ERROR_PREFIX, prefix) == 0 ? error->name + prefix : error->name;
    fields.reason = text;
    log_write(LOG_INFO, &fields, "%s on %s by user %s failed: %s", fields.method,
              sd_bus_message_get_path(a->call), who, text);
}
