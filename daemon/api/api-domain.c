/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains on the bus: which there are, their short properties, starting a migration, release. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-migration-options.h"
#include "api/api-options.h"
#include "api/api-policy.h"
#include "base/log.h"
#include "domain/saved.h"
#include "migd-bus.h"
#include "migration/record.h"
#include <string.h>

/* ---- which there are ---- */

static void tell(void *userdata)
{
    struct api_domain *ad = userdata;
    sd_bus_emit_properties_changed(ad->api->bus, ad->path, MIGD_IFACE_DOMAIN, "Incoming", "State", "Problem",
                                   "Controller", "Migration", NULL);
}

static void domain_changed(struct domain *d, void *userdata)
{
    struct api_domain *ad = userdata;
    api_news_touch(&ad->news);
}

struct api_domain *api_domain_free(struct api_domain *ad)
{
    if (!ad)
        return NULL;
    if (ad->domain && ad->domain->changed_userdata == ad)
        ad->domain->changed = NULL;
    api_news_clear(&ad->news);
    domain_unref(ad->domain);
    free(ad->path);
    free(ad);
    return NULL;
}
DEFINE_CLEANUP(struct api_domain *, api_domain_free)

int api_add_domain(struct api *a, struct domain *d, struct mig_error *err)
{
    _cleanup_(api_domain_freep) struct api_domain *ad = calloc(1, sizeof *ad);
    struct api_domain **domains = reallocarray(a->domains, a->ndomains + 1, sizeof *domains);
    if (domains)
        a->domains = domains;
    if (!ad || !domains)
        return mig_error_oom(err);
    ad->api = a;
    ad->domain = domain_ref(d);
    if (sd_bus_path_encode(MIGD_BUS_DOMAIN_PREFIX, d->name, &ad->path) < 0 ||
        api_news_init(&ad->news, a->o.loop, tell, ad) < 0)
        return mig_error_oom(err);
    d->changed = domain_changed;
    d->changed_userdata = ad;
    a->domains[a->ndomains++] = ad;
    sd_bus_emit_object_added(a->bus, ad->path);
    ad = NULL;
    api_tell_summary(a);
    return 0;
}

void api_remove_domain(struct api *a, struct api_domain *ad)
{
    for (size_t i = 0; i < a->ndomains; i++) {
        if (a->domains[i] != ad)
            continue;
        sd_bus_emit_object_removed(a->bus, ad->path);
        memmove(&a->domains[i], &a->domains[i + 1], (a->ndomains - i - 1) * sizeof a->domains[0]);
        a->ndomains--;
        registry_remove(a->o.registry, ad->domain);
        api_domain_free(ad);
        api_tell_summary(a);
        return;
    }
}

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                sd_bus_error *error)
{
    struct api *a = userdata;
    for (size_t i = 0; i < a->ndomains; i++)
        if (strcmp(a->domains[i]->path, path) == 0) {
            *ret_found = a->domains[i];
            return 1;
        }
    return 0;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error)
{
    struct api *a = userdata;
    char **nodes = calloc(a->ndomains + 1, sizeof *nodes);
    if (!nodes)
        return -ENOMEM;
    for (size_t i = 0; i < a->ndomains; i++)
        nodes[i] = strdup(a->domains[i]->path);
    *ret_nodes = nodes;
    return 0;
}

/* ---- properties ---- */

static int get_short(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct domain *d = ad->domain;
    if (strcmp(property, "Name") == 0)
        return sd_bus_message_append(reply, "s", d->name);
    if (strcmp(property, "Incoming") == 0)
        return sd_bus_message_append(reply, "b", d->incoming);
    if (strcmp(property, "State") == 0)
        return sd_bus_message_append(reply, "s", domain_state_to_string(d->state));
    if (strcmp(property, "Problem") == 0)
        return sd_bus_message_append(reply, "s", d->problem);
    if (strcmp(property, "Controller") == 0)
        return sd_bus_message_append(reply, "s", d->controller->ops->kind);
    return sd_bus_message_append(reply, "o", api_migration_path(ad->api, d->migration_id));
}

/* ---- Migrate ---- */

static int migrate(struct api_domain *ad, const char *destination, struct migration_options *options,
                   struct api_migration **ret, struct mig_error *err)
{
    struct api *a = ad->api;
    struct domain *d = ad->domain;
    _cleanup_(migration_unrefp) struct migration *m = NULL;
    int r = outgoing_start(&m, a->o.outgoing, d, destination, options, &a->observer, err);
    if (r < 0)
        return r;
    api_add_migration(m, a);
    *ret = api_find_migration(a, m);
    return *ret ? 0 : mig_error_oom(err);
}

static int method_migrate(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    struct migration_options options = ad->api->o.defaults;
    struct api_migration *am = NULL;
    const char *destination;
    int r = sd_bus_message_read(m, "s", &destination);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_read_start_options(m, &options, &e) < 0 ||
        migrate(ad, destination, &options, &am, &e) < 0)
        return api_error(error, &e);
    return sd_bus_reply_method_return(m, "o", am->path);
}

/* ---- Release ---- */

/* The last reference goes on a helper: devices may be slow to let go. */
static int drop_domain(void *work, struct mig_error *err)
{
    domain_unref(work);
    return 0;
}

static int dropped(void *work, struct mig_error *err)
{
    return 0;
}

static void nothing(void *work)
{
}

static const struct api_job_ops release_ops = {.run = drop_domain, .finish = dropped, .free = nothing};

