/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-vm.h"
#include "api/api-context.h"
#include "api/api-fetch.h"
#include "api/api-findings.h"
#include "api/api-job.h"
#include "api/api-migration-options.h"
#include "api/api-vm-native.h"
#include "api/api-vm-plan.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/ratelimit.h"
#include "libvirt/fetch.h"
#include "libvirt/hook.h"
#include "libvirt/vm-check.h"
#include "libvirt/vm-engine.h"
#include "outgoing/outgoing.h"
#include <stdio.h>
#include <string.h>

struct vm_work {
    struct api *api;
    struct vm_request request;
    struct vm_plan plan;
    struct findings findings;
    struct migration *migration; /* reference; NULL: not begun */
    struct domain *guest;        /* engine native or auto: borrowed, the job has a reference */
    struct vm_native *native;    /* libvirt's part of it */
    char uri[256];
    struct vm_summary *list;
    size_t nlist;
};

static void free_work(void *work)
{
    struct vm_work *w = work;
    findings_clear(&w->findings);
    if (w->native && !w->migration)
        api_fetch_given_up(w->api, w->plan.name);
    if (w->native)
        vm_native_keep(w->api->natives, w->native, w->migration);
    migration_unref(w->migration);
    free(w->list);
    free(w);
}

static int nothing_to_take(void *work, struct mig_error *err)
{
    return 0;
}

/* ---- what was asked for ---- */

static int read_text(char *to, size_t size, const char *what, const char *text, struct mig_error *err)
{
    if (!*text || strlen(text) >= size)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "The %s is empty or too long", what);
    snprintf(to, size, "%s", text);
    return 0;
}

static void take_configuration(struct vm_request *q, const struct api *a)
{
    q->defaults = q->options = a->o.defaults;
    q->tls = a->o.config->peer_tls;
    q->total_bytes_per_sec = a->o.config->total_bytes_per_sec;
    snprintf(q->uri, sizeof q->uri, "%s", a->o.config->libvirt_uri);
    snprintf(q->destination_uri, sizeof q->destination_uri, "%s", a->o.config->destination_uri);
}

