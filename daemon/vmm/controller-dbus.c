/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ops run on worker threads, the bus belongs to the main thread. So an op makes a `call`, posts it, and waits
 * for its end on a condition variable until the deadline. The call has two owners, the worker and the main
 * thread: whichever ends last frees it, so that an answer that comes after the worker has given up finds
 * memory that is still there and changes nothing.
 */
#include "vmm/controller-dbus.h"
#include "base/clock.h"
#include "base/fds.h"
#include "loop/loop.h"
#include "migd-bus.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>

struct controller_dbus {
    struct controller c;
    struct loop *loop;
    sd_bus *bus;
    uint64_t timeout_usec;
    char bus_name[256];
    char path[256];
};

struct call {
    unsigned refs; /* atomic */
    sd_bus *bus;
    char bus_name[256];
    char path[256];
    const char *interface, *method;
    int fd; /* own; -1: the method takes none */
    uint64_t deadline_usec;
    uint64_t given_usec; /* how long it may take, for messages */
    sd_bus_slot *slot;   /* main thread */

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t cond;
    bool ended;
    int result;
    struct mig_error error;
};

static struct call *call_unref(struct call *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    close_fd(&c->fd);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->cond);
    free(c);
    return NULL;
}

static void end_call(struct call *c, int result, const struct mig_error *error)
{
    pthread_mutex_lock(&c->lock);
    if (!c->ended) {
        c->ended = true;
        c->result = result;
        if (error)
            c->error = *error;
        pthread_cond_signal(&c->cond);
    }
    pthread_mutex_unlock(&c->lock);
}

static int timed_out(const struct call *c, struct mig_error *e)
{
    int r = mig_error_set(e, MIG_ERR_CONTROLLER_TIMEOUT, 0, "the VMM at %s did not answer %s within %.1f s",
                          c->bus_name, c->method, (double)c->given_usec / USEC_PER_SEC);
    mig_error_hint(e, "see whether it hangs; SetController takes a longer timeout");
    return r;
}

struct meaning {
    const char *name;
    const char *message; /* takes bus name, method */
    const char *hint;
};

static const struct meaning meanings[] = {
    {SD_BUS_ERROR_NO_REPLY, "the VMM at %s left the bus during %s", "see the VMM's own log for why it ended"},
    {SD_BUS_ERROR_DISCONNECTED, "the connection to the bus ended while the VMM at %s was asked for %s",
     "see whether the bus still runs"},
    {SD_BUS_ERROR_SERVICE_UNKNOWN, "there is no VMM at bus name %s to answer %s",
     "start it, or name the right bus name with SetController"},
    {SD_BUS_ERROR_NAME_HAS_NO_OWNER, "there is no VMM at bus name %s to answer %s",
     "start it, or name the right bus name with SetController"},
    {SD_BUS_ERROR_UNKNOWN_METHOD, "the VMM at %s does not know %s",
     "it must export " MIGD_IFACE_VMM " at the path given to SetController"},
    {SD_BUS_ERROR_UNKNOWN_OBJECT, "the VMM at %s has no object to answer %s",
     "it must export " MIGD_IFACE_VMM " at the path given to SetController"},
    {SD_BUS_ERROR_UNKNOWN_INTERFACE, "the VMM at %s lacks the interface for %s",
     "it must export " MIGD_IFACE_VMM " at the path given to SetController"},
    {SD_BUS_ERROR_ACCESS_DENIED, "the VMM at %s may not be asked for %s",
     "the bus policy must let migd call " MIGD_IFACE_VMM " there"},
};

static int understand(const struct call *c, const sd_bus_error *answer, struct mig_error *e)
{
    /* sd-bus calls its own timeout NoReply in some versions; before the deadline that name means that the VMM
     * is gone. */
    if (sd_bus_error_has_name(answer, SD_BUS_ERROR_TIMEOUT) ||
        (sd_bus_error_has_name(answer, SD_BUS_ERROR_NO_REPLY) && now_usec() >= c->deadline_usec))
        return timed_out(c, e);
    for (size_t i = 0; i < ELEMENTS(meanings); i++) {
        if (!sd_bus_error_has_name(answer, meanings[i].name))
            continue;
        int r = mig_error_set(e, MIG_ERR_CONTROLLER, 0, meanings[i].message, c->bus_name, c->method);
        mig_error_hint(e, "%s", meanings[i].hint);
        return r;
    }
    int r = mig_error_set(e, MIG_ERR_CONTROLLER, 0, "the VMM at %s answered %s with %s: %.200s", c->bus_name,
                          c->method, answer->name, answer->message ? answer->message : "(no text)");
    mig_error_hint(e, "the VMM's own log says more");
    return r;
}

