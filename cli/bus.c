/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus.h"
#include "bus-json.h"
#include "json-util.h"
#include "migd-bus.h"
#include "remote-bus.h"
#include <stdio.h>
#include <string.h>

const char *arg_host = NULL;

static bool own_bus(void)
{
    if (arg_host)
        return false;
    const char *address = getenv(MIGD_ENV_BUS_ADDRESS);
    return address && *address;
}

static int not_running(struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_FAILED, ENOENT, "migd does not run on this bus");
    if (arg_host)
        mig_error_hint(err, "Start it with: systemctl -H %s start migd", arg_host);
    else if (own_bus())
        mig_error_hint(err, "Start migd with the same " MIGD_ENV_BUS_ADDRESS
                            ", or unset it to use the system bus");
    else
        mig_error_hint(err, "Start it with: systemctl start migd");
    return r;
}

int bus_open(sd_bus **ret, struct mig_error *err)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    const char *address = getenv(MIGD_ENV_BUS_ADDRESS);
    int r;
    if (arg_host) {
        if ((r = remote_bus_open(arg_host, &bus, err)) < 0)
            return r;
    } else if (own_bus()) {
        r = sd_bus_new(&bus);
        if (r >= 0)
            r = sd_bus_set_address(bus, address);
        if (r >= 0)
            r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
            r = sd_bus_start(bus);
    } else {
        r = sd_bus_open_system(&bus);
    }
    if (r >= 0)
        r = sd_bus_set_allow_interactive_authorization(
            bus, isatty(STDIN_FILENO)); /* somebody may type a password */
    if (r < 0) {
        mig_error_set(err, MIG_ERR_FAILED, -r, "cannot connect to %s%s: %s",
                      own_bus() ? "the bus " : "the system bus", own_bus() ? address : "", strerror(-r));
        mig_error_hint(err, own_bus() ? "Check " MIGD_ENV_BUS_ADDRESS
                                      : "Check that dbus runs: systemctl status dbus");
        return r;
    }
    *ret = TAKE_PTR(bus);
    return 0;
}

void bus_split_hint(struct mig_error *err, const char *text)
{
    const char *end = strstr(text, ". ");
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (!end && length && text[length - 1] == '.')
        length--;
    snprintf(err->message, sizeof err->message, "%.*s", (int)MIN(length, sizeof err->message - 1), text);
    snprintf(err->hint, sizeof err->hint, "%s", end ? end + 2 : "");
}

bool bus_is_gone(const sd_bus_error *e)
{
    return sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
           sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) ||
           sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
           sd_bus_error_has_name(e, SD_BUS_ERROR_DISCONNECTED);
}

static void not_allowed_hint(struct mig_error *err)
{
    const char *at = arg_host ? strchr(arg_host, '@') : NULL;
    if (arg_host)
        mig_error_hint(err, "Try it as root of that host: migctl -H root@%s ...", at ? at + 1 : arg_host);
    else
        mig_error_hint(err, "Try it as root");
}

int bus_error(const sd_bus_error *e, int r, struct mig_error *err)
{
    static const struct {
        const char *name;
        enum mig_error_code code;
    } known[] = {
        {SD_BUS_ERROR_ACCESS_DENIED, MIG_ERR_NOT_ALLOWED},
        {SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, MIG_ERR_NOT_ALLOWED},
        {SD_BUS_ERROR_AUTH_FAILED, MIG_ERR_NOT_ALLOWED},
        {SD_BUS_ERROR_UNKNOWN_OBJECT, MIG_ERR_NO_SUCH_OBJECT},
        {SD_BUS_ERROR_INVALID_ARGS, MIG_ERR_INVALID_ARGUMENT},
        {SD_BUS_ERROR_UNKNOWN_METHOD, MIG_ERR_NOT_SUPPORTED},
        {SD_BUS_ERROR_UNKNOWN_PROPERTY, MIG_ERR_NOT_SUPPORTED},
        {SD_BUS_ERROR_UNKNOWN_INTERFACE, MIG_ERR_NOT_SUPPORTED},
        {SD_BUS_ERROR_LIMITS_EXCEEDED, MIG_ERR_LIMIT},
        {SD_BUS_ERROR_NO_MEMORY, MIG_ERR_NO_MEMORY},
    };
    if (!sd_bus_error_is_set(e))
        return mig_error_set(err, MIG_ERR_FAILED, -r, "the connection to the bus failed: %s", strerror(-r));
    const char *text = e->message ? e->message : e->name;
    if (strncmp(e->name, MIGD_ERROR_PREFIX, strlen(MIGD_ERROR_PREFIX)) == 0) {
        r = mig_error_set(err, mig_error_from_word(e->name + strlen(MIGD_ERROR_PREFIX)), 0, "%s", text);
        if (err)
            bus_split_hint(err, text);
        if (err && err->code == MIG_ERR_NOT_ALLOWED && arg_host)
            not_allowed_hint(err);
        return r;
    }
    if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
        sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
        return not_running(err);
    if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) || sd_bus_error_has_name(e, SD_BUS_ERROR_TIMEOUT) ||
        sd_bus_error_has_name(e, SD_BUS_ERROR_DISCONNECTED)) {
        r = mig_error_set(err, MIG_ERR_FAILED, ETIMEDOUT, "migd gave no answer: %s", text);
        mig_error_hint(err, "See what it does%s: systemctl status migd, journalctl -u migd",
                       arg_host ? " there" : "");
        return r;
    }
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (sd_bus_error_has_name(e, known[i].name)) {
            r = mig_error_set(err, known[i].code, 0, "%s", text);
            if (known[i].code == MIG_ERR_NOT_ALLOWED)
                not_allowed_hint(err);
            return r;
        }
    return mig_error_set(err, MIG_ERR_FAILED, 0, "%s (%s)", text, e->name);
}

