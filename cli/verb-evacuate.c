/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * migctl evacuate: moves the running domains of libvirt's to other hosts, the one with the least memory
 * first: what is cheap is safe soonest, and a host that fills up meanwhile refuses the large ones, not all of
 * them. Migrations are migd's: they go on when this process ends, and only those that it had not begun stay.
 */
#include "base/format.h"
#include "base/parse.h"
#include "bus-json.h"
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "verbs.h"
#include "vm.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PARALLEL_MAX 16
#define AGAIN_MAX    10u /* how often a migd that went away is asked again, which the bus starts */

struct evacuation;

struct move {
    struct evacuation *all;
    struct json_object *vm; /* borrowed from the list */
    const char *host;
    int first, tried; /* hosts: with which it began, and how many have refused */
    char *path;       /* of its migration while it runs */
    sd_bus_slot *wait;
    unsigned asked;
    bool answered; /* its migration has ended, and libvirt's part of it: status, or else error */
    struct json_object *status;
    bool ended, moved;
    uint64_t elapsed_usec, downtime_usec;
    struct mig_error error;
};

struct evacuation {
    sd_bus *bus;
    const struct args *args;
    struct move *moves;
    size_t n, running, parallel;
    bool stopped; /* migd was: nothing more is begun */
};

static uint64_t cost_of(struct json_object *vm)
{
    uint64_t resident = json_u64(vm, "resident"), memory = json_u64(vm, "memory");
    return resident && resident < memory ? resident : memory;
}

static int by_cost(const void *a, const void *b)
{
    uint64_t x = cost_of(((const struct move *)a)->vm), y = cost_of(((const struct move *)b)->vm);
    return x < y ? -1 : x > y;
}

static const char *name_of(const struct move *m)
{
    return json_str(m->vm, "name");
}

/* A definition on disk goes with its domain; one that has none gets none. */
static const char *const *flags_for(const struct move *m)
{
    static const char *const with_definition[] = {"persistent", "undefine-source", NULL};
    return json_flag(m->vm, "persistent") ? with_definition : NULL;
}

_printf_(2, 3) static void say(const struct move *m, const char *format, ...)
{
    char name[256], text[900];
    va_list ap;
    if (arg_json)
        return;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(name, sizeof name, "%s", name_of(m));
    output_make_safe(name);
    output_make_safe(text);
    printf("%s: %s\n", name, text);
    fflush(stdout);
}

static int wait_for_end(struct move *m);

static int on_end(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
    struct move *m = userdata;
    const sd_bus_error *e = sd_bus_message_get_error(reply);
    m->wait = sd_bus_slot_unref(m->wait);
    if (e && bus_is_gone(e) && m->asked++ < AGAIN_MAX && wait_for_end(m) == 0)
        return 0;
    int r = e ? bus_error(e, -sd_bus_error_get_errno(e), &m->error) : bus_read_json(reply, &m->status);
    if (!e && r < 0)
        bus_message_failed(r, &m->error);
    m->answered = true;
    return 0;
}

static int wait_for_end(struct move *m)
{
    _cleanup_message_ sd_bus_message *call = NULL;
    int r = bus_new_call(m->all->bus, m->path, MIGD_IFACE_MIGRATION, "Wait", &call, &m->error);
    if (r < 0)
        return r;
    r = sd_bus_message_append(call, "a{sv}", 0);
    if (r >= 0)
        r = sd_bus_call_async(m->all->bus, &m->wait, call, on_end, m, UINT64_MAX);
    return r < 0 ? bus_message_failed(r, &m->error) : 0;
}

/* That is no host's fault, and whoever stopped migd does not want it to be started by the next call. */
static void note_stop(struct evacuation *e, const struct move *m)
{
    e->stopped |= m->error.code == MIG_ERR_STOPPED;
}

