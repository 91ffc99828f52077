/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.OpenDevice: migd opens a VFIO device by its address and hands the descriptors out, and does so again
 * for a VMM that was started anew. Opening may reset the device and pin memory, so a helper does it. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "domain/opened.h"
#include "vfio/device.h"
#include "vfio/open-refuse.h"
#include <stdio.h>
#include <string.h>

struct open_work {
    struct domain_open open; /* the job holds the reference of its domain */
    struct domain_opened *opened;
};

static void free_open_work(void *work)
{
    struct open_work *w = work;
    domain_open_clear(&w->open);
    free(w);
}

static void free_open_workp(struct open_work **w)
{
    if (*w)
        free_open_work(*w);
}

static int run(void *work, struct mig_error *err)
{
    return domain_open(&((struct open_work *)work)->open, err);
}

static int finish(void *work, struct mig_error *err)
{
    struct open_work *w = work;
    return domain_insert_opened(&w->open, &w->opened, err);
}

/* ---- the answer ---- */

static int add_fds(sd_bus_message *m, const struct open_device *d)
{
    int r = sd_bus_message_open_container(m, 'a', "{sh}");
    if (r >= 0)
        r = sd_bus_message_append(m, "{sh}{sh}", "device", d->fd, d->space->iommufd ? "iommufd" : "container",
                                  d->space->fd);
    if (r >= 0 && !d->space->iommufd)
        r = sd_bus_message_append(m, "{sh}", "group", d->group_fd);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_opened(sd_bus_message *m, const struct domain_opened *o)
{
    const struct open_device *d = o->device;
    const struct open_space *s = d->space;
    int r =
        sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "name", "s", d->name, "address",
                              "s", d->target.address, "driver", "s", d->target.driver, "interface", "s",
                              s->iommufd ? "iommufd" : "legacy", "container", "s", s->name, "tracker", "s",
                              o->tracker, "state", "b", o->with_state, "dirty-tracking", "b", d->tracked,
                              "split", "b", s->split, "map-memory", "b", o->map_memory);
    if (r >= 0 && d->target.group >= 0)
        r = sd_bus_message_append(m, "{sv}", "group", "u", (uint32_t)d->target.group);
    if (r >= 0 && s->iommufd)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}", "ioas", "u", s->ioas, "hwpt", "u", d->hwpt, "devid", "u",
                                  d->devid);
    return r;
}

static int add_answer(sd_bus_message *m, const struct domain_opened *o, bool again)
{
    int r = add_fds(m, o->device);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = append_opened(m, o);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "again", "b", again);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int answer(void *work, sd_bus_message *reply)
{
    return add_answer(reply, ((struct open_work *)work)->opened, false);
}

static const struct api_job_ops open_ops = {
    .run = run, .finish = finish, .answer = answer, .free = free_open_work};

static int answer_again(sd_bus_message *m, const struct domain_opened *o)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = add_answer(reply, o, true);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* ---- the question ---- */

struct open_options {
    const char *interface, *container, *tracker;
    bool tracking, tracking_given, split, split_given, map_memory, map_memory_given;
};

static int bad_word(const struct domain_open *o, const char *option, const char *word, const char *known,
                    struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "device %s: %s \"%.40s\" is none of %s", o->name,
                         option, word, known);
}

static enum open_wish wish(bool given, bool value)
{
    return given ? (value ? OPEN_YES : OPEN_NO) : OPEN_AS_POSSIBLE;
}

static int take_options(struct domain_open *o, const struct open_options *given, struct mig_error *err)
{
    static const char *const interfaces[] = {[DOMAIN_INTERFACE_AUTO] = "auto",
                                             [DOMAIN_INTERFACE_IOMMUFD] = "iommufd",
                                             [DOMAIN_INTERFACE_LEGACY] = "legacy"};
    struct domain_device *w = &o->wanted;
    size_t i = 0;
    while (i < ELEMENTS(interfaces) && strcmp(interfaces[i], given->interface) != 0)
        i++;
    if (i == ELEMENTS(interfaces))
        return bad_word(o, "interface", given->interface, "auto, iommufd, legacy", err);
    o->interface = (enum domain_interface)i;
    w->tracker_auto = strcmp(given->tracker, "auto") == 0;
    w->tracker_container = strcmp(given->tracker, "container") == 0;
    w->tracker_all = strcmp(given->tracker, "all") == 0;
    if (!w->tracker_auto && !w->tracker_container && !w->tracker_all && strcmp(given->tracker, "device") != 0)
        return bad_word(o, "tracker", given->tracker, "auto, device, container, all", err);
    if (!is_power_of_two(w->log_page_bytes) || w->log_page_bytes < REGION_PAGE_SIZE)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: log-page-size %llu is no power of two from 4096 up", o->name,
                             (unsigned long long)w->log_page_bytes);
    o->options.tracking = wish(given->tracking_given, given->tracking);
    o->split = wish(given->split_given, given->split);
    o->map_memory = wish(given->map_memory_given, given->map_memory);
    if (strlen(given->container) >= sizeof o->container)
        return domain_part_name_check("container", given->container, err);
    snprintf(o->container, sizeof o->container, "%s", given->container);
    return 0;
}

