/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer listener, and incoming migrations towards the rest of the daemon: a HELLO finds its domain, gets a
 * session with a worker, and further connections are attached to it.
 */
#include "incoming/incoming.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/printable.h"
#include "incoming/arrival.h"
#include "incoming/check.h"
#include "incoming/compare.h"
#include "incoming/greeting.h"
#include "incoming/probe.h"
#include "loop/loop.h"
#include "transport/security.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ACCEPT_REST_USEC USEC_PER_SEC

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
    bool accept_overrides;
    struct patience_limits patience;
    struct space_ledger *ledger;
    struct arrival **arrivals; /* those to which connections may still come */
    size_t narrivals;
};

static void forget(struct arrival *a, void *userdata)
{
    struct incoming *in = userdata;
    for (size_t i = 0; i < in->narrivals; i++)
        if (in->arrivals[i] == a) {
            in->arrivals[i] = in->arrivals[--in->narrivals];
            return;
        }
}

static int new_arrival(struct incoming *in, struct arrival **ret, struct domain *d, const char *id,
                       const char *peer, struct mig_error *err)
{
    struct arrival **more = reallocarray(in->arrivals, in->narrivals + 1, sizeof *more);
    if (!more)
        return mig_error_oom(err);
    in->arrivals = more;
    const struct arrival_setup setup = {in->loop, in->runtime_dir, in->greeter.security, forget, in};
    return arrival_new(ret, &setup, d, id, peer, err);
}

static int start_arrival(struct incoming *in, struct arrival *a, struct mig_error *err)
{
    struct migration *m = a->session.migration;
    int r = arrival_start(a, err);
    if (r < 0)
        return r;
    in->arrivals[in->narrivals++] = a;
    if (in->callbacks.started)
        in->callbacks.started(m, in->callbacks.userdata);
    migration_unref(m); /* ours: the observer has taken its own */
    return 0;
}

static struct arrival *find_id(struct incoming *in, const char *id)
{
    for (size_t i = 0; i < in->narrivals; i++)
        if (strcmp(migration_id(in->arrivals[i]->session.migration), id) == 0)
            return in->arrivals[i];
    return NULL;
}

/* Why this peer may bring a migration: the answer to who it was, for those who ask later. */
static void log_let_in(const struct channel *channel, const struct migration *m)
{
    char name[256], reason[320];
    security_peer_name(channel, name, sizeof name);
    if (*name)
        snprintf(reason, sizeof reason, "TLS shows it to be %s", name);
    else if (strcmp(channel->ops->kind, "unix") == 0)
        snprintf(reason, sizeof reason, "the rights of the UNIX socket let it in");
    else
        snprintf(reason, sizeof reason, "Security=plain lets everybody in");
    const struct log_fields fields = {.message = MESSAGE_PEER_ALLOWED,
                                      .domain = migration_domain(m),
                                      .migration = migration_id(m),
                                      .peer = channel->peer,
                                      .reason = make_printable(reason)};
    log_write(LOG_INFO, &fields, "%s may bring %s here: %s", channel->peer, migration_domain(m), reason);
}

/* channel and hello are taken over when 0 is returned. */
static int begin(struct incoming *in, struct channel *channel, const struct frame_stream *stream,
                 struct json_object *hello, struct mig_error *err)
{
    const char *id, *name;
    if (json_get_string(hello, "migration", &id) < 0 || json_get_string(hello, "domain", &name) < 0 ||
        !hex_is_valid(id, MIGRATION_ID_LEN))
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO names no migration or no domain");
    struct domain *d = registry_find(in->registry, name);
    struct findings found = {0};
    if (compare_domain(d, name, &found) < 0)
        return mig_error_oom(err);
    int r = compare_refuse(&found, err);
    findings_clear(&found);
    if (r < 0)
        return r;
    /* An id names one migration for ever: another with the same would write and remove the record of the
     * first.
     */
    struct record known;
    if (find_id(in, id) || record_read(in->runtime_dir, id, true, &known) != -ENOENT)
        return mig_error_set(err, MIG_ERR_EXISTS, 0, "Migration %s has been here already", id);
    struct arrival *a;
    r = new_arrival(in, &a, d, id, channel->peer, err);
    if (r < 0)
        return r;
    struct session *s = &a->session;
    s->accept_overrides = in->accept_overrides;
    a->patience.limits = in->patience;
    s->ledger = space_ledger_ref(in->ledger);
    s->control = channel;
    s->control_stream = *stream;
    s->control_stream.channel = channel;
    channel->cancel_fd = s->wake_fd;
    s->hello = hello;
    log_let_in(channel, s->migration);
    r = start_arrival(in, a, err);
    if (r == 0) {
        /* A departed one, too, is incoming from now on: a successor must not take it for running. */
        d->incoming = true;
        domain_set_state(d, DOMAIN_STATE_RECEIVING, NULL);
    } else /* the arrival is gone, and its session_close never ran: the caller still owns both */
        return r;
    return 0;
}

