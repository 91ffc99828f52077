/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-job.h"
#include "base/clock.h"
#include "base/format.h"
#include "base/log.h"
#include "libvirt/vm-news.h"
#include "libvirt/vm-record.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

/* How long libvirt's last word on a job, which comes by another way than the call's answer, is waited for. */
#define LAST_FIGURES_USEC (500 * USEC_PER_MSEC)
#define TAKE_UP_USEC      (60 * USEC_PER_SEC)

static int begin_call(struct vm_job *j, struct mig_error *err)
{
    struct vm_record record = {.plan = j->plan};
    snprintf(record.id, sizeof record.id, "%s", migration_id(j->migration));
    int r = vm_record_write(j->runtime_dir, &record, err);
    if (r < 0)
        return r;
    migration_set_phase(j->migration, MIG_PHASE_FULL_SEND);
    j->began_usec = now_usec();
    return vm_call_begin(&j->call, &j->plan, err);
}

/* ---- before and after ---- */

/* What a daemon before us began is worth waiting for a libvirt that is being restarted too. */
static int open_link(struct vm_job *j, struct mig_error *err)
{
    uint64_t deadline = deadline_in(j->taken_up ? TAKE_UP_USEC : 0);
    for (;;) {
        struct mig_error said = MIG_ERROR_INIT;
        int r = virt_link_open(&j->link, j->plan.uri, &said);
        if (r == 0)
            return 0;
        struct pollfd p = {.fd = j->cancel_fd, .events = POLLIN};
        if (now_usec() >= deadline || poll(&p, 1, 500) > 0) {
            *err = said;
            return r;
        }
    }
}

static int set_up(struct vm_job *j, struct mig_error *err)
{
    const struct vm_plan *p = &j->plan;
    int r = open_link(j, err);
    if (r == 0)
        r = virt_link_domain(j->link, p->name, p->uuid, &j->domain, err);
    if (r < 0)
        return r;
    r = vm_there_open(&j->there, err);
    if (r < 0 && !j->taken_up)
        return r;
    j->process = vm_process_open(j->hook, p->name, p->uuid);
    j->news = vm_news_listen(virt_link_connection(j->link), j->domain);
    migration_set_verdict(j->migration, "%s moves %s with libvirt: %s, allowed downtime %s",
                          j->taken_up ? "Taken up: QEMU" : "QEMU", p->name, FORMAT_BYTES(p->memory_bytes),
                          FORMAT_USEC(p->options.max_downtime_usec));
    return 0;
}

static void count_last(struct migration_counters *c, void *userdata)
{
    vm_figures_count(c, userdata, true);
}

static void take_last_figures(struct vm_job *j)
{
    struct vm_figures last = {0};
    uint64_t deadline = deadline_in(LAST_FIGURES_USEC);
    while (j->news && !vm_news_completed(j->news, &last) && now_usec() < deadline)
        poll(NULL, 0, 20);
    if (last.total_bytes == 0 && (!j->domain || !vm_may_ask(j) || vm_figures_ask(&last, j->domain, true) < 0))
        return;
    migration_update(j->migration, count_last, &last);
}

static void clear(struct vm_job *j)
{
    vm_news_end(j->news);
    if (j->domain)
        virt.virDomainFree(j->domain);
    virt_link_free(j->link);
    vm_there_close(&j->there);
    vm_process_close(&j->process);
    vm_call_end(&j->call);
}

static void end_as(struct vm_job *j, enum mig_state state, const struct mig_error *err)
{
    j->state = state;
    if (err)
        j->error = *err;
    if (state != MIG_STATE_IN_DOUBT)
        vm_record_remove(j->runtime_dir, migration_id(j->migration));
}

static void count_blackout(struct migration_counters *c, void *userdata)
{
    const uint64_t *usec = userdata;
    c->downtime_usec = MAX(c->downtime_usec, *usec);
}

/* QEMU counts until it has sent all; the guest stands still until it is let run. */
static bool take_blackout(struct vm_job *j, uint64_t stopped_usec)
{
    uint64_t usec = j->resumed_usec - stopped_usec;
    if (!j->resumed_usec || !stopped_usec || stopped_usec > j->resumed_usec)
        return false;
    migration_update(j->migration, count_blackout, &usec);
    return true;
}

