/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm/controller-libvirt.h"
#include "base/clock.h"
#include "base/fds.h"
#include "vmm/qemu-commands.h"
#include <stdio.h>
#include <string.h>

#define LOOK_INTERVAL_USEC (2 * USEC_PER_MSEC)
#define PAUSED_TIMES       4

struct controller_libvirt {
    struct controller c;
    uint64_t timeout_usec;
    void (*barrier)(const char *domain, void *userdata);
    void *userdata;
    char domain[64], path[108];
};

static struct controller_libvirt *from_base(struct controller *c)
{
    return CONTAINER_OF(c, struct controller_libvirt, c);
}

static uint64_t sooner(const struct controller_libvirt *l, uint64_t deadline_usec)
{
    return MIN(deadline_usec, deadline_in(l->timeout_usec));
}

static int ask(struct qmp *q, char *word, size_t size, uint64_t deadline_usec, struct mig_error *err)
{
    return qemu_ask_status(q, "query-status", word, size, deadline_usec, err);
}

static bool waits_for_migration(const char *word)
{
    return strcmp(word, "inmigrate") == 0;
}

static int op_pause(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    struct controller_libvirt *l = from_base(c);
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    deadline_usec = sooner(l, deadline_usec);
    int r = qmp_open(&q, l->path, deadline_usec, err);
    if (r == 0)
        r = qemu_ignore_shared(q, true, deadline_usec, err);
    return r < 0 ? r : qmp_call(q, "stop", NULL, -1, deadline_usec, NULL, err);
}

/* Where libvirt did not bring the guest to life, it must not come to life by itself either. */
static int end_for_certain(struct controller_libvirt *l, struct qmp *q, struct mig_error *err)
{
    (void)qmp_call(q, "quit", NULL, -1, deadline_in(l->timeout_usec), NULL, NULL);
    int r = mig_error_set(err, MIG_ERR_CONTROLLER_TIMEOUT, 0,
                          "libvirt did not bring %s to life in time; its QEMU here was ended", l->domain);
    mig_error_hint(err, "libvirt at the source says what stopped it");
    return r;
}

/* A guest that arrives stands still until migd at the source lets it run, or has libvirt end it here because
 * it went on there. One that libvirt was told to leave paused looks the same, and is taken for alive when
 * neither has come for several times as long. */
static int await_life(struct controller_libvirt *l, struct qmp *q, uint64_t deadline_usec,
                      struct mig_error *err)
{
    uint64_t begun_usec = now_usec();
    uint64_t patient_usec = deadline_usec + PAUSED_TIMES * (deadline_usec - MIN(begun_usec, deadline_usec));
    for (;;) {
        char word[40];
        int r = ask(q, word, sizeof word, deadline_in(l->timeout_usec), err);
        if (r < 0)
            return mig_error_wrap(err, "libvirt gave the arrival of %s up", l->domain);
        if (strcmp(word, "running") == 0)
            return 0;
        bool paused = strcmp(word, "paused") == 0;
        if (now_usec() >= (paused ? patient_usec : deadline_usec))
            return paused ? 0 : end_for_certain(l, q, err);
        fd_wait(-1, 0, -1, deadline_in(LOOK_INTERVAL_USEC));
    }
}

static int come_to_life(struct controller_libvirt *l, struct qmp *q, uint64_t deadline_usec,
                        struct mig_error *err)
{
    int r = qemu_ignore_shared(q, true, sooner(l, deadline_usec), err);
    if (r < 0)
        return r;
    if (l->barrier)
        l->barrier(l->domain, l->userdata);
    r = await_life(l, q, deadline_usec, err);
    if (r == 0)
        qemu_heed_shared(q, deadline_in(l->timeout_usec));
    return r;
}

static int op_resume(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    struct controller_libvirt *l = from_base(c);
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    char word[40];
    uint64_t soon_usec = sooner(l, deadline_usec);
    int r = qmp_open(&q, l->path, soon_usec, err);
    if (r == 0)
        r = ask(q, word, sizeof word, soon_usec, err);
    if (r < 0)
        return r;
    if (waits_for_migration(word))
        return come_to_life(l, q, deadline_usec, err);
    if (c->arrives) { /* a migd before this one let it go on; what libvirt has not decided is not for migd */
        r = await_life(l, q, deadline_usec, err);
        qemu_heed_shared(q, deadline_in(l->timeout_usec));
        return r;
    }
    r = qmp_call(q, "cont", NULL, -1, soon_usec, NULL, err);
    qemu_heed_shared(q, soon_usec);
    return r;
}

static int op_alive(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    struct controller_libvirt *l = from_base(c);
    return qemu_command(l->path, "query-status", sooner(l, deadline_usec), err);
}

static void op_destroy(struct controller *c)
{
    free(from_base(c));
}

static const struct controller_ops ops = {
    .kind = "libvirt",
    .resume_settles = true,
    .pause = op_pause,
    .resume = op_resume,
    .alive = op_alive,
    .destroy = op_destroy,
};

int controller_new_libvirt(struct controller **ret, const char *domain, const char *path,
                           uint64_t timeout_usec, void (*barrier)(const char *domain, void *userdata),
                           void *userdata, struct mig_error *err)
{
    struct controller_libvirt *l;
    if (path[0] != '/' || strlen(path) >= sizeof l->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "\"%.120s\" is not the absolute path of a UNIX socket", path);
    l = calloc(1, sizeof *l);
    if (!l)
        return mig_error_oom(err);
    l->c = (struct controller){.ops = &ops, .refs = 1};
    l->timeout_usec = timeout_usec;
    l->barrier = barrier;
    l->userdata = userdata;
    snprintf(l->domain, sizeof l->domain, "%s", domain);
    snprintf(l->path, sizeof l->path, "%s", path);
    *ret = &l->c;
    return 0;
}
