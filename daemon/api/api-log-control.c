/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.freedesktop.LogControl1, as systemctl log-level knows it. */
#include "api/api-context.h"
#include "api/api-policy.h"
#include "base/log.h"
#include <string.h>

static int get_level(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return sd_bus_message_append(reply, "s", log_level_to_string(log_get_max_level()));
}

static int set_level(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *value, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *word;
    int r = sd_bus_message_read(value, "s", &word);
    if (r < 0)
        return r;
    if (api_policy_check_root(a->policy, value, &e) < 0)
        return api_error(error, &e);
    int level = log_level_from_string(word);
    if (level < 0) {
        mig_error_set(&e, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.40s\" is not a log level", word);
        mig_error_hint(&e, "emerg, alert, crit, err, warning, notice, info, debug or 0 to 7");
        return api_error(error, &e);
    }
    log_set_max_level(level);
    return 0;
}

static const char *target(void)
{
    return getenv("JOURNAL_STREAM") ? "journal" : "console";
}

static int get_target(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return sd_bus_message_append(reply, "s", target());
}

static int set_target(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *value, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *word;
    int r = sd_bus_message_read(value, "s", &word);
    if (r < 0)
        return r;
    if (api_policy_check_root(a->policy, value, &e) < 0)
        return api_error(error, &e);
    if (strcmp(word, target()) == 0 || strcmp(word, "auto") == 0)
        return 0;
    mig_error_set(&e, MIG_ERR_NOT_SUPPORTED, 0, "migd logs to where its standard error leads (%s)", target());
    mig_error_hint(&e, "change StandardError= of its unit and restart it");
    return api_error(error, &e);
}

static int get_identifier(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return sd_bus_message_append(reply, "s", "migd");
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_level, set_level, 0, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_target, set_target, 0, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, 0),
    SD_BUS_VTABLE_END,
};

int api_log_control_export(struct api *a)
{
    sd_bus_slot *slot = NULL;
    int r = sd_bus_add_object_vtable(a->bus, &slot, "/org/freedesktop/LogControl1",
                                     "org.freedesktop.LogControl1", vtable, a);
    return r < 0 ? r : api_keep_slot(a, slot);
}
