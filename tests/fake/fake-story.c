/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What happens to a fake migration, picked by how the destination's name begins:
 *   good      three rounds, then completed, proved       bad-proof   completed, but the proof failed
 *   fails     a device fails                             stalls      does not converge
 *   late      times out                                  doubt       in doubt until it is resolved
 *   forever   rounds until it is cancelled               dies        the whole service goes away after the
 * first round quiet     as forever, without any signal
 */
#include "bus-json.h"
#include "fake.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migd-errors.h"
#include "migd-status.h"
#include <string.h>

#define STEP_USEC 60000
#define VERDICT   "sending what was written; it will fit into 300 ms after 1 more round"

static bool story(const struct fake_migration *x, const char *name)
{
    return strncmp(x->destination, name, strlen(name)) == 0;
}

static int append_status(sd_bus_message *m, struct fake_migration *x)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    uint64_t figure = 1000000;
#define X(field, key, unit)                                                                                  \
    if (r >= 0)                                                                                              \
        r = sd_bus_message_append(m, "{sv}", key, "t",                                                       \
                                  unit == MIGD_UNIT_MILLI                          ? UINT64_C(1500)          \
                                  : unit == MIGD_UNIT_BYTES                        ? UINT64_C(1) << 30       \
                                  : strncmp(key, "downtime", 8) == 0 && x->running ? UINT64_C(0)             \
                                                                                   : figure++);
    MIGD_STATUS_TABLE(X)
#undef X
    const struct {
        const char *key, *value;
    } texts[] = {
        {"id", x->id},
        {"domain", x->domain->name},
        {"direction", "outgoing"},
        {"peer", x->destination},
        {"state", x->state},
        {"phase", x->phase},
        {"verdict", VERDICT},
        {"error", x->error},
        {"message", x->message},
        {"hint", x->hint},
        {"gate", x->gate},
        {"verify", x->verify},
    };
    for (size_t i = 0; r >= 0 && i < ELEMENTS(texts); i++)
        r = sd_bus_message_append(m, "{sv}", texts[i].key, "s", texts[i].value ? texts[i].value : "");
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}", "round", "u", x->round, "cancel-requested", "b", 0,
                                  "paused", "b", 0);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "trackers", "aa{sv}", 1, 3, "name", "s", "nic0", "kind", "s",
                                  "vfio-user", "pages-reported", "t", (uint64_t)4711);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "options", "a{sv}", 1, "bandwidth", "t", x->bandwidth);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static void answer_waiting(struct fake_migration *x)
{
    for (size_t i = 0; i < x->n_waiting; i++) {
        sd_bus_message *reply = NULL;
        if (sd_bus_message_new_method_return(x->waiting[i], &reply) >= 0 && append_status(reply, x) >= 0)
            sd_bus_send(NULL, reply, NULL);
        sd_bus_message_unref(reply);
        sd_bus_message_unref(x->waiting[i]);
    }
    x->n_waiting = 0;
}

static void stop(struct fake_migration *x, const char *state, const char *error, const char *message,
                 const char *hint)
{
    x->running = false;
    x->state = state;
    x->phase = "done";
    x->error = error;
    x->message = message;
    x->hint = hint;
    x->domain->state = strcmp(state, "completed") == 0  ? "departed"
                       : strcmp(state, "in-doubt") == 0 ? "migrating"
                                                        : "running";
    x->timer = sd_event_source_disable_unref(x->timer);
    answer_waiting(x);
}

static int tell_round(struct fake_migration *x)
{
    return sd_bus_emit_signal(x->fake->bus, x->path, MIGD_IFACE_MIGRATION, "RoundCompleted", "a{sv}", 8,
                              "round", "u", x->round, "pages", "t", (uint64_t)262144, "bytes", "t",
                              UINT64_C(1) << 30, "duration", "t", (uint64_t)900000, "bandwidth", "t",
                              UINT64_C(1) << 30, "dirty-pages", "t", (uint64_t)2560, "expected-downtime", "t",
                              (uint64_t)45000, "verdict", "s", VERDICT);
}

static void finish(struct fake_migration *x)
{
    x->gate = "clean";
    x->verify = story(x, "bad-proof") ? "failed" : "proved";
    if (story(x, "good"))
        stop(x, "completed", "", "", "");
    else if (story(x, "bad-proof"))
        stop(x, "completed", "VerifyFailed", "2 pages of ram0 differ at the destination",
             "Report the tracker");
    else if (story(x, "stalls"))
        stop(x, "failed", "NotConverging", "dirty pages appear faster than they are sent",
             "Try --on-stall=force");
    else if (story(x, "late"))
        stop(x, "failed", "TimedOut", "not done within 10 s", "Give it more --timeout");
    else if (story(x, "doubt"))
        stop(x, "in-doubt", "InDoubt", "the connection broke after PREPARED", "Look at the other side");
    else
        stop(x, "failed", "DeviceFailed", "device nic0 refused STOP\033[31m",
             "See the journal of its server");
}

static int on_step(sd_event_source *s, uint64_t usec, void *userdata)
{
    struct fake_migration *x = userdata;
    bool quiet = story(x, "quiet");
    sd_event_source_set_time_relative(s, STEP_USEC);
    if (!quiet)
        tell_round(x);
    x->round++;
    x->phase = "precopy";
    if (story(x, "dies"))
        return sd_event_exit(x->fake->event, 0);
    if (x->round == 3 && !quiet && !story(x, "forever"))
        finish(x);
    return quiet ? 0
                 : sd_bus_emit_properties_changed(x->fake->bus, x->path, MIGD_IFACE_MIGRATION, "Status",
                                                  "State", NULL);
}

