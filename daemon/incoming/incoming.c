/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer listener, and incoming migrations towards the rest of the daemon: a HELLO finds its domain, gets a
 * session with a worker, and further connections are attached to it.
 */
#include "incoming/incoming.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "incoming/greeting.h"
#include "incoming/session.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define ACCEPT_REST_USEC USEC_PER_SEC
#define RECORDS_KEPT     256

struct incoming {
    struct greeter greeter; /* first: its threads may outlive a sloppy order of teardown otherwise */
    struct loop *loop;
    struct registry *registry;
    char *runtime_dir;
    char *address;
    int listen_fd;
    struct loop_io *io;
    struct loop_timer *rest; /* without descriptors accepting would only spin */
    struct incoming_callbacks callbacks;
    struct engine **engines; /* sessions whose connections may still come */
    size_t nengines;
};

struct engine {
    struct incoming *incoming;
    struct session session;
    struct worker *worker;
    bool recovering, restored_broken;
    enum record_state recovered_state;
    _Atomic int resolution; /* 1 run, 2 drop */
    int cancel_fd;
    char problem[400];
    enum domain_state end_state;
    enum mig_state result;
    struct mig_error error;
};

/* Worker. */

static void end_as(struct engine *e, enum mig_state state, enum domain_state domain_state,
                   const struct mig_error *err)
{
    e->result = state;
    e->end_state = domain_state;
    e->error = err ? *err : MIG_ERROR_INIT;
}

static void drop(struct engine *e, struct mig_error *err)
{
    struct session *s = &e->session;
    migration_set_phase(s->migration, MIG_PHASE_ROLLBACK);
    session_drop(s, e->problem, sizeof e->problem);
    migration_set_verdict(s->migration, "Dropped: nothing ran here, the source owns the workload");
    end_as(e, err->code == MIG_ERR_CANCELLED ? MIG_STATE_CANCELLED : MIG_STATE_FAILED,
           e->problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_WAITING, err);
}

/* After the decision was taken for us, or taken back. */
static void conclude(struct engine *e, int r, struct mig_error *err)
{
    struct session *s = &e->session;
    if (r == -EINPROGRESS) {
        end_as(e, MIG_STATE_IN_DOUBT, DOMAIN_STATE_IN_DOUBT, err);
    } else if (r < 0 && s->accepted) { /* given back: the record keeps saying so until the source has asked */
        struct record rec;
        migration_set_phase(s->migration, MIG_PHASE_ROLLBACK);
        bool returned = record_read(s->runtime_dir, migration_id(s->migration), true, &rec) == 0 &&
                        rec.state == RECORD_RETURNED;
        migration_set_verdict(s->migration, returned
                                                ? "Given back: nothing ran here, the source runs the workload"
                                                : "Could not run the workload here");
        end_as(e, MIG_STATE_FAILED,
               returned && !e->restored_broken ? DOMAIN_STATE_WAITING : DOMAIN_STATE_BROKEN, err);
        if (!returned)
            snprintf(e->problem, sizeof e->problem, "%.399s", err->message);
    } else if (r < 0) {
        drop(e, err);
    } else {
        if (mig_error_is_set(err))
            snprintf(e->problem, sizeof e->problem, "%.399s", err->message);
        migration_set_verdict(s->migration, "Done: the workload runs here");
        end_as(e, MIG_STATE_COMPLETED, e->problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, NULL);
    }
}

/* The reason that a thread kept is better than "cancelled", which its wake-up looks like. */
static void prefer_failure(struct engine *e, struct mig_error *err)
{
    struct session *s = &e->session;
    pthread_mutex_lock(&s->lock);
    struct mig_error failure = s->failure;
    pthread_mutex_unlock(&s->lock);
    struct migration_status st;
    migration_get_status(s->migration, &st);
    if (st.cancel_requested)
        mig_error_set(err, MIG_ERR_CANCELLED, 0, "The migration of %s was cancelled at the destination",
                      s->domain->name);
    else if (mig_error_is_set(&failure) &&
             (!mig_error_is_set(err) || err->code == MIG_ERR_CANCELLED || err->code == MIG_ERR_PEER_LOST))
        *err = failure;
}