/* A VMM without such a method has nothing to do there. */
static bool is_optional(const char *method)
{
    return strcmp(method, "StartLog") == 0 || strcmp(method, "StopLog") == 0;
}

/* Main thread: the answer, or what stands for it. */
static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ignored)
{
    struct call *c = userdata;
    const sd_bus_error *answer = sd_bus_message_get_error(m);
    if (answer && !(is_optional(c->method) && sd_bus_error_has_name(answer, SD_BUS_ERROR_UNKNOWN_METHOD))) {
        struct mig_error e = MIG_ERROR_INIT;
        int r = understand(c, answer, &e);
        end_call(c, r, &e);
    } else
        end_call(c, 0, NULL);
    c->slot = sd_bus_slot_unref(c->slot);
    call_unref(c);
    return 0;
}

static int send_call(struct call *c, uint64_t timeout_usec)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(c->bus, &m, c->bus_name, c->path, c->interface, c->method);
    if (r >= 0)
        r = sd_bus_message_set_auto_start(m, false);
    if (r >= 0 && c->fd >= 0)
        r = sd_bus_message_append(m, "h", c->fd);
    if (r >= 0 && strcmp(c->interface, MIGD_IFACE_VMM) == 0)
        r = sd_bus_message_append(m, "a{sv}", 0);
    if (r >= 0)
        r = sd_bus_call_async(c->bus, &c->slot, m, on_answer, c, timeout_usec);
    return r;
}

/* Main thread. */
static void start_call(void *userdata)
{
    struct call *c = userdata;
    uint64_t now = now_usec();
    if (now < c->deadline_usec) {
        int r = send_call(c, c->deadline_usec - now);
        if (r >= 0)
            return;
        struct mig_error e = MIG_ERROR_INIT;
        r = mig_error_set(&e, MIG_ERR_CONTROLLER, -r, "cannot send %s to the VMM at %s: %s", c->method,
                          c->bus_name, strerror(-r));
        end_call(c, r, &e);
    }
    call_unref(c);
}

