/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migrations on the bus: which there are, how they stand, what an operator may say to them. Those that have
 * ended stay visible for a while. */
#include "api/api-audit.h"
#include "api/api-context.h"
#include "api/api-fetch.h"
#include "api/api-migration-options.h"
#include "api/api-options.h"
#include "api/api-policy.h"
#include "api/api-status.h"
#include "base/clock.h"
#include "base/log.h"
#include "libvirt/vm-native.h"
#include "loop/loop.h"
#include "migd-bus.h"
#include "migration/ended.h"
#include "migration/journal.h"
#include <stdio.h>
#include <string.h>

/* ---- which there are ---- */

struct api_migration *api_find_migration(struct api *a, const struct migration *m)
{
    for (size_t i = 0; i < a->nmigrations; i++)
        if (a->migrations[i]->migration == m)
            return a->migrations[i];
    return NULL;
}

const char *api_migration_path(struct api *a, const char *id)
{
    for (size_t i = a->nmigrations; *id && i-- > 0;)
        if (strcmp(migration_id(a->migrations[i]->migration), id) == 0)
            return a->migrations[i]->path;
    return "/";
}

struct api_migration *api_pick_migration(struct api *a, const char *word, struct mig_error *err)
{
    struct api_migration *by_prefix = NULL, *by_domain = NULL;
    size_t len = strlen(word), fitting = 0;
    for (size_t i = 0; len && i < a->nmigrations; i++) {
        struct api_migration *am = a->migrations[i];
        if (strncmp(migration_id(am->migration), word, len) == 0) {
            by_prefix = am;
            fitting++;
        }
        if (strcmp(migration_domain(am->migration), word) == 0)
            by_domain = am; /* the newest stands last */
    }
    if (fitting == 1)
        return by_prefix;
    if (by_domain)
        return by_domain;
    if (fitting > 1) {
        mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0, "%zu migrations begin with %.40s", fitting, word);
        mig_error_hint(err, "give more of the id");
    } else {
        mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0,
                      "there is no migration \"%.80s\", and no domain of that name has one", word);
        mig_error_hint(err, "migctl list shows them; those that ended long ago are forgotten");
    }
    return NULL;
}

static void tell(void *userdata)
{
    struct api_migration *am = userdata;
    sd_bus_emit_properties_changed(am->api->bus, am->path, MIGD_IFACE_MIGRATION, "State", "Phase", "Round",
                                   "Verdict", "Error", "ExpectedDowntime", "Downtime", "Status", NULL);
}

struct api_migration *api_migration_free(struct api_migration *am)
{
    if (!am)
        return NULL;
    api_news_clear(&am->news);
    for (size_t i = 0; i < am->nwaiters; i++)
        sd_bus_message_unref(am->waiters[i]);
    free(am->waiters);
    free(am->path);
    migration_unref(am->migration);
    free(am);
    return NULL;
}
DEFINE_CLEANUP(struct api_migration *, api_migration_free)

static void forget(struct api *a, size_t i)
{
    struct api_migration *am = a->migrations[i];
    sd_bus_emit_object_removed(a->bus, am->path);
    memmove(&a->migrations[i], &a->migrations[i + 1], (a->nmigrations - i - 1) * sizeof a->migrations[0]);
    a->nmigrations--;
    api_migration_free(am);
}

/* Keeps the newest ended ones, and none for longer than an hour; in doubt is not ended. */
static void expire(void *userdata)
{
    struct api *a = userdata;
    uint64_t now = now_usec(), next = USEC_INFINITY;
    size_t ended = 0;
    for (size_t i = a->nmigrations; i-- > 0;) {
        struct api_migration *am = a->migrations[i];
        if (!am->ended)
            continue;
        if (++ended > API_ENDED_MAX || now - am->ended_usec >= API_ENDED_MAX_USEC)
            forget(a, i);
        else
            next = MIN(next, am->ended_usec + API_ENDED_MAX_USEC - now);
    }
    loop_timer_arm(a->expiry, next);
}

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                sd_bus_error *error)
{
    struct api *a = userdata;
    for (size_t i = 0; i < a->nmigrations; i++)
        if (strcmp(a->migrations[i]->path, path) == 0) {
            *ret_found = a->migrations[i];
            return 1;
        }
    return 0;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error)
{
    struct api *a = userdata;
    char **nodes = calloc(a->nmigrations + 1, sizeof *nodes);
    if (!nodes)
        return -ENOMEM;
    for (size_t i = 0; i < a->nmigrations; i++)
        nodes[i] = strdup(a->migrations[i]->path);
    *ret_nodes = nodes;
    return 0;
}

/* ---- news from the engines ---- */

static void tick(void *userdata)
{
    struct api *a = userdata;
    bool running = false;
    for (size_t i = 0; i < a->nmigrations; i++) {
        if (migration_get_state(a->migrations[i]->migration) != MIG_STATE_RUNNING)
            continue;
        api_news_touch(&a->migrations[i]->news);
        running = true;
    }
    if (running)
        loop_timer_arm(a->ticker, API_NEWS_USEC);
    api_tell_summary(a);
}

