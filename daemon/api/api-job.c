/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-job.h"
#include "api/api-audit.h"
#include "api/api-policy.h"
#include "base/log.h"
#include "loop/worker.h"
#include <stdio.h>
#include <string.h>

struct api_job {
    struct api_job *next;
    struct api *api;
    sd_bus_message *call;
    struct api_audit audit; /* call NULL: nobody asked */
    struct domain *domain;
    const struct api_job_ops *ops;
    void *work;
    struct worker *worker;
    struct mig_error error;
};

static void job_free(struct api_job *j)
{
    if (j->worker)
        worker_free(j->worker);
    j->ops->free(j->work);
    if (j->domain)
        domain_unref(j->domain);
    sd_bus_message_unref(j->call);
    free(j);
}

static int run(struct worker *w, void *userdata)
{
    struct api_job *j = userdata;
    return j->ops->run_until ? j->ops->run_until(j->work, worker_cancel_fd(w), &j->error)
                             : j->ops->run(j->work, &j->error);
}

static int new_answer(struct api_job *j, sd_bus_message **ret)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(j->call, &reply);
    if (r >= 0 && j->ops->answer)
        r = j->ops->answer(j->work, reply);
    if (r < 0)
        return mig_error_set(&j->error, MIG_ERR_FAILED, -r, "the answer cannot be made: %s", strerror(-r));
    *ret = TAKE_PTR(reply);
    return 0;
}

static void audit_end(const struct api_job *j)
{
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    api_error(&error, &j->error);
    if (j->audit.call)
        api_audit_ended(&j->audit, &error);
}

static void done(void *userdata, int result)
{
    struct api_job *j = userdata;
    struct api *a = j->api;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    j->worker = worker_free(j->worker);
    if (j->domain)
        domain_end_job(j->domain);
    if (result >= 0)
        result = j->ops->finish(j->work, &j->error);
    if (result >= 0)
        result = new_answer(j, &reply);
    if (result < 0 && a->quitting && j->error.code == MIG_ERR_CANCELLED)
        mig_error_set(&j->error, MIG_ERR_STOPPED, 0, "migd was stopped before this was done");
    if (result < 0) {
        audit_end(j);
        api_new_error(j->call, &j->error, &reply);
    }
    struct api_job **at = &a->jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    a->njobs--;
    /* Before the answer goes out: who has it may count on everything being given back. */
    job_free(j);
    if (reply && sd_bus_send(NULL, reply, NULL) < 0)
        log_warning("The answer to a call could not be sent");
    api_check_quit(a);
}

int api_job_start(struct api *a, sd_bus_message *call, struct domain *domain, const char *what,
                  const struct api_job_ops *ops, void *work, struct mig_error *err)
{
    int r = 0;
    if (a->njobs >= API_JOBS_MAX) {
        r = mig_error_set(err, MIG_ERR_LIMIT, 0, "%u calls are being worked on already", API_JOBS_MAX);
        mig_error_hint(err, "try again when they were answered");
    }
    if (r == 0 && domain)
        r = domain_begin_job(domain, what, err);
    if (r < 0) {
        ops->free(work);
        return r;
    }
    struct api_job *j = calloc(1, sizeof *j);
    if (j) {
        *j = (struct api_job){.api = a, .ops = ops, .work = work, .next = a->jobs};
        j->call = sd_bus_message_ref(call);
        const struct api_audit *current = api_policy_current(a->policy);
        if (current && current->call == call)
            j->audit = *current;
        j->domain = domain ? domain_ref(domain) : NULL;
        r = worker_start(&j->worker, a->o.loop, "job", run, done, j);
    }
    if (!j || r < 0) {
        if (domain)
            domain_end_job(domain);
        if (j)
            job_free(j);
        else
            ops->free(work);
        return mig_error_set(err, MIG_ERR_NO_MEMORY, 0, "cannot start a thread for %s", what);
    }
    a->jobs = j;
    a->njobs++;
    return 1;
}

void api_jobs_cancel(struct api *a)
{
    for (struct api_job *j = a->jobs; j; j = j->next)
        if (j->worker)
            worker_cancel(j->worker);
}

void api_jobs_free(struct api *a)
{
    while (a->jobs) {
        struct api_job *j = a->jobs;
        a->jobs = j->next;
        a->njobs--;
        job_free(j);
    }
}
