/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Order of things at the start: the runtime directory is locked, so that no second migd touches the same
 * records; saved domains are restored; the peer listener opens; what a daemon before this one left unfinished
 * is taken up; only then does the name on the bus say that migd is there.
 *
 * At the end: what runs is rolled back and given time to put its devices and VMM back, since that needs this
 * loop and this bus.
 */
#include "service.h"
#include "api/api-fetch.h"
#include "api/api-guests.h"
#include "api/api.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "base/ratelimit.h"
#include "config/config.h"
#include "domain/restore.h"
#include "incoming/incoming.h"
#include "libvirt/hook.h"
#include "libvirt/virt-events.h"
#include "libvirt/vm-engine.h"
#include "loop/bus.h"
#include "loop/fdstore.h"
#include "loop/loop.h"
#include "loop/notify.h"
#include "loop/watchdog.h"
#include "metrics/metrics.h"
#include "migd-bus.h"
#include "migration/configured.h"
#include "migration/ended.h"
#include "outgoing/outgoing.h"
#include "recover.h"
#include "transport/security.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <systemd/sd-bus.h>

#define END_TIMEOUT_USEC UINT64_C(30000000)

struct service {
    struct config *config; /* what holds now */
    int (*load)(struct config *c, struct mig_error *err);
    int lock_fd;
    struct loop *loop;
    struct bus *bus;
    struct registry *registry;
    struct outgoing_context outgoing;
    struct api *api;
    struct metrics *metrics;
    struct hook *hook;
    struct guests *guests;
    struct vm_context vm;
    struct restore *restore;
    struct security *security;
    struct ratelimit *total; /* of all outgoing migrations */
    struct incoming *incoming;
    struct loop_timer *end_timer;
    struct watchdog *watchdog;
    struct mig_error error;
};

static int lock_runtime_dir(struct service *s, struct mig_error *err)
{
    const char *dir = s->config->runtime_dir;
    char path[300];
    snprintf(path, sizeof path, "%s/migrations", dir); /* of the records */
    int r = mkdir_parents(path);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "cannot make the runtime directory %s: %s", dir,
                             strerror(-r));
    snprintf(path, sizeof path, "%s/lock", dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot open %s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    r = mig_error_set(err, MIG_ERR_BUSY, 0, "another migd uses the runtime directory %s", dir);
    mig_error_hint(err, "end it, or give this one a directory of its own with --runtime-dir");
    return r;
}

/* ---- the second half of the start: the saved domains are there ---- */

static void configure_incoming(struct service *s)
{
    const struct config *c = s->config;
    const struct patience_limits limits = {
        .progress_usec = c->progress_usec ? c->progress_usec : USEC_INFINITY,
        .receive_usec = c->receive_usec ? c->receive_usec : USEC_INFINITY,
    };
    incoming_set_accept_overrides(s->incoming, c->accept_overrides);
    incoming_set_patience(s->incoming, &limits);
}

static int open_listener(struct service *s, struct mig_error *err)
{
    const struct incoming_callbacks callbacks = {
        .started = api_add_migration, .asked_of_guest = api_asked_of_guest, .userdata = s->api};
    int r = incoming_new(&s->incoming, s->loop, s->registry, s->config->listen, fdstore_take_listener("peer"),
                         s->config->runtime_dir, &callbacks, err);
    if (r < 0)
        return r;
    configure_incoming(s);
    incoming_set_security(s->incoming, s->security);
    s->outgoing.decision_address = incoming_address(s->incoming);
    api_set_peer_address(s->api, s->outgoing.decision_address);
    return 0;
}

static int take_name(struct service *s, struct mig_error *err)
{
    int r = sd_bus_request_name(bus_sd(s->bus), MIGD_BUS_NAME, 0);
    if (r >= 0)
        return 0;
    mig_error_set(err, MIG_ERR_FAILED, -r, "cannot take the name " MIGD_BUS_NAME " on the bus: %s",
                  strerror(-r));
    mig_error_hint(err, "%s",
                   r == -EEXIST ? "another migd has it" : "the bus policy must let this user own it");
    return -err->err;
}

