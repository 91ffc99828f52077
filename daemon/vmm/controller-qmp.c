/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm/controller-qmp.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "vmm/qemu-commands.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define STATE_FD "migd-state" /* as QEMU calls what getfd gives it */
/* Nothing of what it sends is RAM worth speaking of, and the guest stands still: as fast as it can. */
#define STATE_BYTES_PER_SEC UINT64_C(1000000000000)

struct controller_qmp {
    struct controller c;
    uint64_t timeout_usec;
    char path[108];
};

static struct controller_qmp *from_base(struct controller *c)
{
    return CONTAINER_OF(c, struct controller_qmp, c);
}

static int open_monitor(struct controller *c, uint64_t *deadline_usec, struct qmp **ret,
                        struct mig_error *err)
{
    struct controller_qmp *q = from_base(c);
    *deadline_usec = MIN(*deadline_usec, deadline_in(q->timeout_usec));
    return qmp_open(ret, q->path, *deadline_usec, err);
}

static int run_command(struct controller *c, const char *command, uint64_t deadline_usec,
                       struct mig_error *err)
{
    struct controller_qmp *q = from_base(c);
    return qemu_command(q->path, command, MIN(deadline_usec, deadline_in(q->timeout_usec)), err);
}

/* QEMU answers `stop` when no vCPU runs and all I/O that it had begun has ended. */
static int op_pause(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return run_command(c, "stop", deadline_usec, err);
}

static int op_resume(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return run_command(c, "cont", deadline_usec, err);
}

static int op_alive(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return run_command(c, "query-status", deadline_usec, err);
}

static int op_depart(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return run_command(c, "quit", deadline_usec, err);
}

/* ---- the state ---- */

static int set_bandwidth(struct qmp *q, uint64_t deadline_usec, struct mig_error *err)
{
    struct json_object *o = json_object_new_object();
    if (!o || json_add_u64(o, "max-bandwidth", STATE_BYTES_PER_SEC) < 0) {
        json_object_put(o);
        return mig_error_oom(err);
    }
    return qmp_call(q, "migrate-set-parameters", o, -1, deadline_usec, NULL, err);
}

static int pass_fd(struct qmp *q, int fd, uint64_t deadline_usec, struct mig_error *err)
{
    struct json_object *o = qmp_argument("fdname", STATE_FD);
    return o ? qmp_call(q, "getfd", o, fd, deadline_usec, NULL, err) : mig_error_oom(err);
}

static int begin(struct qmp *q, const char *command, int fd, uint64_t deadline_usec, struct mig_error *err)
{
    int r = qemu_ignore_shared(q, true, deadline_usec, err);
    if (r == 0)
        r = pass_fd(q, fd, deadline_usec, err);
    struct json_object *o = r == 0 ? qmp_argument("uri", "fd:" STATE_FD) : NULL;
    if (r == 0 && !o)
        return mig_error_oom(err);
    return r < 0 ? r : qmp_call(q, command, o, -1, deadline_usec, NULL, err);
}

/* Until the migration that `begin` began is over. It takes milliseconds. */
static int await(struct qmp *q, uint64_t deadline_usec, struct mig_error *err)
{
    for (;;) {
        char word[40];
        int r = qemu_ask_status(q, "query-migrate", word, sizeof word, deadline_usec, err);
        if (r < 0 || strcmp(word, "completed") == 0)
            return r;
        if (strcmp(word, "failed") == 0 || strcmp(word, "cancelled") == 0)
            return mig_error_set(err, MIG_ERR_CONTROLLER, 0, "the state of QEMU at %s: its migration %s",
                                 qmp_path(q), word);
        if (now_usec() >= deadline_usec)
            return mig_error_set(err, MIG_ERR_CONTROLLER_TIMEOUT, 0,
                                 "QEMU at %s did not come to the end of its state in time (it says \"%s\")",
                                 qmp_path(q), word);
        fd_wait(-1, 0, -1, deadline_in(USEC_PER_MSEC));
    }
}

