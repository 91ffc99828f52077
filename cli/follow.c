/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "follow.h"
#include "bus-json.h"
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "status-view.h"
#include <signal.h>
#include <string.h>
#include <systemd/sd-event.h>

#define REFRESH_USEC (1000 * 1000) /* figures that only time changes, and states of which no signal told */
#define RETURN_USEC  (15ull * 1000 * 1000) /* how long a migd that went away may take to come back */

struct follow {
    sd_event *event;
    sd_bus *bus;
    sd_bus_slot *slot[4];    /* matches: rounds, properties, owner of the name, end of the connection */
    sd_bus_slot *wait_slot;  /* call in flight */
    sd_bus_slot *fetch_slot; /* call in flight */
    sd_event_source *refresh, *interrupt, *returning;
    char *path;
    char *id;       /* NULL until the first status */
    bool restarted; /* this migd is another than the one that began */
    struct progress progress;
    struct json_object *final;
    struct mig_error error;
};

static int end(struct follow *f, int code)
{
    return sd_event_exit(f->event, code);
}

static int fail(struct follow *f, const struct mig_error *error)
{
    f->error = *error;
    return end(f, 1);
}

/* The outcome is not known: what is certain is that the migration did not need us. */
static int lost(struct follow *f, const char *why)
{
    struct mig_error e = MIG_ERROR_INIT;
    mig_error_set(&e, MIG_ERR_IN_DOUBT, 0, "%s; how the migration goes on is not known here", why);
    mig_error_hint(&e, "When migd runs again: migctl%s%s list, and migctl%s%s status %s",
                   arg_host ? " -H " : "", arg_host ? arg_host : "", arg_host ? " -H " : "",
                   arg_host ? arg_host : "", f->id ? f->id : "DOMAIN");
    return fail(f, &e);
}

static void take_status(struct follow *f, struct json_object *status)
{
    if (!f->id && json_str(status, "id")[0])
        f->id = strdup(json_str(status, "id"));
    progress_update(&f->progress, status);
}

static int on_fetched(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct follow *f = userdata;
    _cleanup_json_ struct json_object *status = NULL;
    f->fetch_slot = sd_bus_slot_unref(f->fetch_slot);
    /* An error is told by the answer of Wait, which knows better. */
    if (!sd_bus_message_is_method_error(m, NULL) && bus_read_json(m, &status) >= 0)
        take_status(f, status);
    return 0;
}

static int fetch(struct follow *f)
{
    if (f->fetch_slot || f->returning)
        return 0;
    return sd_bus_call_method_async(f->bus, &f->fetch_slot, MIGD_BUS_NAME, f->path,
                                    "org.freedesktop.DBus.Properties", "Get", on_fetched, f, "ss",
                                    MIGD_IFACE_MIGRATION, "Status");
}

static int on_no_return(sd_event_source *s, uint64_t usec, void *userdata)
{
    return lost(userdata, "migd left the bus while the migration ran");
}

static int went_away(struct follow *f)
{
    f->wait_slot = sd_bus_slot_unref(f->wait_slot);
    if (f->returning)
        return 0;
    progress_clear(&f->progress);
    fprintf(stderr, "migctl: migd left the bus; waiting for it to come back\n");
    return sd_event_add_time_relative(f->event, &f->returning, CLOCK_MONOTONIC, RETURN_USEC, 0, on_no_return,
                                      f);
}

static int on_ended(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct follow *f = userdata;
    f->wait_slot = sd_bus_slot_unref(f->wait_slot);
    const sd_bus_error *e = sd_bus_message_get_error(m);
    struct mig_error error = MIG_ERROR_INIT;
    if (e) {
        if (bus_is_gone(e))
            return went_away(f);
        if (f->restarted)
            return lost(f, "migd was restarted and does not know the migration any more");
        bus_error(e, -sd_bus_error_get_errno(e), &error);
        return fail(f, &error);
    }
    int r = bus_read_json(m, &f->final);
    if (r < 0) {
        bus_message_failed(r, &error);
        return fail(f, &error);
    }
    return end(f, 0);
}