static int start_serving(struct service *s, struct mig_error *err)
{
    struct domain *d;
    int r = 0;
    for (size_t i = 0; r >= 0 && (d = registry_nth(s->registry, i)); i++)
        r = api_add_domain(s->api, d, err);
    if (r >= 0)
        r = open_listener(s, err);
    if (r < 0)
        return r;
    const struct recovery recovery = {
        .context = &s->outgoing,
        .registry = s->registry,
        .incoming = s->incoming,
        .observer = api_observer(s->api),
        .started = api_add_migration,
        .userdata = s->api,
    };
    ended_show(s->config->runtime_dir, s->loop, api_add_migration, s->api);
    recover_migrations(&recovery);
    vm_engine_recover(&s->vm, api_observer(s->api), api_add_migration, s->api);
    guests_release_gone(s->guests);
    return take_name(s, err);
}

static void on_restored(void *userdata)
{
    struct service *s = userdata;
    s->restore = restore_free(s->restore);
    if (start_serving(s, &s->error) < 0) {
        loop_exit(s->loop, EXIT_FAILURE);
        return;
    }
    fdstore_close_unknown();
    const char *address = incoming_address(s->incoming);
    log_info("migd %s is ready%s%s", PACKAGE_VERSION,
             *address ? ", peers reach it at " : ", not listening for peers", address);
    notify_ready();
}

/* ---- a new configuration ---- */

/* What can change while it runs does; of the rest it is said that it waits for a restart. */
static void tell_waiting(const struct config *old, const struct config *new)
{
    struct config_view was, is;
    for (size_t i = 0; config_nth(old, i, &was) && config_nth(new, i, &is); i++)
        if (!is.reloads && strcmp(was.value, is.value) != 0)
            log_warning("%s: %s=%s takes effect when migd is restarted; until then it is \"%s\"", is.origin,
                        is.name, is.value, was.value);
}

static void keep_waiting(const struct config *old, struct config *new)
{
    struct config_view v;
    for (size_t i = 0; config_nth(old, i, &v); i++)
        if (!v.reloads)
            config_set(new, v.section, v.name, v.value, v.origin, NULL);
}

/* A host without certificates still answers on its bus, and says what it lacks when somebody wants to
 * migrate.
 */
static void configure_security(struct service *s)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (security_configure(s->security, s->config, &err) < 0)
        log_mig_error(LOG_WARNING, NULL, &err, "TLS cannot be used as configured");
}

static void reload(void *userdata)
{
    struct service *s = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    struct config next;
    struct migration_options defaults;
    notify_reloading();
    if (s->load(&next, &err) < 0 || migration_options_configure(&defaults, &next, &err) < 0) {
        log_mig_error(LOG_ERR, &(struct log_fields){.message = MESSAGE_CONFIGURATION_REFUSED}, &err,
                      "The configuration stays as it was");
    } else {
        tell_waiting(s->config, &next);
        keep_waiting(s->config, &next);
        if (next.log_level != s->config->log_level)
            log_set_max_level(next.log_level); /* else what LogControl1 said stays */
        *s->config = next;
        api_set_defaults(s->api, &defaults);
        hook_configure(s->hook, s->config);
        guests_configure(s->guests, s->config);
        configure_security(s);
        ratelimit_set(s->total, s->config->total_bytes_per_sec);
        if (s->incoming)
            configure_incoming(s);
        log_write(LOG_NOTICE, &(struct log_fields){.message = MESSAGE_CONFIGURATION_LOADED},
                  "The configuration was read again");
    }
    notify_ready();
}

/* ---- the end ---- */

static void end_now(void *userdata)
{
    struct service *s = userdata;
    loop_exit(s->loop, 0);
}

static void end_late(void *userdata)
{
    log_warning("Not everything ended in time; the next migd takes it up from the records");
    end_now(userdata);
}