static int cancel(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_migration *x = userdata;
    fake_log_call(m);
    if (!x->running)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "WrongState", "migration %s has ended already", x->id);
    stop(x, "cancelled", "Cancelled", "cancelled by the operator", "");
    return sd_bus_reply_method_return(m, NULL);
}

static int set_options(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_migration *x = userdata;
    _cleanup_json_ struct json_object *options = NULL;
    fake_log_call(m);
    int r = bus_read_json(m, &options);
    if (r < 0)
        return r;
    if (json_get(options, "bandwidth"))
        x->bandwidth = json_u64(options, "bandwidth");
    return sd_bus_reply_method_return(m, NULL);
}

static int wait_for_end(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_migration *x = userdata;
    if (x->n_waiting == ELEMENTS(x->waiting))
        return -E2BIG;
    x->waiting[x->n_waiting++] = sd_bus_message_ref(m);
    if (!x->running)
        answer_waiting(x);
    return 1;
}

static int resolve(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_migration *x = userdata;
    const char *verdict;
    fake_log_call(m);
    int r = sd_bus_message_read(m, "s", &verdict);
    if (r < 0)
        return r;
    if (strcmp(x->state, "in-doubt") != 0)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "WrongState", "migration %s is not in doubt", x->id);
    stop(x, strcmp(verdict, "run") == 0 ? "failed" : "completed", "", "", "");
    return sd_bus_reply_method_return(m, NULL);
}

static int property(sd_bus *bus, const char *path, const char *interface, const char *name,
                    sd_bus_message *reply, void *userdata, sd_bus_error *e)
{
    struct fake_migration *x = userdata;
    if (strcmp(name, "Status") == 0)
        return append_status(reply, x);
    return sd_bus_message_append(reply, "s",
                                 strcmp(name, "Id") == 0          ? x->id
                                 : strcmp(name, "Domain") == 0    ? x->domain->name
                                 : strcmp(name, "Direction") == 0 ? "outgoing"
                                 : strcmp(name, "Peer") == 0      ? x->destination
                                 : strcmp(name, "State") == 0     ? x->state
                                 : strcmp(name, "Phase") == 0     ? x->phase
                                                                  : VERDICT);
}

static int number(sd_bus *bus, const char *path, const char *interface, const char *name,
                  sd_bus_message *reply, void *userdata, sd_bus_error *e)
{
    struct fake_migration *x = userdata;
    if (strcmp(name, "Round") == 0)
        return sd_bus_message_append(reply, "u", x->round);
    if (strcmp(name, "Error") == 0)
        return sd_bus_message_append(reply, "(sss)", x->error ? x->error : "", x->message ? x->message : "",
                                     x->hint ? x->hint : "");
    return sd_bus_message_append(reply, "t", (uint64_t)45000);
}

#define CALL(name, in, out, function) SD_BUS_METHOD(name, in, out, function, SD_BUS_VTABLE_UNPRIVILEGED)
static const sd_bus_vtable migration_vtable[] = {
    SD_BUS_VTABLE_START(0),
    CALL("Cancel", "a{sv}", "", cancel),
    CALL("SetOptions", "a{sv}", "", set_options),
    CALL("Wait", "a{sv}", "a{sv}", wait_for_end),
    CALL("Resolve", "sa{sv}", "", resolve),
    SD_BUS_PROPERTY("Id", "s", property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Domain", "s", property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Direction", "s", property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Peer", "s", property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Phase", "s", property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Round", "u", number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Verdict", "s", property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Error", "(sss)", number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ExpectedDowntime", "t", number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Downtime", "t", number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Status", "a{sv}", property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_SIGNAL("RoundCompleted", "a{sv}", 0),
    SD_BUS_VTABLE_END,
};

int fake_story_begin(struct fake *fake, struct fake_domain *d, const char *destination,
                     struct fake_migration **ret)
{
    if (fake->n_migrations == ELEMENTS(fake->migration))
        return -E2BIG;
    struct fake_migration *x = &fake->migration[fake->n_migrations];
    *x = (struct fake_migration){
        .fake = fake, .domain = d, .state = "running", .phase = "full-send", .running = true};
    snprintf(x->id, sizeof x->id, "%08zx%024d", fake->n_migrations + 0xa0, 0);
    snprintf(x->path, sizeof x->path, MIGD_BUS_MIGRATION_PREFIX "/%08zx%024d", fake->n_migrations + 0xa0, 0);
    snprintf(x->destination, sizeof x->destination, "%s", destination);
    int r = sd_bus_add_object_vtable(fake->bus, &x->slot, x->path, MIGD_IFACE_MIGRATION, migration_vtable, x);
    if (r >= 0)
        r = sd_event_add_time_relative(fake->event, &x->timer, CLOCK_MONOTONIC, STEP_USEC, 0, on_step, x);
    if (r >= 0)
        r = sd_event_source_set_enabled(x->timer, SD_EVENT_ON);
    if (r < 0)
        return r;
    fake->n_migrations++;
    d->migration = x;
    d->state = "migrating";
    *ret = x;
    return 0;
}

void fake_story_end_all(struct fake *fake)
{
    for (size_t i = 0; i < fake->n_migrations; i++) {
        struct fake_migration *x = &fake->migration[i];
        for (size_t k = 0; k < x->n_waiting; k++)
            sd_bus_message_unref(x->waiting[k]);
        sd_event_source_disable_unref(x->timer);
        sd_bus_slot_unref(x->slot);
    }
    for (size_t i = 0; i < fake->n_domains; i++) {
        sd_bus_slot_unref(fake->domain[i].slot);
        free(fake->domain[i].name);
    }
}