static void on_changed(struct migration *m, void *userdata)
{
    struct api_migration *am = api_find_migration(userdata, m);
    if (am)
        api_news_touch(&am->news);
}

static void on_round(struct migration *m, const struct migration_round *round, void *userdata)
{
    struct api *a = userdata;
    struct api_migration *am = api_find_migration(a, m);
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
    if (!am)
        return;
    int r = sd_bus_message_new_signal(a->bus, &signal, am->path, MIGD_IFACE_MIGRATION, "RoundCompleted");
    if (r >= 0)
        r = api_append_round(signal, round);
    if (r >= 0)
        r = sd_bus_send(a->bus, signal, NULL);
    if (r < 0)
        log_warning("Cannot send RoundCompleted: %s", strerror(-r));
}

static int answer_wait(struct api_migration *am, sd_bus_message *call)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(call, &reply);
    if (r >= 0)
        r = api_append_status(reply, am->migration);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* Whoever waits wants to go on with the domain, which libvirt has in its hands for a moment longer than migd.
 * One in doubt needs somebody now. */
static bool is_over(struct api_migration *am)
{
    enum mig_state state = migration_get_state(am->migration);
    return state != MIG_STATE_RUNNING && (state == MIG_STATE_IN_DOUBT || am->api->quitting ||
                                          !vm_native_goes_on(am->api->natives, am->migration));
}

static void answer_waiters(struct api_migration *am)
{
    if (!is_over(am))
        return;
    for (size_t i = 0; i < am->nwaiters; i++) {
        answer_wait(am, am->waiters[i]);
        sd_bus_message_unref(am->waiters[i]);
    }
    am->nwaiters = 0;
}

void api_answer_waits(struct api *a)
{
    for (size_t i = 0; i < a->nmigrations; i++)
        answer_waiters(a->migrations[i]);
}

void api_libvirt_ended(struct migration *m, void *userdata)
{
    struct api_migration *am = api_find_migration(userdata, m);
    if (am)
        answer_waiters(am);
}

/* The answers to who waits are the last that this daemon says of it. */
static void keep_for_successor(struct api *a, struct migration *m)
{
    struct mig_error err = MIG_ERROR_INIT;
    const struct log_fields fields = migration_log_fields(m, MESSAGE_NONE);
    if (ended_write(a->o.runtime_dir, m, &err) < 0)
        log_mig_error(LOG_WARNING, &fields, &err, "The next migd will not know how this migration ended");
}

static void on_ended(struct migration *m, void *userdata)
{
    struct api *a = userdata;
    struct api_migration *am = api_find_migration(a, m);
    if (!am)
        return;
    api_news_now(&am->news);
    answer_waiters(am);
    api_fetch_ended(a, m);
    if (migration_get_state(m) != MIG_STATE_IN_DOUBT) {
        am->ended = true;
        am->ended_usec = now_usec();
        if (a->quitting)
            keep_for_successor(a, m);
        if (a->o.migration_ended)
            a->o.migration_ended(m, a->o.userdata);
    }
    expire(a);
    api_tell_summary(a);
    api_check_quit(a);
}

const struct migration_observer *api_observer(struct api *a)
{
    return &a->observer;
}

static int add(struct api *a, struct migration *m)
{
    _cleanup_(api_migration_freep) struct api_migration *am = calloc(1, sizeof *am);
    struct api_migration **migrations = reallocarray(a->migrations, a->nmigrations + 1, sizeof *migrations);
    if (migrations)
        a->migrations = migrations;
    if (!am || !migrations)
        return -ENOMEM;
    am->api = a;
    am->migration = migration_ref(m);
    int r = sd_bus_path_encode(MIGD_BUS_MIGRATION_PREFIX, migration_id(m), &am->path);
    if (r >= 0)
        r = api_news_init(&am->news, a->o.loop, tell, am);
    if (r < 0)
        return r;
    a->migrations[a->nmigrations++] = am;
    loop_timer_arm(a->ticker, API_NEWS_USEC);
    sd_bus_emit_object_added(a->bus, am->path);
    am = NULL;
    return 0;
}

void api_add_migration(struct migration *m, void *userdata)
{
    struct api *a = userdata;
    migration_set_observer(m, &a->observer);
    if (api_find_migration(a, m))
        return;
    if (a->o.migration_started)
        a->o.migration_started(m, a->o.userdata);
    int r = add(a, m);
    if (r < 0)
        log_error("Migration %s runs, but cannot be shown on the bus: %s", migration_id(m), strerror(-r));
}

/* ---- methods ---- */

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    if (api_options_read(m, NULL, 0, &e) < 0 || migration_cancel(am->migration, &e) < 0)
        return api_error(error, &e);
    return sd_bus_reply_method_return(m, NULL);
}

static int set_options(struct api_migration *am, sd_bus_message *m, struct mig_error *err)
{
    struct migration_options o;
    migration_get_options(am->migration, &o);
    int r = api_read_running_options(m, &o, err);
    if (r < 0)
        return r;
    if (migration_get_state(am->migration) != MIG_STATE_RUNNING)
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "migration %s has ended",
                             migration_id(am->migration));
    r = migration_set_options(am->migration, &o);
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "the options of migration %s cannot be set: %s",
                                 migration_id(am->migration), strerror(-r))
                 : 0;
}