/* On the next host that takes it; false: none did. */
static bool begin(struct evacuation *e, struct move *m)
{
    m->asked = 0;
    if (e->stopped)
        mig_error_set(&m->error, MIG_ERR_STOPPED, 0, "not begun, since migd was stopped");
    while (!e->stopped && m->tried < e->args->n_positional) {
        m->host = e->args->positional[(m->first + m->tried++) % e->args->n_positional];
        m->error = MIG_ERROR_INIT;
        if (vm_begin(e->bus, e->args, name_of(m), m->host, flags_for(m), &m->path, &m->error) == 0) {
            say(m, "on its way to %s", m->host);
            m->answered = wait_for_end(m) < 0;
            return true;
        }
        say(m, "not to %s: %s", m->host, m->error.message);
        note_stop(e, m);
    }
    return false;
}

static void take_end(struct move *m, struct json_object *status)
{
    m->moved = strcmp(json_str(status, "state"), "completed") == 0;
    m->elapsed_usec = json_u64(status, "time-elapsed");
    m->downtime_usec = json_u64(status, "downtime");
    if (m->moved && !json_str(status, "error")[0])
        return;
    mig_error_set(&m->error, mig_error_from_word(json_str(status, "error")), 0, "%s",
                  json_str(status, "message"));
    mig_error_hint(&m->error, "%s", json_str(status, "hint"));
}

static void look(struct evacuation *e, struct move *m)
{
    _cleanup_json_ struct json_object *status = TAKE_PTR(m->status);
    if (!m->answered)
        return;
    m->answered = false;
    if (status)
        take_end(m, status);
    free(TAKE_PTR(m->path));
    if (m->moved)
        say(m, "runs at %s now (%s, blackout %s)", m->host, FORMAT_USEC(m->elapsed_usec),
            FORMAT_USEC(m->downtime_usec));
    else
        say(m, "not to %s: %s", m->host, m->error.message);
    note_stop(e, m);
    /* What is in doubt or was cancelled by somebody is not begun again elsewhere. */
    if (!m->moved && !e->stopped && m->error.code != MIG_ERR_CANCELLED && m->error.code != MIG_ERR_IN_DOUBT &&
        status && strcmp(json_str(status, "state"), "failed") == 0 && begin(e, m))
        return;
    m->ended = true;
    e->running--;
}

/* Until the bus has brought something. */
static void wait_for_news(struct evacuation *e)
{
    int r = sd_bus_process(e->bus, NULL);
    if (r == 0)
        r = sd_bus_wait(e->bus, UINT64_MAX);
    for (size_t i = 0; r < 0 && r != -EINTR && i < e->n; i++)
        if (e->moves[i].path && !e->moves[i].answered) {
            mig_error_set(&e->moves[i].error, MIG_ERR_IN_DOUBT, -r,
                          "the connection to the bus broke; how its migration goes on is not known here");
            e->moves[i].answered = true;
        }
}

static void run(struct evacuation *e)
{
    for (size_t next = 0; next < e->n || e->running;) {
        while (next < e->n && e->running < e->parallel) {
            struct move *m = &e->moves[next++];
            if (begin(e, m))
                e->running++;
            else
                m->ended = true;
        }
        if (e->running)
            wait_for_news(e);
        for (size_t i = 0; i < next; i++)
            if (!e->moves[i].ended)
                look(e, &e->moves[i]);
    }
}

/* ---- what came of it ---- */

static struct json_object *result_of(const struct move *m)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "domain", json_object_new_string(name_of(m)));
    json_object_object_add(o, "memory", json_object_new_uint64(json_u64(m->vm, "memory")));
    json_object_object_add(o, "host", json_object_new_string(m->moved && m->host ? m->host : ""));
    if (m->moved) {
        json_object_object_add(o, "time-elapsed", json_object_new_uint64(m->elapsed_usec));
        json_object_object_add(o, "downtime", json_object_new_uint64(m->downtime_usec));
    }
    if (mig_error_is_set(&m->error))
        output_error_to_json(&m->error, o);
    return o;
}

/* It stayed, or it went and libvirt did not finish its part. */
static bool has_trouble(const struct move *m)
{
    return !m->moved || mig_error_is_set(&m->error);
}