static struct arrival *find_with_token(struct incoming *in, const char *id, const char *token)
{
    struct arrival *a = find_id(in, id);
    const char *own;
    return a && a->session.hello && json_get_string(a->session.hello, "token", &own) == 0 &&
                   greeting_token_equals(own, token)
               ? a
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
    struct arrival *a = find_with_token(in, id, token);
    if (!a)
        return mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0,
                             "There is no such migration here, or the token is wrong");
    struct session *s = &a->session;
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
    else if (strcmp(role, "pages") == 0)
        c = session_expect_another(s, index);
    bool another = c && !state && index >= s->nconnections;
    if (c && (c->channel || s->closed || !session_may_attach(s, hello)))
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
        if (another && session_start_another(s, c) < 0)
            channel->ops->shutdown(channel); /* the source hears of it */
        pthread_cond_broadcast(&s->attached_cond);
    }
    pthread_mutex_unlock(&s->lock);
    return c ? 0
             : mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "Connection %.20s %llu is not expected", role,
                             (unsigned long long)index);
}

/* channel is taken over when 0 is returned. */
static int resume(struct incoming *in, struct channel *channel, const struct frame_stream *stream,
                  struct json_object *hello, struct mig_error *err)
{
    const char *id, *token;
    struct arrival *a = NULL;
    if (json_get_string(hello, "resume", &id) == 0 && json_get_string(hello, "token", &token) == 0)
        a = find_with_token(in, id, token);
    if (!a)
        return mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0,
                             "There is no such migration here, or the token is wrong");
    return session_offer(&a->session, channel, stream, hello, err);
}

static void greeted(void *userdata, struct channel *channel, struct frame_stream stream,
                    struct json_object *hello)
{
    struct incoming *in = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    stream.channel = channel;
    if (json_object_object_get_ex(hello, "check", NULL)) {
        check_answer(&in->greeter, in->registry, channel, &stream, hello, in->ledger, in->accept_overrides);
        return;
    }
    if (json_object_object_get_ex(hello, "probe", NULL)) {
        probe_answer(channel, &stream, hello, in->greeter.cancel_fd);
        return;
    }
    if (in->callbacks.asked_of_guest && (json_object_object_get_ex(hello, "fetch", NULL) ||
                                         json_object_object_get_ex(hello, "receives", NULL))) {
        in->callbacks.asked_of_guest(channel, &stream, hello, in->callbacks.userdata);
        return;
    }
    if (json_object_object_get_ex(hello, "migration", NULL)) {
        if (begin(in, channel, &stream, hello, &err) == 0)
            return;
    } else if (json_object_object_get_ex(hello, "resume", NULL) &&
               !json_object_object_get_ex(hello, "attach", NULL)) {
        if (resume(in, channel, &stream, hello, &err) == 0) {
            json_object_put(hello);
            return;
        }
    } else if (attach(in, channel, &stream, hello, &err) == 0) {
        json_object_put(hello);
        return;
    }
    make_printable(err.message); /* it may hold words of the peer's */
    const struct log_fields fields = {.message = MESSAGE_PEER_REFUSED,
                                      .peer = channel->peer,
                                      .error = mig_error_word(err.code),
                                      .reason = err.message};
    log_write(LOG_INFO, &fields, "Refused %s: %s", channel->peer, err.message);
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
                    r == -EBUSY ? "more connections come at once than can be greeted" : strerror(-r));
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
    struct arrival *a;
    int r = new_arrival(in, &a, domain, record->id, record->peer, err);
    if (r < 0)
        return r;
    struct session *s = &a->session;
    s->recovering = true;
    s->recovered_state = record->state;
    s->restored_broken = domain->state == DOMAIN_STATE_BROKEN;
    if (s->restored_broken)
        snprintf(s->end.problem, sizeof s->end.problem, "%s", domain->problem);
    snprintf(s->token, sizeof s->token, "%s", record->token);
    snprintf(s->decision_address, sizeof s->decision_address, "%s", record->peer);
    snprintf(s->source_name, sizeof s->source_name, "%s", record->peer_name);
    return start_arrival(in, a, err);
}

int incoming_new(struct incoming **ret, struct loop *loop, struct registry *registry, const char *address,
                 int fd, const char *runtime_dir, const struct incoming_callbacks *callbacks,
                 struct mig_error *err)
{
    _cleanup_(incoming_freep) struct incoming *in = calloc(1, sizeof *in);
    if (!in)
        return mig_error_oom(err);
    in->listen_fd = in->greeter.cancel_fd = -1;
    admission_init(&in->greeter.admission, GREETINGS_MAX);
    in->loop = loop;
    in->registry = registry;
    in->accept_overrides = true;
    in->patience = (struct patience_limits){USEC_INFINITY, USEC_INFINITY};
    in->callbacks = *callbacks;
    in->runtime_dir = strdup(runtime_dir);
    if (!in->runtime_dir || space_ledger_new(&in->ledger) < 0)
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
    if (fd >= 0) {
        in->listen_fd = fd;
        r = channel_listening_address(fd, &in->address, err);
    } else if (address && *address)
        r = channel_listen(&in->listen_fd, &in->address, address, err);
    if (r < 0)
        return r;
    if (!in->address && !(in->address = strdup("")))
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
    admission_destroy(&in->greeter.admission);
    space_ledger_unref(in->ledger);
    free(in->arrivals);
    free(in->address);
    free(in->runtime_dir);
    free(in);
    return NULL;
}

void incoming_set_accept_overrides(struct incoming *in, bool accept)
{
    in->accept_overrides = accept;
}

void incoming_set_patience(struct incoming *in, const struct patience_limits *limits)
{
    in->patience = *limits;
}

void incoming_set_security(struct incoming *in, struct security *security)
{
    in->greeter.security = security;
}

const char *incoming_address(const struct incoming *in)
{
    return in->address;
}