static int receive(struct engine *e, struct mig_error *err)
{
    struct session *s = &e->session;
    migration_set_phase(s->migration, MIG_PHASE_SETUP);
    int r = session_accept(s, err);
    if (r < 0) {
        s->control->cancel_fd = -1;
        dialogue_refuse(&s->control_stream, err);
        return r;
    }
    r = session_receive(s, err);
    if (r == 0)
        r = session_handover(s, &e->resolution, err);
    if (r < 0 && !s->accepted && r != -EINPROGRESS) {
        prefer_failure(e, err);
        s->control->cancel_fd = -1;
        pthread_mutex_lock(&s->send_lock);
        dialogue_abort(&s->control_stream, err);
        pthread_mutex_unlock(&s->send_lock);
    }
    return r;
}

/* The domain lost a part with the daemon that prepared it, and nothing has run: the source may have it back.
 */
static int give_back(struct engine *e, struct mig_error *err)
{
    struct session *s = &e->session;
    mig_error_set(err, MIG_ERR_RETURNED, 0, "Domain %s could not be restored whole: %.300s", s->domain->name,
                  e->problem);
    int r = session_write_record(s, RECORD_RETURNED, err);
    return r < 0 ? r : -EREMOTEIO;
}

static int recover(struct engine *e, struct mig_error *err)
{
    struct session *s = &e->session;
    s->devices_touched = true;
    if (e->recovered_state == RECORD_PREPARED) {
        s->prepared = true;
        migration_set_phase(s->migration, MIG_PHASE_PREPARED);
        int r = session_ask_decision(s, &e->resolution, err);
        if (r < 0)
            return r;
        s->accepted = true;
        if (e->restored_broken)
            return give_back(e, err);
        r = session_write_record(s, RECORD_ACCEPTED, err);
        if (r < 0)
            return r;
    } else {
        s->may_have_run = true;
    }
    s->accepted = true;
    migration_set_phase(s->migration, MIG_PHASE_ACCEPTED);
    return session_run_workload(s, err);
}

static int run(struct worker *w, void *userdata)
{
    struct engine *e = userdata;
    struct session *s = &e->session;
    struct mig_error err = MIG_ERROR_INIT;
    s->cancel_fd = e->cancel_fd;
    int r = e->recovering ? recover(e, &err) : receive(e, &err);
    if (r < 0 && !mig_error_is_set(&err))
        mig_error_set(&err, MIG_ERR_FAILED, -r, "%s", strerror(-r));
    conclude(e, r, &err);
    session_close(s);
    return r;
}

/* Main thread. */

static void forget_engine(struct incoming *in, struct engine *e)
{
    for (size_t i = 0; i < in->nengines; i++)
        if (in->engines[i] == e) {
            in->engines[i] = in->engines[--in->nengines];
            return;
        }
}

static void ended(void *userdata, int result)
{
    struct engine *e = userdata;
    struct session *s = &e->session;
    /* The migration stays visible, its thread and descriptors need not. */
    e->worker = worker_free(e->worker);
    close_fd(&s->wake_fd);
    close_fd(&e->cancel_fd);
    forget_engine(e->incoming, e);
    if (e->end_state == DOMAIN_STATE_RUNNING ||
        (e->result == MIG_STATE_COMPLETED && e->end_state == DOMAIN_STATE_BROKEN))
        s->domain->incoming = false;
    domain_set_state(s->domain, e->end_state, e->problem[0] ? e->problem : NULL);
    /* After the state: it looks whether the devices still live, and has the last word. */
    domain_give_back(s->domain);
    record_trim(e->incoming->runtime_dir, RECORDS_KEPT);
    if (s->source_knows) /* not before the domain was saved as running */
        record_remove(s->runtime_dir, migration_id(s->migration), true);
    const struct log_fields fields = {.domain = s->domain->name, .migration = migration_id(s->migration)};
    if (mig_error_is_set(&e->error))
        log_mig_error(LOG_ERR, &fields, &e->error, "Incoming migration ended");
    else
        log_write(LOG_NOTICE, &fields, "Incoming migration of %s completed: it runs here", s->domain->name);
    s->domain = domain_unref(s->domain);
    migration_end(s->migration, e->result, mig_error_is_set(&e->error) ? &e->error : NULL);
    migration_unref(s->migration); /* the worker's */
}

static void op_cancel(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (!e->worker) /* it has ended */
        return;
    eventfd_write(e->cancel_fd, 1);
    eventfd_write(e->session.wake_fd, 1);
}

static void op_shutdown(struct migration *m, void *engine)
{
    struct engine *e = engine;
    op_cancel(m, e);
    if (!e->worker)
        return;
    e->worker = worker_free(e->worker);
    e->session.domain = domain_unref(e->session.domain);
    migration_unref(m); /* the worker's: its ending is told to nobody any more */
}

