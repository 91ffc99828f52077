/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-carry.h"
#include "base/fds.h"
#include "base/log.h"
#include "base/hex.h"
#include "libvirt/vm-job.h"
#include "libvirt/vm-record.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define TICK_MSEC 20
/* How often the outcome is asked for of what another daemon began: libvirt may be far from its end. */
#define ATTEMPTS 10u

struct vm_carry {
    unsigned refs; /* atomic: of the thread, and of who began it */
    struct vm_record record;
    char runtime_dir[256];
    struct vm_job job; /* without a migration: what both sides are asked with */
    bool taken_up;
    int end_fd;
    int result; /* of these two, what stands when end_fd is readable stays */
    struct mig_error error;
};

static void unref(struct vm_carry *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        return;
    struct vm_job *j = &c->job;
    vm_call_end(&j->call);
    vm_there_close(&j->there);
    virt_link_free(j->link);
    vm_process_close(&j->process);
    close_fd(&c->end_fd);
    free(c);
}

static void tell(struct vm_carry *c, int result, const struct mig_error *err)
{
    c->result = result;
    if (err)
        c->error = *err;
    eventfd_write(c->end_fd, 1);
}

/* ---- on the thread ---- */

static void watch(struct vm_job *j)
{
    bool ended = false;
    for (struct pollfd p[2] = {{.fd = j->call.end_fd, .events = POLLIN}}; !p[0].revents;) {
        p[1] = (struct pollfd){.fd = ended ? -1 : j->process.pidfd, .events = POLLIN};
        poll(p, ELEMENTS(p), TICK_MSEC);
        ended |= vm_process_has_ended(&j->process);
        if (ended && j->plan.resume && !j->resumed_usec)
            vm_hand_over(j);
        else
            vm_there_keep(&j->there);
    }
    vm_call_wait(&j->call);
}

static enum vm_place settle(struct vm_carry *c, struct mig_error *what)
{
    enum vm_place place = vm_outcome(&c->job, what);
    for (unsigned n = 1; place == VM_UNKNOWN && c->taken_up && n < ATTEMPTS; n++)
        place = vm_outcome(&c->job, what);
    if (place == VM_UNKNOWN || mig_error_is_set(what))
        log_mig_error(LOG_ERR, &(struct log_fields){.domain = c->job.plan.name}, what,
                      "What libvirt made of the migration is not as it should be");
    return place;
}

static void *carry(void *userdata)
{
    struct vm_carry *c = userdata;
    struct vm_job *j = &c->job;
    struct mig_error what = MIG_ERROR_INIT;
    enum vm_place place = VM_THERE;
    if (!c->taken_up)
        watch(j);
    j->moved = !c->taken_up && j->call.result == 0;
    if (!j->moved)
        tell(c, -1, &j->call.error);
    if (!j->moved || (j->plan.resume && !j->resumed_usec))
        place = settle(c, &what);
    if (place != VM_UNKNOWN)
        vm_record_remove(c->runtime_dir, c->record.id);
    if (j->moved)
        tell(c, place == VM_THERE ? 0 : -1, &what);
    unref(c);
    return NULL;
}

/* ---- whoever begins it ---- */

static int start(struct vm_carry *c, struct mig_error *err)
{
    pthread_t thread;
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    int r = pthread_create(&thread, NULL, carry, c);
    if (r) {
        unref(c);
        return mig_error_set(err, MIG_ERR_NO_MEMORY, r, "cannot start a thread: %s", strerror(r));
    }
    pthread_detach(thread);
    return 0;
}

static int carry_new(struct vm_carry **ret, const struct vm_record *record, const struct hook *hook,
                     const char *runtime_dir, struct mig_error *err)
{
    struct vm_carry *c = calloc(1, sizeof *c);
    if (!c)
        return mig_error_oom(err);
    const struct vm_plan *p = &record->plan;
    c->refs = 1;
    c->record = *record;
    snprintf(c->runtime_dir, sizeof c->runtime_dir, "%s", runtime_dir);
    c->end_fd = eventfd(0, EFD_CLOEXEC);
    c->job = (struct vm_job){.plan = *p,
                             .process = vm_process_open(hook, p->name, p->uuid),
                             .there = {.plan = &c->job.plan},
                             .call = {.end_fd = -1}};
    if (c->end_fd < 0) {
        unref(c);
        return mig_error_set(err, MIG_ERR_FAILED, errno, "no event descriptor: %s", strerror(errno));
    }
    *ret = c;
    return 0;
}

int vm_carry_begin(struct vm_carry **ret, const struct vm_plan *plan, const struct hook *hook,
                   const char *runtime_dir, struct mig_error *err)
{
    struct vm_record record = {.plan = *plan};
    struct vm_carry *c = NULL;
    if (hex_random(record.id, 32) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, EIO, "no random number");
    int r = carry_new(&c, &record, hook, runtime_dir, err);
    if (r < 0)
        return r;
    r = vm_there_open(&c->job.there, err);
    if (r == 0)
        r = vm_record_write(runtime_dir, &record, err);
    if (r == 0)
        r = vm_call_begin(&c->job.call, &c->job.plan, err);
    if (r == 0)
        r = start(c, err);
    if (r < 0) {
        vm_record_remove(runtime_dir, record.id);
        unref(c);
        return r;
    }
    *ret = c;
    return 0;
}

int vm_carry_fd(const struct vm_carry *c)
{
    return c->end_fd;
}

int vm_carry_result(const struct vm_carry *c, struct mig_error *err)
{
    if (c->result < 0)
        *err = c->error;
    return c->result;
}

struct vm_carry *vm_carry_let_go(struct vm_carry *c)
{
    if (c)
        unref(c);
    return NULL;
}

void vm_carry_recover(const struct hook *hook, const char *runtime_dir)
{
    struct vm_record *records;
    size_t n;
    if (vm_record_list(runtime_dir, &records, &n) < 0)
        return; /* vm_engine_recover has said so */
    for (size_t i = 0; i < n; i++) {
        struct mig_error err = MIG_ERROR_INIT;
        struct vm_carry *c;
        if (!records[i].plan.native)
            continue;
        if (carry_new(&c, &records[i], hook, runtime_dir, &err) < 0)
            continue;
        c->taken_up = true;
        if (start(c, &err) < 0)
            log_mig_error(LOG_ERR, &(struct log_fields){.domain = records[i].plan.name}, &err,
                          "libvirt's part of its migration cannot be taken up");
        unref(c);
    }
    free(records);
}