static int method_set_options(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    if (set_options(am, m, &e) < 0)
        return api_error(error, &e);
    return sd_bus_reply_method_return(m, NULL);
}

static int method_wait(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    if (api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    if (is_over(am))
        return answer_wait(am, m);
    if (am->nwaiters >= API_WAITERS_MAX) {
        mig_error_set(&e, MIG_ERR_LIMIT, 0, "%u callers wait for migration %s already", API_WAITERS_MAX,
                      migration_id(am->migration));
        return api_error(error, &e);
    }
    sd_bus_message **waiters = reallocarray(am->waiters, am->nwaiters + 1, sizeof *waiters);
    if (!waiters)
        return -ENOMEM;
    am->waiters = waiters;
    waiters[am->nwaiters++] = sd_bus_message_ref(m);
    return 1;
}

static int resolve(struct api_migration *am, sd_bus_message *m, const char *verdict, struct mig_error *err)
{
    int r = api_options_read(m, NULL, 0, err);
    if (r < 0)
        return r;
    if (strcmp(verdict, "run") != 0 && strcmp(verdict, "drop") != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.40s\" is neither \"run\" nor \"drop\"",
                             verdict);
    bool run = strcmp(verdict, "run") == 0;
    r = migration_resolve(am->migration, run, err);
    if (r == 0)
        migration_log_resolved(am->migration, run, api_policy_current(am->api->policy)->uid);
    return r;
}

static int method_resolve(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *verdict;
    int r = sd_bus_message_read(m, "s", &verdict);
    if (r < 0)
        return r;
    if (resolve(am, m, verdict, &e) < 0)
        return api_error(error, &e);
    return sd_bus_reply_method_return(m, NULL);
}

/* ---- properties ---- */

static int get_word(sd_bus *bus, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct migration_status s;
    migration_get_status(am->migration, &s);
    const struct {
        const char *property, *value;
    } words[] = {
        {"Id", s.id},
        {"Domain", s.domain},
        {"Direction", migration_direction_to_string(s.direction)},
        {"Peer", s.peer},
        {"State", mig_state_to_string(s.state)},
        {"Phase", mig_phase_to_string(s.phase)},
        {"Verdict", s.verdict},
    };
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcmp(words[i].property, property) == 0)
            return sd_bus_message_append(reply, "s", words[i].value);
    return -ENOENT;
}

static int get_number(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct migration_status s;
    migration_get_status(am->migration, &s);
    if (strcmp(property, "Round") == 0)
        return sd_bus_message_append(reply, "u", s.round);
    return sd_bus_message_append(reply, "t",
                                 strcmp(property, "Downtime") == 0 ? s.counters.downtime_usec
                                                                   : s.counters.expected_downtime_usec);
}

static int get_error(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct api_migration *am = userdata;
    struct migration_status s;
    migration_get_status(am->migration, &s);
    if (!mig_error_is_set(&s.error))
        return sd_bus_message_append(reply, "(sss)", "", "", "");
    return sd_bus_message_append(reply, "(sss)", mig_error_word(s.error.code), s.error.message, s.error.hint);
}

static int get_status(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return api_append_status(reply, ((struct api_migration *)userdata)->migration);
}

static const struct api_method methods[] = {
    {"Cancel", method_cancel},
    {"SetOptions", method_set_options},
    {"Wait", method_wait},
    {"Resolve", method_resolve},
    {NULL, NULL},
};

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("SetOptions", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, api_authorized,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", status),
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Resolve", SD_BUS_ARGS("s", verdict, "a{sv}", options), SD_BUS_NO_RESULT,
                            api_authorized, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Id", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Domain", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Direction", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Peer", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Phase", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Round", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Verdict", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Error", "(sss)", get_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ExpectedDowntime", "t", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Downtime", "t", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Status", "a{sv}", get_status, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_SIGNAL_WITH_ARGS("RoundCompleted", SD_BUS_ARGS("a{sv}", round), 0),
    SD_BUS_VTABLE_END,
};

int api_migration_export(struct api *a)
{
    sd_bus_slot *slot = NULL;
    a->observer = (struct migration_observer){
        .changed = on_changed, .round = on_round, .ended = on_ended, .userdata = a};
    int r = loop_timer_new(&a->expiry, a->o.loop, expire, a);
    if (r >= 0)
        r = loop_timer_new(&a->ticker, a->o.loop, tick, a);
    if (r >= 0)
        r = api_policy_add(a->policy, a, MIGD_IFACE_MIGRATION, find, methods);
    if (r >= 0)
        r = sd_bus_add_fallback_vtable(a->bus, &slot, MIGD_BUS_MIGRATION_PREFIX, MIGD_IFACE_MIGRATION, vtable,
                                       find, a);
    if (r >= 0)
        r = api_keep_slot(a, slot);
    if (r >= 0)
        r = sd_bus_add_node_enumerator(a->bus, &slot, MIGD_BUS_MIGRATION_PREFIX, enumerate, a);
    return r < 0 ? r : api_keep_slot(a, slot);
}