static void completed(struct vm_job *j)
{
    take_last_figures(j);
    bool whole = take_blackout(j, vm_news_stopped(j->news));
    struct migration_status st;
    migration_get_status(j->migration, &st);
    migration_set_paused(j->migration, false);
    migration_set_verdict(j->migration, "Done: the workload runs at %s; blackout %s%s", j->plan.host,
                          FORMAT_USEC(st.counters.downtime_usec), whole ? "" : " by QEMU's count");
    end_as(j, MIG_STATE_COMPLETED, NULL);
}

/* The call's own words are of use only where nobody had it stopped. */
static void explain(struct vm_job *j, struct mig_error *err)
{
    struct mig_error end;
    bool told = migration_explain_cancel(j->migration, &end);
    if (j->moved)
        mig_error_set(err, MIG_ERR_FAILED, 0, "%s is at %s, and could not be let run there", j->plan.name,
                      j->plan.host);
    else if (mig_error_is_set(&j->stop))
        *err = j->stop;
    else if (told)
        *err = end;
    else if (mig_error_is_set(&j->call.error))
        *err = j->call.error;
    else
        mig_error_set(err, MIG_ERR_FAILED, 0,
                      "libvirt ended the migration of %s, and does not say why any more", j->plan.name);
    if (err->code == MIG_ERR_CANCELLED && !told)
        err->code = MIG_ERR_FAILED; /* somebody ended libvirt's job, by virsh or so */
    if (!err->hint[0] && (j->plan.flags & VIR_MIGRATE_TLS) && strstr(err->message, "TLS"))
        mig_error_hint(err,
                       "migrations by TLS want certificates in /etc/pki/qemu on both hosts; Security= in "
                       "migd.conf asks for TLS");
}

static void tell_left(struct vm_job *j, const char *word, const struct mig_error *what, struct mig_error *err)
{
    size_t n = strlen(err->message);
    snprintf(err->message + n, sizeof err->message - n, "; %s", what->message);
    mig_error_hint(err, "%s", what->hint);
    migration_set_verdict(j->migration, "%s: the workload runs on here, and %s", word, what->message);
}

static void failed(struct vm_job *j, bool asked)
{
    struct mig_error err = MIG_ERROR_INIT, what = MIG_ERROR_INIT;
    explain(j, &err);
    if (!j->taken_up && !j->moved) /* else it is only now that its outcome is asked for */
        migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    enum vm_place place = asked ? vm_outcome(j, &what) : VM_HERE;
    if (place == VM_THERE) {
        completed(j);
        return;
    }
    migration_set_paused(j->migration, place == VM_UNKNOWN);
    if (place == VM_UNKNOWN) {
        migration_set_verdict(j->migration, "Not known where %s runs: %s", j->plan.name, what.message);
        mig_error_hint(&err,
                       "look with virsh on both hosts, then migctl resolve %.8s --run if it runs here, "
                       "--drop if it runs there",
                       migration_id(j->migration));
        if (what.hint[0])
            mig_error_hint(&err, "%s", what.hint);
        end_as(j, MIG_STATE_IN_DOUBT, &err);
        return;
    }
    const char *word = err.code == MIG_ERR_CANCELLED ? "Cancelled" : "Failed";
    if (place == VM_NOWHERE)
        migration_set_verdict(j->migration, "%s: %s runs at neither host, its QEMU has ended", word,
                              j->plan.name);
    else if (mig_error_is_set(&what))
        tell_left(j, word, &what, &err);
    else
        migration_set_verdict(j->migration, "%s: the workload runs on here", word);
    end_as(j, err.code == MIG_ERR_CANCELLED ? MIG_STATE_CANCELLED : MIG_STATE_FAILED, &err);
}

static void run_call(struct vm_job *j)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (begin_call(j, &err) < 0) {
        j->call.error = err;
        failed(j, false);
        return;
    }
    vm_watch(j);
    vm_call_wait(&j->call);
    j->moved = j->call.result == 0;
    if (j->moved && (!j->plan.resume || j->resumed_usec))
        completed(j);
    else
        failed(j, true);
}

/* Nobody waits for libvirt's answer any more: when its job is over, the two hosts are asked what came of it.
 */
static void run_taken_up(struct vm_job *j)
{
    migration_set_phase(j->migration, MIG_PHASE_FULL_SEND);
    j->began_usec = now_usec();
    vm_watch(j);
    failed(j, true);
}

void vm_job_run(struct vm_job *j)
{
    struct mig_error err = MIG_ERROR_INIT;
    int r = set_up(j, &err);
    if (r < 0 && !j->taken_up) {
        j->call.error = err;
        failed(j, false);
    } else if (j->taken_up) {
        run_taken_up(j);
    } else {
        run_call(j);
    }
    clear(j);
}