static int op_resolve(struct migration *m, void *engine, bool run_here, struct mig_error *err)
{
    struct engine *e = engine;
    log_warning("migration %s: the operator decided: %s", migration_id(m),
                run_here ? "run here" : "drop here");
    e->resolution = run_here ? 1 : 2;
    if (e->worker)
        eventfd_write(e->cancel_fd, 1);
    return 0;
}

static void op_destroy(struct migration *m, void *engine)
{
    struct engine *e = engine;
    struct session *s = &e->session;
    worker_free(e->worker);
    json_object_put(s->hello);
    close_fd(&s->wake_fd);
    close_fd(&e->cancel_fd);
    pthread_cond_destroy(&s->attached_cond);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->send_lock);
    free(e);
}

static void op_doubtful(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (e->session.domain)
        domain_set_state(e->session.domain, DOMAIN_STATE_IN_DOUBT,
                         "Prepared; the source's decision is not known, and nothing runs here");
}

static const struct migration_ops ops = {.doubtful = op_doubtful,
                                         .cancel = op_cancel,
                                         .shutdown = op_shutdown,
                                         .resolve = op_resolve,
                                         .destroy = op_destroy};

/* Takes nothing over on failure. */
static int new_engine(struct engine **ret, struct incoming *in, struct domain *d, const char *id,
                      const char *peer, struct mig_error *err)
{
    struct engine **more = realloc(in->engines, (in->nengines + 1) * sizeof(struct engine *));
    if (!more)
        return mig_error_oom(err);
    in->engines = more;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return mig_error_oom(err);
    struct session *s = &e->session;
    e->incoming = in;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->send_lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->attached_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->runtime_dir = in->runtime_dir;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct migration_options options;
    migration_options_init(&options);
    struct migration *m;
    int r = s->wake_fd < 0 || e->cancel_fd < 0
                ? -errno
                : migration_new(&m, in->loop, id, MIGRATION_INCOMING, d->name, peer, &options);
    if (r < 0) {
        close_fd(&s->wake_fd);
        close_fd(&e->cancel_fd);
        free(e);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot make a migration: %s", strerror(-r));
    }
    s->migration = m;
    migration_set_engine(m, &ops, e); /* from here on the engine goes with its migration */
    r = domain_borrow(d, migration_id(m), err);
    if (r < 0) {
        migration_unref(m);
        return r;
    }
    s->domain = domain_ref(d);
    *ret = e;
    return 0;
}

static int start_engine(struct incoming *in, struct engine *e, struct mig_error *err)
{
    struct session *s = &e->session;
    struct migration *m = s->migration;
    if (e->recovering)
        migration_forbid_cancel(m);
    migration_ref(m); /* the worker's */
    int r = worker_start(&e->worker, in->loop, "migd-in", run, ended, e);
    if (r < 0) {
        domain_give_back(s->domain);
        s->domain = domain_unref(s->domain);
        s->hello = NULL; /* stays with the caller */
        migration_unref(m);
        migration_unref(m);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot start a worker: %s", strerror(-r));
    }
    in->engines[in->nengines++] = e;
    if (in->callbacks.started)
        in->callbacks.started(m, in->callbacks.userdata);
    migration_unref(m); /* ours: the observer has taken its own */
    return 0;
}

static bool id_is_valid(const char *id)
{
    return strlen(id) == MIGRATION_ID_LEN && strspn(id, "0123456789abcdef") == MIGRATION_ID_LEN;
}

static struct engine *find_id(struct incoming *in, const char *id)
{
    for (size_t i = 0; i < in->nengines; i++)
        if (strcmp(migration_id(in->engines[i]->session.migration), id) == 0)
            return in->engines[i];
    return NULL;
}

