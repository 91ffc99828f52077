/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.migd.Migd1.Manager, at the root. */
#include "api/api-context.h"
#include "api/api-devices.h"
#include "api/api-hook.h"
#include "api/api-link-test.h"
#include "api/api-options.h"
#include "api/api-policy.h"
#include "api/api-vm.h"
#include "base/log.h"
#include "domain/saved.h"
#include "migd-bus.h"
#include <string.h>

int api_register_domain(struct api *a, const char *name, bool incoming, bool saved, struct api_domain **ret,
                        struct mig_error *err)
{
    if (a->quitting)
        return mig_error_set(err, MIG_ERR_BUSY, 0, "migd is ending");
    _cleanup_(domain_unrefp) struct domain *d = NULL;
    int r = domain_new(&d, name, incoming, err);
    if (r < 0)
        return r;
    d->loop = a->o.loop;
    r = registry_add(a->o.registry, d, err);
    if (r < 0)
        return r;
    if (saved)
        r = domain_keep_saved(d, a->o.runtime_dir, err);
    if (r == 0)
        r = api_add_domain(a, d, err);
    if (r < 0) {
        registry_remove(a->o.registry, d);
        return r;
    }
    log_write(LOG_INFO, &(struct log_fields){.message = MESSAGE_DOMAIN_REGISTERED, .domain = name},
              "domain %s is registered%s", name, incoming ? ", for a migration that comes in" : "");
    domain_tell(d);
    *ret = api_find_domain(a, name);
    return 0;
}

static int method_register_domain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    bool incoming = false, saved = true;
    const struct api_option options[] = {{"incoming", API_BOOL, &incoming}, {"saved", API_BOOL, &saved}};
    const char *name;
    struct api_domain *ad = NULL;
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    if (api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        api_register_domain(a, name, incoming, saved, &ad, &e) < 0)
        return api_error(error, &e);
    return sd_bus_reply_method_return(m, "o", ad->path);
}

static int method_get_domain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *name;
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    if (api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    struct api_domain *ad = api_find_domain(a, name);
    if (!ad) {
        mig_error_set(&e, MIG_ERR_NO_SUCH_DOMAIN, 0, "there is no domain named %.80s", name);
        mig_error_hint(&e, "migctl list shows those that are registered");
        return api_error(error, &e);
    }
    return sd_bus_reply_method_return(m, "o", ad->path);
}

static int method_get_migration(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *word;
    int r = sd_bus_message_read(m, "s", &word);
    if (r < 0)
        return r;
    if (api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    struct api_migration *am = api_pick_migration(a, word, &e);
    return am ? sd_bus_reply_method_return(m, "o", am->path) : api_error(error, &e);
}

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return sd_bus_message_append(reply, "s", PACKAGE_VERSION);
}

static int get_peer_address(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return sd_bus_message_append(reply, "s", ((struct api *)userdata)->peer_address);
}

static int append_setting(sd_bus_message *reply, const struct config_view *v)
{
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");
    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}", "section", "s", v->section, "key", "s",
                                  v->name, "value", "s", v->value, "origin", "s", v->origin, "reloads", "b",
                                  v->reloads);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_get_configuration(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    if (api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    int r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    struct config_view v;
    for (size_t i = 0; r >= 0 && config_nth(a->o.config, i, &v); i++)
        r = append_setting(reply, &v);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static const struct api_method methods[] = {
    {"RegisterDomain", method_register_domain},
    {"GetDomain", method_get_domain},
    {"GetMigration", method_get_migration},
    {"GetConfiguration", method_get_configuration},
    {"ListDevices", api_method_list_devices},
    {"LinkTest", api_method_link_test},
    {"LibvirtHook", api_method_libvirt_hook},
    {"ListVms", api_method_list_vms},
    {"CheckVm", api_method_check_vm},
    {"StartVm", api_method_start_vm},
    {NULL, NULL},
};

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("RegisterDomain", SD_BUS_ARGS("s", name, "a{sv}", options),
                            SD_BUS_RESULT("o", domain), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetDomain", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_RESULT("o", domain),
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetMigration", SD_BUS_ARGS("s", id, "a{sv}", options),
                            SD_BUS_RESULT("o", migration), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetConfiguration", SD_BUS_ARGS("a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", settings), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListDevices", SD_BUS_ARGS("a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", devices, "aa{sv}", findings), api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("LinkTest", SD_BUS_ARGS("s", host, "a{sv}", options),
                            SD_BUS_RESULT("a{sv}", link, "aa{sv}", steps), api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS(
        "LibvirtHook",
        SD_BUS_ARGS("s", name, "s", operation, "s", sub_operation, "s", extra, "s", xml, "a{sv}", options),
        SD_BUS_RESULT("i", status, "s", xml, "s", message), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListVms", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("aa{sv}", vms),
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("CheckVm", SD_BUS_ARGS("s", name, "s", host, "a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", findings, "a{sv}", plan), api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("StartVm", SD_BUS_ARGS("s", name, "s", host, "a{sv}", options),
                            SD_BUS_RESULT("o", migration), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("PeerAddress", "s", get_peer_address, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_VTABLE_END,
};

int api_manager_export(struct api *a)
{
    sd_bus_slot *slot = NULL;
    int r = api_policy_add(a->policy, a, MIGD_IFACE_MANAGER, NULL, methods);
    if (r >= 0)
        r = sd_bus_add_object_vtable(a->bus, &slot, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, vtable, a);
    return r < 0 ? r : api_keep_slot(a, slot);
}