struct domain *api_release_domain(struct api *a, struct api_domain *ad)
{
    struct domain *d = domain_ref(ad->domain);
    domain_stop_watching(d);
    domain_forget_saved(d);
    record_forget(a->o.runtime_dir, d->name); /* says nothing of who bears the name next */
    log_write(LOG_INFO, &(struct log_fields){.message = MESSAGE_DOMAIN_RELEASED, .domain = d->name},
              "domain %s is released", d->name);
    api_remove_domain(a, ad);
    return d;
}

static int check_release(struct domain *d, bool force, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r < 0 || d->state != DOMAIN_STATE_IN_DOUBT || force)
        return r;
    r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0,
                      "domain %s is in doubt: nobody has decided yet which side runs it", d->name);
    mig_error_hint(err, "decide with migctl resolve, or release it with force");
    return r;
}

static int method_release(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct api *a = ad->api;
    struct mig_error e = MIG_ERROR_INIT;
    bool force = false;
    const struct api_option options[] = {{"force", API_BOOL, &force}};
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        check_release(ad->domain, force, &e) < 0)
        return api_error(error, &e);
    struct domain *d = api_release_domain(a, ad);
    int r = api_job_start(a, m, NULL, "Release", &release_ops, d, &e);
    if (r >= 0)
        return r;
    domain_unref(d);
    return sd_bus_reply_method_return(m, NULL);
}

static const struct api_method methods[] = {
    {"AddMemory", api_domain_add_memory},
    {"MakeMemory", api_domain_make_memory},
    {"OpenMemory", api_domain_open_memory},
    {"AddUserDevice", api_domain_add_user_device},
    {"AddContainer", api_domain_add_container},
    {"AddDevice", api_domain_add_device},
    {"OpenDevice", api_domain_open_device},
    {"AddDirtyLog", api_domain_add_dirty_log},
    {"AddQemu", api_domain_add_qemu},
    {"Map", api_domain_map},
    {"Unmap", api_domain_unmap},
    {"SetController", api_domain_set_controller},
    {"Check", api_domain_check},
    {"Migrate", method_migrate},
    {"Release", method_release},
    {NULL, NULL},
};

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("AddMemory",
                            SD_BUS_ARGS("s", name, "h", fd, "t", offset, "t", size, "a{sv}", options),
                            SD_BUS_RESULT("u", index), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("MakeMemory", SD_BUS_ARGS("s", name, "t", size, "a{sv}", options),
                            SD_BUS_RESULT("u", index, "h", fd), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("OpenMemory", SD_BUS_ARGS("s", name, "a{sv}", options),
                            SD_BUS_RESULT("h", fd, "t", offset, "t", size), api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddUserDevice", SD_BUS_ARGS("s", name, "v", socket, "a{sv}", options),
                            SD_BUS_NO_RESULT, api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddContainer", SD_BUS_ARGS("s", name, "h", fd, "a{sv}", options),
                            SD_BUS_NO_RESULT, api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddDevice", SD_BUS_ARGS("s", name, "h", fd, "a{sv}", options), SD_BUS_NO_RESULT,
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("OpenDevice", SD_BUS_ARGS("s", name, "s", address, "a{sv}", options),
                            SD_BUS_RESULT("a{sh}", fds, "a{sv}", info), api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddQemu", SD_BUS_ARGS("s", path, "a{sv}", options), SD_BUS_NO_RESULT,
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddDirtyLog", SD_BUS_ARGS("s", name, "s", type, "ah", fds, "a{sv}", options),
                            SD_BUS_NO_RESULT, api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS(
        "Map", SD_BUS_ARGS("s", device, "s", memory, "t", offset, "t", iova, "t", size, "a{sv}", options),
        SD_BUS_NO_RESULT, api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Unmap", SD_BUS_ARGS("s", device, "t", iova, "t", size, "a{sv}", options),
                            SD_BUS_NO_RESULT, api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("SetController", SD_BUS_ARGS("s", type, "a{sv}", options), SD_BUS_NO_RESULT,
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_ARGS("s", destination, "a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", findings), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Migrate", SD_BUS_ARGS("s", destination, "a{sv}", options),
                            SD_BUS_RESULT("o", migration), api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Name", "s", get_short, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Incoming", "b", get_short, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("State", "s", get_short, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Problem", "s", get_short, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Memory", "aa{sv}", api_domain_get_memory, 0, 0),
    SD_BUS_PROPERTY("Devices", "aa{sv}", api_domain_get_devices, 0, 0),
    SD_BUS_PROPERTY("Containers", "aa{sv}", api_domain_get_containers, 0, 0),
    SD_BUS_PROPERTY("Opened", "aa{sv}", api_domain_get_opened, 0, 0),
    SD_BUS_PROPERTY("Trackers", "aa{sv}", api_domain_get_trackers, 0, 0),
    SD_BUS_PROPERTY("Controller", "s", get_short, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Migration", "o", get_short, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};

int api_domain_export(struct api *a)
{
    sd_bus_slot *slot = NULL;
    int r = api_policy_add(a->policy, a, MIGD_IFACE_DOMAIN, find, methods);
    if (r >= 0)
        r = sd_bus_add_fallback_vtable(a->bus, &slot, MIGD_BUS_DOMAIN_PREFIX, MIGD_IFACE_DOMAIN, vtable, find,
                                       a);
    if (r >= 0)
        r = api_keep_slot(a, slot);
    if (r >= 0)
        r = sd_bus_add_node_enumerator(a->bus, &slot, MIGD_BUS_DOMAIN_PREFIX, enumerate, a);
    return r < 0 ? r : api_keep_slot(a, slot);
}