/* channel and hello are taken over when 0 is returned. */
static int begin(struct incoming *in, struct channel *channel, const struct frame_stream *stream,
                 struct json_object *hello, struct mig_error *err)
{
    const char *id, *name;
    if (json_get_string(hello, "migration", &id) < 0 || json_get_string(hello, "domain", &name) < 0 ||
        !id_is_valid(id))
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO names no migration or no domain");
    struct domain *d = registry_find(in->registry, name);
    if (!d) {
        mig_error_set(err, MIG_ERR_NO_SUCH_DOMAIN, 0, "Domain %.63s is not registered at the destination",
                      name);
        mig_error_hint(err, "Register it there first: migctl register %.63s --incoming", name);
        return -ENOENT;
    }
    if (d->borrowed || (d->state != DOMAIN_STATE_WAITING && d->state != DOMAIN_STATE_DEPARTED)) {
        mig_error_set(err, MIG_ERR_WRONG_STATE, 0,
                      "Domain %s at the destination does not wait for a migration: it is %s%s%.300s", name,
                      domain_state_to_string(d->state), d->problem[0] ? ": " : "", d->problem);
        mig_error_hint(err, "An incoming domain is registered with migctl register %s --incoming", name);
        return -ESTALE;
    }
    /* An id names one migration for ever: another with the same would write and remove the record of the
     * first.
     */
    struct record known;
    if (find_id(in, id) || record_read(in->runtime_dir, id, true, &known) != -ENOENT)
        return mig_error_set(err, MIG_ERR_EXISTS, 0, "Migration %s has been here already", id);
    struct engine *e;
    int r = new_engine(&e, in, d, id, channel->peer, err);
    if (r < 0)
        return r;
    struct session *s = &e->session;
    s->control = channel;
    s->control_stream = *stream;
    s->control_stream.channel = channel;
    channel->cancel_fd = s->wake_fd;
    s->hello = hello;
    r = start_engine(in, e, err);
    if (r == 0) {
        /* A departed one, too, is incoming from now on: a successor must not take it for running. */
        d->incoming = true;
        domain_set_state(d, DOMAIN_STATE_RECEIVING, NULL);
    } else /* the engine is gone, and its session_close never ran: the caller still owns both */
        return r;
    return 0;
}

static struct engine *find_engine(struct incoming *in, const char *id, const char *token)
{
    struct engine *e = find_id(in, id);
    const char *own;
    return e && e->session.hello && json_get_string(e->session.hello, "token", &own) == 0 &&
                   strcmp(own, token) == 0
               ? e
               : NULL;
}

static int attach(struct incoming *in, struct channel *channel, const struct frame_stream *stream,
                  struct json_object *hello, struct mig_error *err)
{
    const char *id, *token, *role;
    uint64_t index;
    if (json_get_string(hello, "attach", &id) < 0 || json_get_string(hello, "token", &token) < 0 ||
        json_get_string(hello, "role", &role) < 0 || json_get_u64(hello, "index", &index) < 0)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "HELLO is neither a migration nor belongs to one");
    struct engine *e = find_engine(in, id, token);
    if (!e)
        return mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0,
                             "There is no such migration here, or the token is wrong");
    struct session *s = &e->session;
    bool state = strcmp(role, "state") == 0;
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_bool(o, "ok", true) < 0)
        return mig_error_oom(err);
    pthread_mutex_lock(&s->lock);
    struct session_connection *c = NULL;
    if (state && index == 0)
        c = &s->state_connection;
    else if (strcmp(role, "pages") == 0 && index < s->nconnections)
        c = &s->pages[index];
    if (c && (c->channel || s->closed))
        c = NULL;
    if (c) {
        channel->cancel_fd = -1;
        *c = (struct session_connection){
            .session = s, .channel = channel, .index = state ? 0 : (unsigned)index, .stream = *stream};
        c->stream.channel = channel;
        channel->stall_timeout_usec = 0;
        frame_send_json(&c->stream, WIRE_HELLO, o, NULL); /* a small frame into an empty socket buffer */
        channel->stall_timeout_usec =
            USEC_INFINITY; /* silence between rounds is no failure; keepalive finds the dead */
        s->nattached++;
        pthread_cond_broadcast(&s->attached_cond);
    }
    pthread_mutex_unlock(&s->lock);
    return c ? 0
             : mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "Connection %.20s %llu is not expected", role,
                             (unsigned long long)index);
}

static void greeted(void *userdata, struct channel *channel, struct frame_stream stream,
                    struct json_object *hello)
{
    struct incoming *in = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    stream.channel = channel;
    if (json_object_object_get_ex(hello, "migration", NULL)) {
        if (begin(in, channel, &stream, hello, &err) == 0)
            return;
    } else if (attach(in, channel, &stream, hello, &err) == 0) {
        json_object_put(hello);
        return;
    }
    log_info("Refused %s: %s", channel->peer, err.message);
    dialogue_refuse(&stream, &err);
    channel_free(channel);
    json_object_put(hello);
}