static int read_request(struct api *a, sd_bus_message *m, struct vm_work *w, struct mig_error *err)
{
    struct vm_request *q = &w->request;
    const char *name, *host, *engine = "auto";
    const struct api_option more[] = {{"engine", API_STRING, &engine},
                                      {"persistent", API_BOOL, &q->persistent},
                                      {"undefine-source", API_BOOL, &q->undefine_source},
                                      {"auto-converge", API_BOOL, &q->auto_converge}};
    w->api = a;
    take_configuration(q, a);
    if (a->quitting)
        return mig_error_set(err, MIG_ERR_STOPPED, 0, "migd is ending");
    if (sd_bus_message_read(m, "ss", &name, &host) < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a name and a host are missing");
    int r = read_text(q->name, sizeof q->name, "name", name, err);
    if (r == 0)
        r = read_text(q->host, sizeof q->host, "destination", host, err);
    if (r == 0)
        r = api_read_start_options_and(m, &q->options, more, ELEMENTS(more), err);
    if (r == 0)
        r = vm_engine_from_string(engine, &q->engine, err);
    /* libvirt would not answer before its hook has, and is in the middle of something with it. */
    if (r == 0 && a->o.hook && hook_is_running(a->o.hook, q->name))
        r = mig_error_set(err, MIG_ERR_BUSY, 0, "libvirt starts, stops or moves %.80s just now", q->name);
    migration_options_waive(&q->options, &w->findings);
    return r;
}

/* Main thread. Where nobody chose, migd moves the memory of a guest that it has, if the destination lets it.
 */
static void find_guest(struct vm_work *w)
{
    struct mig_error why = MIG_ERROR_INIT;
    w->guest = api_find_guest(w->api, w->request.name, NULL);
    if (w->guest && domain_check_idle(w->guest, &why) < 0)
        w->guest = NULL;
    if (!w->guest)
        snprintf(w->request.not_native, sizeof w->request.not_native, "%.190s",
                 mig_error_is_set(&why) ? why.message
                                        : "libvirt's hook has not registered it with migd here");
}

/* Whoever insists on migd's engine is refused here, before libvirt begins: a guest that nobody makes wait
 * there would be moved by QEMU. */
static int ask_destination(struct vm_work *w, int cancel_fd, struct mig_error *err)
{
    struct vm_request *q = &w->request;
    struct mig_error why = MIG_ERROR_INIT;
    if (q->engine == VM_ENGINE_LIBVIRT || !w->guest)
        return 0;
    int r = fetch_ask_receives(w->api->o.outgoing->security, q->host, cancel_fd, &why);
    q->native_ready = r == 0;
    snprintf(q->not_native, sizeof q->not_native, "%.190s", make_printable(why.message));
    if (r == 0 || q->engine == VM_ENGINE_AUTO)
        return 0;
    *err = why;
    return mig_error_wrap(err, "engine=native");
}

static int ask(void *work, int cancel_fd, struct mig_error *err)
{
    struct vm_work *w = work;
    int r = ask_destination(w, cancel_fd, err);
    return r < 0 ? r : vm_check(&w->request, &w->plan, &w->findings, err);
}

/* ---- CheckVm ---- */

static int answer_check(void *work, sd_bus_message *reply)
{
    const struct vm_work *w = work;
    int r = api_append_findings(reply, &w->findings);
    return r < 0 ? r : api_append_vm_plan(reply, &w->plan);
}

static const struct api_job_ops check_ops = {
    .run_until = ask, .finish = nothing_to_take, .answer = answer_check, .free = free_work};

/* ---- StartVm ---- */

static int check_not_moving(struct api *a, const char *name, struct mig_error *err)
{
    for (size_t i = 0; i < a->nmigrations; i++) {
        struct migration *m = a->migrations[i]->migration;
        enum mig_state state = migration_get_state(m);
        if (strcmp(migration_domain(m), name) == 0 &&
            (state == MIG_STATE_RUNNING || state == MIG_STATE_IN_DOUBT))
            return mig_error_set(err, MIG_ERR_BUSY, 0, "%.80s has a migration already: %s (%s)", name,
                                 migration_id(m), mig_state_to_string(state));
    }
    return 0;
}

static int ask_and_begin(void *work, int cancel_fd, struct mig_error *err)
{
    struct vm_work *w = work;
    int r = ask(w, cancel_fd, err);
    if (r == 0 && w->plan.native)
        r = findings_to_error(&w->findings, MIG_ERR_WRONG_STATE, err);
    if (r == 0 && w->plan.native)
        r = api_vm_native_begin(w->api, w->guest, &w->plan, w->request.host, cancel_fd, &w->native, err);
    return r;
}

static int start_engine(struct vm_work *w, struct mig_error *err)
{
    struct api *a = w->api;
    return w->plan.native ? outgoing_start(&w->migration, a->o.outgoing, w->guest, w->request.host,
                                           &w->plan.options, api_observer(a), err)
                          : vm_engine_start(&w->migration, a->o.vm, &w->plan, api_observer(a), err);
}

static int start(void *work, struct mig_error *err)
{
    struct vm_work *w = work;
    struct api *a = w->api;
    int r = findings_to_error(&w->findings, MIG_ERR_WRONG_STATE, err);
    if (r == 0)
        r = check_not_moving(a, w->plan.name, err);
    if (r == 0 && a->quitting)
        r = mig_error_set(err, MIG_ERR_STOPPED, 0, "migd is ending");
    if (r == 0)
        r = start_engine(w, err);
    if (r < 0)
        return r;
    migration_set_engine_why(w->migration, w->plan.why);
    log_write(LOG_INFO, &(struct log_fields){.domain = w->plan.name, .migration = migration_id(w->migration)},
              "%s is moved by engine %s: %s", w->plan.name, w->plan.engine, w->plan.why);
    api_add_migration(w->migration, a);
    return 0;
}

static int answer_start(void *work, sd_bus_message *reply)
{
    const struct vm_work *w = work;
    return sd_bus_message_append(reply, "o", api_migration_path(w->api, migration_id(w->migration)));
}

static const struct api_job_ops start_ops = {
    .run_until = ask_and_begin, .finish = start, .answer = answer_start, .free = free_work};

static int begin(struct api *a, sd_bus_message *m, const char *what, const struct api_job_ops *ops,
                 sd_bus_error *error)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct vm_work *w = calloc(1, sizeof *w);
    if (!w)
        return api_error(error, (mig_error_oom(&e), &e));
    if (read_request(a, m, w, &e) < 0) {
        free_work(w);
        return api_error(error, &e);
    }
    if (ops == &start_ops && w->request.engine == VM_ENGINE_NATIVE &&
        !(w->guest = api_find_guest(a, w->request.name, &e))) {
        free_work(w);
        return api_error(error, &e);
    }
    if (w->request.engine == VM_ENGINE_AUTO)
        find_guest(w);
    int r = api_job_start(a, m, w->guest, what, ops, w, &e);
    return r < 0 ? api_error(error, &e) : r;
}

int api_method_check_vm(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return begin(userdata, m, "CheckVm", &check_ops, error);
}

int api_method_start_vm(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return begin(userdata, m, "StartVm", &start_ops, error);
}

/* ---- ListVms ---- */

static int list(void *work, struct mig_error *err)
{
    struct vm_work *w = work;
    return vm_list(w->uri, &w->list, &w->nlist, err);
}

static int answer_list(void *work, sd_bus_message *reply)
{
    struct vm_work *w = work;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < w->nlist; i++) {
        struct vm_summary *s = &w->list[i];
        r = sd_bus_message_append(reply, "a{sv}", 8, "name", "s", make_printable(s->name), "uuid", "s",
                                  s->uuid, "state", "s", s->state, "active", "b", (int)s->active,
                                  "persistent", "b", (int)s->persistent, "memory", "t", s->memory_bytes,
                                  "resident", "t", s->resident_bytes, "vcpus", "u", (uint32_t)s->vcpus);
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static const struct api_job_ops list_ops = {
    .run = list, .finish = nothing_to_take, .answer = answer_list, .free = free_work};

int api_method_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    if (api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    struct vm_work *w = calloc(1, sizeof *w);
    if (!w)
        return api_error(error, (mig_error_oom(&e), &e));
    snprintf(w->uri, sizeof w->uri, "%s", a->o.config->libvirt_uri);
    int r = api_job_start(a, m, NULL, "ListVms", &list_ops, w, &e);
    return r < 0 ? api_error(error, &e) : r;
}