static int new_call(struct call **ret, struct controller_dbus *d, const char *interface, const char *method,
                    int fd, uint64_t deadline_usec)
{
    struct call *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    uint64_t now = now_usec();
    c->deadline_usec = MIN(deadline_usec, deadline_in(d->timeout_usec));
    c->given_usec = c->deadline_usec > now ? c->deadline_usec - now : 0;
    c->refs = 2;
    c->bus = d->bus;
    c->interface = interface;
    c->method = method;
    snprintf(c->bus_name, sizeof c->bus_name, "%s", d->bus_name);
    snprintf(c->path, sizeof c->path, "%s", d->path);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&c->lock, NULL);
    c->fd = fd < 0 ? -1 : fd_dup(fd);
    int r = fd >= 0 && c->fd < 0 ? c->fd : loop_post(d->loop, start_call, c);
    if (r < 0) {
        c->refs = 1;
        call_unref(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* The worker's side of a call. */
static int call_member(struct controller *controller, const char *interface, const char *method, int fd,
                       uint64_t deadline_usec, struct mig_error *err)
{
    struct controller_dbus *d = CONTAINER_OF(controller, struct controller_dbus, c);
    struct call *c;
    int r = new_call(&c, d, interface, method, fd, deadline_usec);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, -r, "cannot ask the VMM at %s for %s: %s", d->bus_name,
                             method, strerror(-r));
    const struct timespec until = {
        .tv_sec = (time_t)(c->deadline_usec / USEC_PER_SEC),
        .tv_nsec = (long)(c->deadline_usec % USEC_PER_SEC * 1000),
    };
    pthread_mutex_lock(&c->lock);
    while (!c->ended && pthread_cond_timedwait(&c->cond, &c->lock, &until) != ETIMEDOUT)
        ;
    bool ended = c->ended;
    c->ended = true; /* what comes now is too late */
    r = c->result;
    if (ended && r < 0 && err)
        *err = c->error;
    pthread_mutex_unlock(&c->lock);
    if (!ended)
        r = timed_out(c, err);
    call_unref(c);
    return r;
}

static int call_vmm(struct controller *c, const char *method, int fd, uint64_t deadline_usec,
                    struct mig_error *err)
{
    return call_member(c, MIGD_IFACE_VMM, method, fd, deadline_usec, err);
}

/* Every bus library answers Ping by itself. */
static int dbus_alive(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return call_member(c, "org.freedesktop.DBus.Peer", "Ping", -1, deadline_usec, err);
}

static int dbus_pause(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return call_vmm(c, "Pause", -1, deadline_usec, err);
}

static int dbus_resume(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return call_vmm(c, "Resume", -1, deadline_usec, err);
}

static int dbus_save(struct controller *c, uint64_t deadline_usec, int *ret_fd, struct mig_error *err)
{
    const char *bus_name = CONTAINER_OF(c, struct controller_dbus, c)->bus_name;
    _cleanup_close_ int fd = memfd_create("migd-vmm-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, errno, "cannot make a memfd for the VMM's state: %s",
                             strerror(errno));
    int r = call_vmm(c, "SaveState", fd, deadline_usec, err);
    if (r < 0)
        return r;
    /* The VMM still has a descriptor: from here on the size that was checked stays as it is. */
    struct stat st;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0 || fstat(fd, &st) < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, errno,
                             "cannot seal the state that the VMM at %s saved: %s", bus_name, strerror(errno));
    if ((uint64_t)st.st_size > CONTROLLER_STATE_MAX_BYTES) {
        r = mig_error_set(err, MIG_ERR_LIMIT, 0, "the VMM at %s saved %llu bytes of state; the limit is %llu",
                          bus_name, (unsigned long long)st.st_size,
                          (unsigned long long)CONTROLLER_STATE_MAX_BYTES);
        mig_error_hint(err, "guest memory does not belong into it: register it with AddMemory");
        return r;
    }
    *ret_fd = st.st_size > 0 ? TAKE_FD(fd) : -1;
    return 0;
}

static int dbus_start_log(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return call_vmm(c, "StartLog", -1, deadline_usec, err);
}

static int dbus_stop_log(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return call_vmm(c, "StopLog", -1, deadline_usec, err);
}

static int dbus_load(struct controller *c, int state_fd, uint64_t deadline_usec, struct mig_error *err)
{
    return call_vmm(c, "LoadState", state_fd, deadline_usec, err);
}

static void dbus_destroy(struct controller *c)
{
    free(CONTAINER_OF(c, struct controller_dbus, c));
}

static const struct controller_ops dbus_ops = {
    .kind = "dbus",
    .pause = dbus_pause,
    .resume = dbus_resume,
    .save = dbus_save,
    .load = dbus_load,
    .start_log = dbus_start_log,
    .stop_log = dbus_stop_log,
    .alive = dbus_alive,
    .destroy = dbus_destroy,
};

int controller_new_dbus(struct controller **ret, struct loop *loop, struct sd_bus *bus, const char *bus_name,
                        const char *path, uint64_t timeout_usec, struct mig_error *err)
{
    if (strlen(bus_name) > 255 || !sd_bus_service_name_is_valid(bus_name))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.100s\" is not a bus name", bus_name);
    if (strlen(path) > 255 || !sd_bus_object_path_is_valid(path)) {
        int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.100s\" is not an object path", path);
        mig_error_hint(err, "it looks like /org/example/Vmm");
        return r;
    }
    if (timeout_usec == 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "a timeout of 0 leaves the VMM no time to answer");
    struct controller_dbus *d = calloc(1, sizeof *d);
    if (!d)
        return mig_error_oom(err);
    d->c = (struct controller){.ops = &dbus_ops, .refs = 1};
    d->loop = loop;
    d->bus = bus;
    d->timeout_usec = timeout_usec;
    snprintf(d->bus_name, sizeof d->bus_name, "%s", bus_name);
    snprintf(d->path, sizeof d->path, "%s", path);
    *ret = &d->c;
    return 0;
}