static void describe_peer(int fd, const struct sockaddr_storage *a, char *buf, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)a;
        snprintf(buf, size, "%s:%u", inet_ntop(AF_INET, &in4->sin_addr, text, sizeof text),
                 ntohs(in4->sin_port));
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
        snprintf(buf, size, "[%s]:%u", inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text),
                 ntohs(in6->sin6_port));
    } else {
        struct ucred cred = {0};
        socklen_t len = sizeof cred;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
        snprintf(buf, size, "unix (pid %d)", (int)cred.pid);
    }
}

static void on_connection(int fd, void *userdata)
{
    struct incoming *in = userdata;
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    int c = accept4(fd, (struct sockaddr *)&a, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (c < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_error("Cannot accept a connection, trying again in a second: %s", strerror(errno));
            in->io = loop_io_free(in->io);
            loop_timer_arm(in->rest, ACCEPT_REST_USEC);
        }
        return;
    }
    char peer[128];
    describe_peer(c, &a, peer, sizeof peer);
    int r = greeter_take(&in->greeter, c, peer);
    if (r < 0)
        log_warning("Connection from %s closed: %s", peer,
                    r == -EBUSY ? "too many connections that have not said HELLO" : strerror(-r));
}

static void accept_again(void *userdata)
{
    struct incoming *in = userdata;
    if (loop_io_new(&in->io, in->loop, in->listen_fd, on_connection, in) < 0)
        loop_timer_arm(in->rest, ACCEPT_REST_USEC);
}

int incoming_recover(struct incoming *in, struct domain *domain, const struct record *record,
                     struct mig_error *err)
{
    struct engine *e;
    int r = new_engine(&e, in, domain, record->id, record->peer, err);
    if (r < 0)
        return r;
    struct session *s = &e->session;
    e->recovering = true;
    e->recovered_state = record->state;
    e->restored_broken = domain->state == DOMAIN_STATE_BROKEN;
    if (e->restored_broken)
        snprintf(e->problem, sizeof e->problem, "%s", domain->problem);
    snprintf(s->token, sizeof s->token, "%s", record->token);
    snprintf(s->decision_address, sizeof s->decision_address, "%s", record->peer);
    return start_engine(in, e, err);
}

int incoming_new(struct incoming **ret, struct loop *loop, struct registry *registry, const char *address,
                 int fd, const char *runtime_dir, const struct incoming_callbacks *callbacks,
                 struct mig_error *err)
{
    _cleanup_(incoming_freep) struct incoming *in = calloc(1, sizeof *in);
    if (!in)
        return mig_error_oom(err);
    in->listen_fd = in->greeter.cancel_fd = -1;
    in->loop = loop;
    in->registry = registry;
    in->callbacks = *callbacks;
    in->runtime_dir = strdup(runtime_dir);
    if (!in->runtime_dir)
        return mig_error_oom(err);
    int cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "eventfd: %s", strerror(errno));
    in->greeter.cancel_fd = cancel;
    in->greeter.loop = loop;
    in->greeter.runtime_dir = in->runtime_dir;
    in->greeter.greeted = greeted;
    in->greeter.userdata = in;
    int r = 0;
    if (fd >= 0)
        in->listen_fd = fd;
    else if (address && *address)
        r = channel_listen(&in->listen_fd, &in->address, address, err);
    if (r < 0)
        return r;
    if (!in->address && !(in->address = strdup(address && *address ? address : "")))
        return mig_error_oom(err);
    if (in->listen_fd >= 0) {
        fd_set_nonblock(in->listen_fd, true);
        r = loop_timer_new(&in->rest, loop, accept_again, in);
        if (r == 0)
            r = loop_io_new(&in->io, loop, in->listen_fd, on_connection, in);
        if (r < 0)
            return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot watch the listening socket: %s",
                                 strerror(-r));
    }
    *ret = TAKE_PTR(in);
    return 0;
}

struct incoming *incoming_free(struct incoming *in)
{
    if (!in)
        return NULL;
    loop_io_free(in->io);
    loop_timer_free(in->rest);
    close_fd(&in->listen_fd);
    if (in->greeter.cancel_fd >= 0)
        eventfd_write(in->greeter.cancel_fd, 1);
    /* Greeting threads end at once; what they have posted is dropped with the loop. */
    for (int i = 0; atomic_load(&in->greeter.running) && i < 200; i++)
        usleep(5000);
    close_fd(&in->greeter.cancel_fd);
    free(in->engines);
    free(in->address);
    free(in->runtime_dir);
    free(in);
    return NULL;
}

const char *incoming_address(const struct incoming *in)
{
    return in->address;
}