static int report(const struct evacuation *e)
{
    bool trouble = false;
    _cleanup_json_ struct json_object *o = json_object_new_object();
    struct json_object *moved = json_object_new_array(), *stayed = json_object_new_array();
    for (size_t i = 0; i < e->n; i++)
        json_object_array_add(e->moves[i].moved ? moved : stayed, result_of(&e->moves[i]));
    size_t left = json_length(stayed);
    json_object_object_add(o, "moved", moved);
    json_object_object_add(o, "stayed", stayed);
    if (arg_json)
        output_json(o);
    else if (e->n == 0)
        puts("No domain of libvirt's runs here.");
    else
        printf("\n%zu moved, %zu stayed%s\n", e->n - left, left, left ? ":" : ".");
    for (size_t i = 0; i < e->n; i++) {
        const struct move *m = &e->moves[i];
        if (has_trouble(m))
            say(m, "%s%s%s", m->error.message, m->error.hint[0] ? ". " : "", m->error.hint);
        trouble |= has_trouble(m);
    }
    int r = output_finish();
    return r != MIGD_EXIT_DONE ? r : trouble ? MIGD_EXIT_FAILED : MIGD_EXIT_DONE;
}

/* --dry-run: in which order, to where, and what is in the way. */
static int rehearse(struct evacuation *e)
{
    _cleanup_json_ struct json_object *plans = json_object_new_array();
    int code = MIGD_EXIT_DONE;
    for (size_t i = 0; i < e->n; i++) {
        struct move *m = &e->moves[i];
        _cleanup_json_ struct json_object *findings = NULL, *plan = NULL;
        m->host = e->args->positional[m->first];
        if (vm_rehearse(e->bus, e->args, name_of(m), m->host, flags_for(m), &findings, &plan, &m->error) <
            0) {
            say(m, "not to %s: %s", m->host, m->error.message);
            code = MIGD_EXIT_FAILED;
            continue;
        }
        const char *why = "";
        for (size_t k = json_length(findings); k-- > 0;)
            if (strcmp(json_str(json_object_array_get_idx(findings, k), "severity"), "error") == 0)
                why = json_str(json_object_array_get_idx(findings, k), "message");
        if (*why)
            say(m, "not to %s: %s", m->host, why);
        else
            say(m, "to %s, %s", m->host, FORMAT_BYTES(cost_of(m->vm)));
        code = *why ? MIGD_EXIT_FAILED : code;
        json_object_object_add(plan, "findings", json_object_get(findings));
        json_object_array_add(plans, json_object_get(plan));
    }
    if (arg_json)
        output_json(plans);
    int r = output_finish();
    return r != MIGD_EXIT_DONE ? r : code;
}

static int plan(struct evacuation *e, struct json_object *vms, struct mig_error *err)
{
    e->moves = calloc(json_length(vms) + 1, sizeof *e->moves);
    if (!e->moves)
        return mig_error_oom(err);
    for (size_t i = 0; i < json_length(vms); i++) {
        struct json_object *vm = json_object_array_get_idx(vms, i);
        if (json_flag(vm, "active"))
            e->moves[e->n++] = (struct move){.all = e, .vm = vm};
    }
    qsort(e->moves, e->n, sizeof *e->moves, by_cost);
    for (size_t i = 0; i < e->n; i++)
        e->moves[i].first = (int)(i % (size_t)e->args->n_positional);
    return 0;
}

static int read_parallel(const struct args *args, size_t *ret, struct mig_error *err)
{
    const char *text = args_value(args, OPT_PARALLEL);
    uint64_t n = 1;
    if (text && (parse_unsigned(text, PARALLEL_MAX, &n) < 0 || n == 0))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "parallel: \"%.40s\" is not a number from 1 to %d", text, PARALLEL_MAX);
    *ret = n;
    return 0;
}

int verb_evacuate(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *vms = NULL;
    struct evacuation e = {.args = args};
    int code;
    if (read_parallel(args, &e.parallel, &err) < 0 || bus_open(&bus, &err) < 0 ||
        vm_all(bus, &vms, &err) < 0 || plan(&e, vms, &err) < 0)
        return output_error(&err);
    e.bus = bus;
    if (args_has(args, OPT_DRY_RUN)) {
        code = rehearse(&e);
    } else {
        run(&e);
        code = report(&e);
    }
    free(e.moves);
    return code;
}