int bus_message_failed(int r, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_FAILED, -r,
                         "a message on the bus does not have the form that it should have: %s", strerror(-r));
}

int bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *method,
                 sd_bus_message **ret, struct mig_error *err)
{
    int r = sd_bus_message_new_method_call(bus, ret, MIGD_BUS_NAME, path, interface, method);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

int bus_call(sd_bus *bus, sd_bus_message *m, uint64_t timeout_usec, sd_bus_message **ret_reply,
             struct mig_error *err)
{
    _cleanup_bus_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
    int r = sd_bus_call(bus, m, timeout_usec, &e, ret_reply);
    return r < 0 ? bus_error(&e, r, err) : 0;
}

static int lookup(sd_bus *bus, const char *method, const char *what, char **ret, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, method, &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "sa{sv}", what, 0)) < 0)
        return bus_message_failed(r, err);
    if ((r = bus_call(bus, m, 0, &reply, err)) < 0)
        return r;
    const char *path;
    if ((r = sd_bus_message_read(reply, "o", &path)) < 0)
        return bus_message_failed(r, err);
    *ret = strdup(path);
    return *ret ? 0 : mig_error_oom(err);
}

int bus_domain_path(sd_bus *bus, const char *name, char **ret, struct mig_error *err)
{
    return lookup(bus, "GetDomain", name, ret, err);
}

int bus_migration_path(sd_bus *bus, const char *id_or_name, char **ret, struct mig_error *err)
{
    return lookup(bus, "GetMigration", id_or_name, ret, err);
}

int bus_properties(sd_bus *bus, const char *path, const char *interface, struct json_object **ret,
                   struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, path, "org.freedesktop.DBus.Properties", "GetAll", &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "s", interface)) < 0)
        return bus_message_failed(r, err);
    if ((r = bus_call(bus, m, 0, &reply, err)) < 0)
        return r;
    if ((r = bus_read_json(reply, ret)) < 0)
        return bus_message_failed(r, err);
    return 0;
}

int bus_migration_status(sd_bus *bus, const char *path, struct json_object **ret, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    _cleanup_bus_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
    int r =
        sd_bus_get_property(bus, MIGD_BUS_NAME, path, MIGD_IFACE_MIGRATION, "Status", &e, &reply, "a{sv}");
    if (r < 0)
        return bus_error(&e, r, err);
    if ((r = bus_read_json(reply, ret)) < 0)
        return bus_message_failed(r, err);
    return 0;
}

/* One object of GetManagedObjects: an array of (interface, properties) as the caller finds it. */
static int read_interfaces(sd_bus_message *m, struct json_object *domains, struct json_object *migrations)
{
    int r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
        const char *interface;
        _cleanup_json_ struct json_object *properties = NULL;
        if ((r = sd_bus_message_read_basic(m, 's', &interface)) < 0 ||
            (r = bus_read_json(m, &properties)) < 0)
            return r;
        struct json_object *list = strcmp(interface, MIGD_IFACE_DOMAIN) == 0      ? domains
                                   : strcmp(interface, MIGD_IFACE_MIGRATION) == 0 ? migrations
                                                                                  : NULL;
        if (list && json_object_array_add(list, json_object_get(properties)) < 0) {
            json_object_put(properties);
            return -ENOMEM;
        }
        r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bus_objects(sd_bus *bus, struct json_object **ret_domains, struct json_object **ret_migrations,
                struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r =
        bus_new_call(bus, MIGD_BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &m, err);
    if (r < 0 || (r = bus_call(bus, m, 0, &reply, err)) < 0)
        return r;
    _cleanup_json_ struct json_object *domains = json_object_new_array(),
                                      *migrations = json_object_new_array();
    if (!domains || !migrations)
        return mig_error_oom(err);
    r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
    while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
        const char *path;
        r = sd_bus_message_read_basic(reply, 'o', &path);
        if (r >= 0)
            r = read_interfaces(reply, domains, migrations);
        if (r >= 0)
            r = sd_bus_message_exit_container(reply);
    }
    if (r < 0)
        return bus_message_failed(r, err);
    *ret_domains = TAKE_PTR(domains);
    *ret_migrations = TAKE_PTR(migrations);
    return 0;
}