static int call_wait(struct follow *f)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(f->bus, &m, MIGD_BUS_NAME, f->path, MIGD_IFACE_MIGRATION, "Wait");
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 0);
    if (r >= 0)
        r = sd_bus_call_async(f->bus, &f->wait_slot, m, on_ended, f, UINT64_MAX);
    return r;
}

static int on_round(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct follow *f = userdata;
    _cleanup_json_ struct json_object *round = NULL;
    if (!f->path || strcmp(sd_bus_message_get_path(m), f->path) != 0 || bus_read_json(m, &round) < 0)
        return 0;
    progress_round(&f->progress, round);
    return 0;
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct follow *f = userdata;
    _cleanup_json_ struct json_object *changed = NULL;
    const char *interface;
    if (!f->path || strcmp(sd_bus_message_get_path(m), f->path) != 0 ||
        sd_bus_message_read(m, "s", &interface) < 0 || strcmp(interface, MIGD_IFACE_MIGRATION) != 0 ||
        bus_read_json(m, &changed) < 0)
        return 0;
    struct json_object *status = json_get(changed, "Status");
    if (!status)
        return MIN(fetch(f), 0);
    take_status(f, status);
    return sd_event_source_set_time_relative(f->refresh, REFRESH_USEC);
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct follow *f = userdata;
    const char *name, *old_owner, *new_owner;
    if (!f->path || sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0 ||
        strcmp(name, MIGD_BUS_NAME) != 0)
        return 0;
    int r = *old_owner ? went_away(f) : 0;
    if (r < 0 || !*new_owner)
        return r;
    f->restarted = true;
    f->returning = sd_event_source_disable_unref(f->returning);
    f->wait_slot = sd_bus_slot_unref(f->wait_slot);
    f->fetch_slot = sd_bus_slot_unref(f->fetch_slot);
    return MIN(call_wait(f), 0);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    return lost(userdata, "the connection to the bus broke");
}

static int on_refresh(sd_event_source *s, uint64_t usec, void *userdata)
{
    struct follow *f = userdata;
    int r = fetch(f);
    return r < 0 ? r : sd_event_source_set_time_relative(s, REFRESH_USEC);
}

static int on_interrupt(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
    return end(userdata, EINTR);
}

