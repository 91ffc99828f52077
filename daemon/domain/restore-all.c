/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All saved forms at the start of the daemon, a few at a time, each on a worker of its own. */
#include "base/fds.h"
#include "base/json.h"
#include "base/log.h"
#include "domain/restore.h"
#include "domain/saved.h"
#include "loop/worker.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define AT_ONCE         8u
#define SAVED_MAX_BYTES (16u << 20)

struct job {
    struct restore *all;
    struct domain *domain;
    char path[1024];
    struct worker *worker;
    bool started, ended;
};

static const struct log_fields not_restored = {.message = MESSAGE_DOMAIN_NOT_RESTORED};

struct restore {
    struct loop *loop;
    struct sd_bus *bus;
    struct registry *registry;
    char runtime_dir[1024];
    void (*done)(void *userdata);
    void *userdata;
    struct job *jobs;
    size_t njobs, nended, nrunning;
};

static int run_job(struct worker *w, void *userdata)
{
    struct job *j = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_free_ char *text = NULL;
    int r = read_file(j->path, SAVED_MAX_BYTES, &text, NULL);
    if (r < 0)
        mig_error_set(&e, MIG_ERR_FAILED, -r, "%s", strerror(-r));
    else {
        _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(text);
        r = domain_from_json(j->domain, j->all->bus, o, &e);
    }
    if (r < 0) {
        log_mig_error(LOG_ERR, &not_restored, &e, j->path);
        log_error("%s is left alone; register the domain again", j->path);
    }
    return r;
}

static void start_jobs(struct restore *r);

static void publish(struct restore *r, struct job *j)
{
    struct mig_error e = MIG_ERROR_INIT;
    domain_end_job(j->domain);
    int rc = domain_keep_saved(j->domain, r->runtime_dir, &e);
    if (rc == 0)
        rc = registry_add(r->registry, j->domain, &e);
    if (rc < 0) {
        log_mig_error(LOG_ERR, &not_restored, &e, j->path);
        return;
    }
    log_write(LOG_INFO, &(struct log_fields){.message = MESSAGE_DOMAIN_RESTORED, .domain = j->domain->name},
              "domain %s is back from its saved form, %s", j->domain->name,
              domain_state_to_string(j->domain->state));
    domain_watch_devices(j->domain);
    domain_tell(j->domain);
}

static void job_done(void *userdata, int result)
{
    struct job *j = userdata;
    struct restore *r = j->all;
    j->worker = worker_free(j->worker);
    j->ended = true;
    if (result == 0)
        publish(r, j);
    j->domain = domain_unref(j->domain);
    r->nended++;
    r->nrunning--;
    start_jobs(r);
}

static void tell_done(void *userdata)
{
    struct restore *r = userdata;
    r->done(r->userdata);
}

static void start_jobs(struct restore *r)
{
    for (size_t i = 0; i < r->njobs && r->nrunning < AT_ONCE; i++) {
        struct job *j = &r->jobs[i];
        if (j->started)
            continue;
        j->started = true;
        int rc = worker_start(&j->worker, r->loop, "restore", run_job, job_done, j);
        if (rc < 0) {
            log_error("%s: cannot start a thread: %s", j->path, strerror(-rc));
            j->ended = true;
            r->nended++;
        } else
            r->nrunning++;
    }
    if (r->nended == r->njobs && loop_post(r->loop, tell_done, r) < 0)
        tell_done(r);
}

static int is_saved_form(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".json") == 0;
}

static int prepare_job(struct restore *r, const char *file)
{
    struct job *j = &r->jobs[r->njobs];
    char name[DOMAIN_NAME_MAX + 1];
    size_t n = strlen(file) - strlen(".json");
    if (n >= sizeof name)
        return -ENAMETOOLONG;
    memcpy(name, file, n);
    name[n] = '\0';
    int rc = domain_new(&j->domain, name, false, NULL);
    if (rc < 0)
        return rc;
    j->domain->loop = r->loop;
    domain_begin_job(j->domain, "its restoration", NULL);
    j->all = r;
    snprintf(j->path, sizeof j->path, "%.900s/domains/%s.json", r->runtime_dir, name);
    r->njobs++;
    return 0;
}

int restore_start(struct restore **ret, struct loop *loop, struct sd_bus *bus, struct registry *registry,
                  const char *runtime_dir, void (*done)(void *userdata), void *userdata,
                  struct mig_error *err)
{
    char dir[1024];
    struct dirent **entries = NULL;
    _cleanup_(restore_freep) struct restore *r = calloc(1, sizeof *r);
    if (!r)
        return mig_error_oom(err);
    r->loop = loop;
    r->bus = bus;
    r->registry = registry;
    r->done = done;
    r->userdata = userdata;
    if ((size_t)snprintf(r->runtime_dir, sizeof r->runtime_dir, "%s", runtime_dir) >= 900)
        return mig_error_set(err, MIG_ERR_FAILED, ENAMETOOLONG,
                             "the path of the runtime directory is too long");
    snprintf(dir, sizeof dir, "%.900s/domains", runtime_dir);
    int n = scandir(dir, &entries, is_saved_form, alphasort);
    if (n < 0 && errno != ENOENT)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot read %s: %s", dir, strerror(errno));
    n = MAX(n, 0);
    r->jobs = calloc((size_t)n + 1, sizeof *r->jobs);
    for (int i = 0; i < n; i++) {
        if (r->jobs && prepare_job(r, entries[i]->d_name) < 0)
            log_warning("%s/%s is not the name of a saved domain; left alone", dir, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (!r->jobs)
        return mig_error_oom(err);
    start_jobs(r);
    *ret = TAKE_PTR(r);
    return 0;
}

struct restore *restore_free(struct restore *r)
{
    if (!r)
        return NULL;
    loop_retract(r->loop, tell_done, r);
    for (size_t i = 0; r->jobs && i < r->njobs; i++) {
        if (r->jobs[i].worker)
            worker_free(r->jobs[i].worker);
        domain_unref(r->jobs[i].domain);
    }
    free(r->jobs);
    free(r);
    return NULL;
}