/* What is told to nobody: the failure before it is. */
static void undo(struct qmp *q, bool cancel, uint64_t deadline_usec)
{
    if (cancel)
        (void)qmp_call(q, "migrate_cancel", NULL, -1, deadline_usec, NULL, NULL);
    qemu_heed_shared(q, deadline_usec);
}

static int seal(struct controller *c, int fd, struct mig_error *err)
{
    struct stat st;
    const char *path = from_base(c)->path;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0 || fstat(fd, &st) < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, errno, "cannot seal the state of QEMU at %s: %s", path,
                             strerror(errno));
    if (st.st_size > 0 && (uint64_t)st.st_size <= CONTROLLER_STATE_MAX_BYTES)
        return 0;
    int r =
        mig_error_set(err, MIG_ERR_LIMIT, 0, "QEMU at %s saved %llu bytes of state; the limit is %llu", path,
                      (unsigned long long)st.st_size, (unsigned long long)CONTROLLER_STATE_MAX_BYTES);
    mig_error_hint(err, "RAM that QEMU does not leave out is in it: all of it must be shared and in files "
                        "(newer QEMU leaves out memory-backend-file only)");
    return r;
}

static int op_save(struct controller *c, uint64_t deadline_usec, int *ret_fd, struct mig_error *err)
{
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    _cleanup_close_ int fd = memfd_create("migd-qemu-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, errno, "cannot make a memfd for QEMU's state: %s",
                             strerror(errno));
    int r = open_monitor(c, &deadline_usec, &q, err);
    if (r == 0)
        r = set_bandwidth(q, deadline_usec, err);
    if (r < 0)
        return r;
    r = begin(q, "migrate", fd, deadline_usec, err);
    if (r == 0)
        r = await(q, deadline_usec, err);
    undo(q, r < 0, deadline_usec);
    if (r == 0)
        r = seal(c, fd, err);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* The source was paused before it was saved, so QEMU does not run when it has loaded. */
static int op_load(struct controller *c, int state_fd, uint64_t deadline_usec, struct mig_error *err)
{
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    char word[40] = "";
    int r = open_monitor(c, &deadline_usec, &q, err);
    if (r == 0)
        r = qemu_ask_status(q, "query-status", word, sizeof word, deadline_usec, err);
    if (r == 0 && strcmp(word, "inmigrate") != 0) {
        r = mig_error_set(err, MIG_ERR_CONTROLLER, 0, "QEMU at %s does not wait for a migration: it is %s",
                          qmp_path(q), word);
        mig_error_hint(err, "start the destination's QEMU with -incoming defer");
    }
    if (r < 0)
        return r;
    if (lseek(state_fd, 0, SEEK_SET) < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, errno, "the state of QEMU cannot be read: %s",
                             strerror(errno));
    r = begin(q, "migrate-incoming", state_fd, deadline_usec, err);
    if (r == 0)
        r = await(q, deadline_usec, err);
    if (r < 0)
        return mig_error_wrap(err, "loading the state");
    undo(q, false, deadline_usec);
    return 0;
}

static void op_destroy(struct controller *c)
{
    free(from_base(c));
}

static const struct controller_ops ops = {
    .kind = "qmp",
    .pause = op_pause,
    .resume = op_resume,
    .save = op_save,
    .load = op_load,
    .alive = op_alive,
    .depart = op_depart,
    .destroy = op_destroy,
};

int controller_new_qmp(struct controller **ret, const char *path, uint64_t timeout_usec,
                       struct mig_error *err)
{
    if (path[0] != '/' || strlen(path) >= sizeof((struct controller_qmp *)0)->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "\"%.120s\" is not the absolute path of a UNIX socket", path);
    if (timeout_usec == 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "a timeout of 0 leaves QEMU no time to answer");
    struct controller_qmp *q = calloc(1, sizeof *q);
    if (!q)
        return mig_error_oom(err);
    q->c = (struct controller){.ops = &ops, .refs = 1};
    q->timeout_usec = timeout_usec;
    snprintf(q->path, sizeof q->path, "%s", path);
    *ret = &q->c;
    return 0;
}