int follow_new(struct follow **ret, sd_bus *bus, struct mig_error *err)
{
    _cleanup_(follow_freep) struct follow *f = calloc(1, sizeof *f);
    if (!f)
        return mig_error_oom(err);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    f->bus = sd_bus_ref(bus);
    int r = sd_event_new(&f->event);
    if (r >= 0)
        r = sd_event_add_signal(f->event, &f->interrupt, SIGINT, on_interrupt, f);
    if (r >= 0)
        r = sd_bus_add_match(bus, &f->slot[0],
                             "type='signal',sender='" MIGD_BUS_NAME
                             "',path_namespace='" MIGD_BUS_MIGRATION_PREFIX
                             "',interface='" MIGD_IFACE_MIGRATION "',member='RoundCompleted'",
                             on_round, f);
    if (r >= 0)
        r = sd_bus_add_match(bus, &f->slot[1],
                             "type='signal',sender='" MIGD_BUS_NAME
                             "',path_namespace='" MIGD_BUS_MIGRATION_PREFIX
                             "',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'",
                             on_properties, f);
    if (r >= 0)
        r = sd_bus_add_match(bus, &f->slot[2],
                             "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                             "member='NameOwnerChanged',arg0='" MIGD_BUS_NAME "'",
                             on_owner, f);
    if (r >= 0)
        r = sd_bus_match_signal(bus, &f->slot[3], "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, f);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "cannot listen on the bus: %s", strerror(-r));
    *ret = TAKE_PTR(f);
    return 0;
}

int follow_run(struct follow *f, const char *path, enum progress_mode mode, struct json_object **ret_status,
               struct mig_error *err)
{
    f->path = strdup(path);
    if (!f->path)
        return mig_error_oom(err);
    progress_init(&f->progress, mode);
    /* The bus is asked once more when the loop has ended: where the workload runs. */
    int r = sd_bus_set_close_on_exit(f->bus, false);
    if (r >= 0)
        r = sd_bus_attach_event(f->bus, f->event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = call_wait(f);
    if (r >= 0)
        r = fetch(f);
    if (r >= 0)
        r = sd_event_add_time_relative(f->event, &f->refresh, CLOCK_MONOTONIC, REFRESH_USEC, 0, on_refresh,
                                       f);
    if (r >= 0)
        r = sd_event_source_set_enabled(f->refresh, SD_EVENT_ON);
    if (r >= 0)
        r = sd_event_loop(f->event);
    progress_clear(&f->progress);
    sd_bus_detach_event(f->bus);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "following the migration failed: %s", strerror(-r));
    if (r == EINTR)
        return -EINTR;
    if (mig_error_is_set(&f->error)) {
        *err = f->error;
        return -f->error.err;
    }
    *ret_status = TAKE_PTR(f->final);
    return 0;
}

struct follow *follow_free(struct follow *f)
{
    if (!f)
        return NULL;
    for (size_t i = 0; i < ELEMENTS(f->slot); i++)
        sd_bus_slot_unref(f->slot[i]);
    sd_bus_slot_unref(f->wait_slot);
    sd_bus_slot_unref(f->fetch_slot);
    sd_event_source_disable_unref(f->refresh);
    sd_event_source_disable_unref(f->interrupt);
    sd_event_source_disable_unref(f->returning);
    sd_event_unref(f->event);
    sd_bus_unref(f->bus);
    json_object_put(f->final);
    free(f->path);
    free(f->id);
    free(f);
    return NULL;
}

/* The id or domain to name in advice, from the object path when no status came yet. */
static const char *name_for_advice(struct follow *f)
{
    const char *slash = strrchr(f->path, '/');
    return f->id ? f->id : slash + 1;
}

static int detached(struct follow *f)
{
    const char *id = name_for_advice(f);
    const char *there = arg_host ? " -H " : "", *host = arg_host ? arg_host : "";
    fprintf(stderr,
            "\nThe migration goes on without migctl.\n  See it:    migctl%s%s monitor %s\n  Cancel it: "
            "migctl%s%s cancel %s\n",
            there, host, id, there, host, id);
    return 128 + SIGINT;
}

static void end_line(struct json_object *status, enum runs_at where)
{
    _cleanup_json_ struct json_object *line = json_object_new_object();
    if (!line)
        return;
    json_object_object_add(line, "event", json_object_new_string("end"));
    json_object_object_add(line, "runs-at", json_object_new_string(runs_at_word(where)));
    json_object_object_foreach(status, key, value) json_object_object_add(line, key, json_object_get(value));
    output_json_line(line);
}

int follow_to_the_end(struct follow *f, sd_bus *bus, const char *path, enum progress_mode mode)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_json_ struct json_object *status = NULL;
    int r = follow_run(f, path, mode, &status, &err);
    if (r == -EINTR && !mig_error_is_set(&err))
        return detached(f);
    if (r < 0)
        return output_error(&err);
    enum runs_at where = status_runs_at(bus, status);
    if (arg_json)
        end_line(status, where);
    else
        status_print_report(stdout, status, where);
    if (json_str(status, "error")[0]) {
        mig_error_set(&err, mig_error_from_word(json_str(status, "error")), 0, "%s",
                      json_str(status, "message"));
        mig_error_hint(&err, "%s", json_str(status, "hint"));
        output_error_text(&err);
    }
    r = output_finish();
    return r ? r : status_exit_code(status);
}