static void terminate(void *userdata)
{
    struct service *s = userdata;
    notify_stopping();
    if (s->restore) {
        end_now(s);
        return;
    }
    loop_timer_arm(s->end_timer, END_TIMEOUT_USEC);
    api_quit(s->api, end_now, s);
}

static void service_clear(struct service *s)
{
    restore_free(s->restore);
    api_free(s->api); /* its migrations join their workers, which use what the listener owns */
    incoming_free(s->incoming);
    guests_free(s->guests);
    hook_free(s->hook);
    security_free(s->security);
    ratelimit_free(s->total);
    metrics_free(s->metrics);
    registry_free(s->registry);
    loop_timer_free(s->end_timer);
    watchdog_free(s->watchdog);
    bus_free(s->bus);
    virt_events_use(NULL);
    loop_free(s->loop);
    fdstore_done();
    close_fd(&s->lock_fd);
}

static int build(struct service *s, const char *bus_address, struct mig_error *err)
{
    struct api_options options = {
        .runtime_dir = s->config->runtime_dir, .outgoing = &s->outgoing, .config = s->config};
    int r = migration_options_configure(&options.defaults, s->config, err);
    if (r == 0)
        r = lock_runtime_dir(s, err);
    if (r < 0)
        return r;
    if (loop_new(&s->loop) < 0 || loop_timer_new(&s->end_timer, s->loop, end_late, s) < 0 ||
        watchdog_new(&s->watchdog, s->loop) < 0 || registry_new(&s->registry) < 0 ||
        security_new(&s->security) < 0 || ratelimit_new(&s->total, s->config->total_bytes_per_sec) < 0)
        return mig_error_oom(err);
    configure_security(s);
    r = bus_new(&s->bus, s->loop, bus_address, err);
    if (r < 0)
        return r;
    s->outgoing = (struct outgoing_context){.loop = s->loop,
                                            .runtime_dir = s->config->runtime_dir,
                                            .decision_address = "",
                                            .security = s->security,
                                            .total = s->total};
    options.loop = s->loop;
    options.bus = bus_sd(s->bus);
    options.registry = s->registry;
    r = metrics_new(&s->metrics, s->loop, s->registry, s->config->metrics_listen,
                    fdstore_take_listener("metrics"), err);
    if (r < 0)
        return r;
    r = hook_new(&s->hook, &(struct hook_options){.tree = {.root = ""}}, err);
    if (r < 0)
        return r;
    hook_configure(s->hook, s->config);
    options.hook = s->hook;
    s->vm = (struct vm_context){.loop = s->loop, .runtime_dir = s->config->runtime_dir, .hook = s->hook};
    options.vm = &s->vm;
    virt_events_use(s->loop);
    options.migration_started = metrics_started;
    options.migration_ended = metrics_ended;
    options.userdata = s->metrics;
    r = api_new(&s->api, &options, err);
    if (r < 0)
        return r;
    const struct guests_ops guests_ops = api_guests_ops(s->api);
    r = guests_new(&s->guests, s->loop, s->registry, s->hook, &guests_ops, err);
    if (r < 0)
        return r;
    guests_configure(s->guests, s->config);
    s->outgoing.known_bandwidth = api_known_bandwidth;
    s->outgoing.userdata = s->api;
    loop_set_terminate(s->loop, terminate, s);
    loop_set_reload(s->loop, reload, s);
    return restore_start(&s->restore, s->loop, bus_sd(s->bus), s->registry, s->config->runtime_dir,
                         on_restored, s, err);
}

int service_run(struct config *config, int (*load)(struct config *c, struct mig_error *err),
                const char *bus_address, struct mig_error *err)
{
    struct service s = {.config = config, .load = load, .lock_fd = -1};
    int code = EXIT_FAILURE;
    fdstore_init();
    if (build(&s, bus_address, &s.error) == 0)
        code = loop_run(s.loop);
    service_clear(&s);
    *err = s.error;
    return code;
}