static int take_names(struct domain_open *o, struct domain *d, const char *name, const char *address,
                      struct mig_error *err)
{
    o->domain = d;
    int r = domain_part_name_check("device", name, err);
    if (r < 0)
        return r;
    snprintf(o->name, sizeof o->name, "%s", name);
    if ((size_t)snprintf(o->address, sizeof o->address, "%s", address) < sizeof o->address)
        return 0;
    return open_refuse(err, FINDING_DEVICE_ADDRESS_INVALID, MIG_ERR_INVALID_ARGUMENT, 0, NULL,
                       "device %s: its address of %zu bytes is none", name, strlen(address));
}

/* 1: answered, or will be. */
static int open_device(struct api_domain *ad, sd_bus_message *m, struct open_work **w, struct mig_error *err)
{
    struct domain_open *o = &(*w)->open;
    struct domain_opened *held = domain_find_opened(ad->domain, o->name);
    char what[96];
    int r;
    if (held) { /* nothing changes, so that a migration that runs is no hindrance */
        r = domain_opened_matches(held, o, err);
        if (r < 0)
            return r;
        r = answer_again(m, held);
        return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "the answer cannot be made: %s", strerror(-r))
                     : 1;
    }
    r = domain_check_idle(ad->domain, err);
    if (r == 0)
        r = domain_open_check(o, err);
    if (r < 0)
        return r;
    snprintf(what, sizeof what, "OpenDevice %s", o->name);
    return api_job_start(ad->api, m, ad->domain, what, &open_ops, TAKE_PTR(*w), err);
}

int api_domain_open_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_open_workp) struct open_work *w = calloc(1, sizeof *w);
    struct open_options given = {
        .interface = "auto", .container = DOMAIN_OPEN_DEFAULT_CONTAINER, .tracker = "auto"};
    const char *name, *address;
    if (!w)
        return -ENOMEM;
    struct domain_open *o = &w->open;
    o->with_state = o->wanted.use_precopy = o->wanted.automap = true;
    o->wanted.log_page_bytes = REGION_PAGE_SIZE;
    o->wanted.timeout_usec = KVFIO_DEFAULT_TIMEOUT_USEC;
    const struct api_option options[] = {
        {"interface", API_STRING, &given.interface},
        {"container", API_STRING, &given.container},
        {"tracker", API_STRING, &given.tracker},
        {"dirty-tracking", API_BOOL, &given.tracking, &given.tracking_given},
        {"split", API_BOOL, &given.split, &given.split_given},
        {"map-memory", API_BOOL, &given.map_memory, &given.map_memory_given},
        {"own-hwpt", API_BOOL, &o->options.own_hwpt},
        {"state", API_BOOL, &o->with_state},
        {"map", API_BOOL, &o->wanted.automap},
        {"precopy", API_BOOL, &o->wanted.use_precopy},
        {"timeout", API_U64, &o->wanted.timeout_usec},
        {"log-page-size", API_U64, &o->wanted.log_page_bytes},
    };
    int r = sd_bus_message_read(m, "ss", &name, &address);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        take_names(o, ad->domain, name, address, &e) < 0 || take_options(o, &given, &e) < 0)
        return api_error(error, &e);
    r = open_device(ad, m, &w, &e);
    return r < 0 ? api_error(error, &e) : r;
}

int api_domain_get_opened(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const struct domain *d = ((struct api_domain *)userdata)->domain;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < d->nopened; i++) {
        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
            r = append_opened(reply, &d->opened[i]);
        if (r >= 0)
            r = sd_bus_message_close_container(reply);
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}
