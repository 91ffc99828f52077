/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "relay.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "transport/frame.h"
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define LINES_MAX 64u

const char *const relay_damage_words[RELAY_DAMAGE_MAX] = {
    [RELAY_NONE] = "none",
    [RELAY_FLIP_FIRST] = "flip-first",
    [RELAY_FLIP_LAST] = "flip-last",
    [RELAY_DROP_FIRST] = "drop-first",
    [RELAY_DROP_LAST] = "drop-last",
    [RELAY_CUT_LAST] = "cut-last",
    [RELAY_ADD_LAST] = "add-last",
    [RELAY_ADD_AND_SAY] = "add-and-say",
    [RELAY_ADD_BEHIND] = "add-behind",
    [RELAY_FLIP_DIGEST] = "flip-digest",
    [RELAY_NO_END] = "no-end",
    [RELAY_END_TWICE] = "end-twice",
};

struct frame {
    struct wire_header h;
    uint8_t *payload; /* WIRE_PAYLOAD_MAX_BYTES + 1 */
};

struct line { /* a connection through the relay */
    struct relay *relay;
    struct channel *source, *destination;
    pthread_t forth, back;
};

struct relay {
    int listen_fd, stop_fd;
    char destination[256];
    enum relay_damage damage;
    unsigned device;
    _Atomic bool done;
    pthread_t thread;
    struct line lines[LINES_MAX];
    size_t nlines;
};

static void end_line(struct line *l)
{
    l->source->ops->shutdown(l->source);
    l->destination->ops->shutdown(l->destination);
}

/* Whatever comes, until either side ends. The other direction goes on: its last word may be on its way. */
static void pump(struct channel *from, struct channel *to)
{
    uint8_t buf[65536];
    for (;;) {
        int r = from->ops->wait_readable(from, USEC_INFINITY);
        ssize_t n = r < 0 ? -1 : recv(from->fd, buf, sizeof buf, MSG_DONTWAIT);
        struct iovec iov = {buf, n > 0 ? (size_t)n : 0};
        if (n <= 0 || to->ops->sendv(to, &iov, 1) < 0)
            break;
    }
    shutdown(from->fd, SHUT_RD);
    shutdown(to->fd, SHUT_WR);
}

static int receive(struct frame_stream *s, struct frame *f)
{
    struct iovec iov = {f->payload, 0};
    int r = frame_recv(s, &f->h, NULL);
    if (r < 0)
        return r;
    iov.iov_len = f->h.length;
    return f->h.length ? frame_recv_payload(s, &f->h, &iov, 1, NULL) : 0;
}

static int pass(struct frame_stream *s, const struct frame *f)
{
    struct wire_header h = f->h;
    struct iovec iov = {f->payload, h.length};
    return frame_send(s, &h, &iov, h.length ? 1 : 0);
}

static int send_byte(struct frame_stream *s, unsigned device, uint64_t offset)
{
    uint8_t byte = 0x5a;
    const struct frame one = {{.type = WIRE_STATE, .region = device, .offset = offset, .length = 1}, &byte};
    return pass(s, &one);
}

/* The frames of one device's stream, one behind: only its end tells which chunk was the last. */
struct stream {
    struct relay *relay;
    struct frame_stream *to;
    struct frame held;
    bool holds;
    uint64_t moved_bytes; /* that offsets are too large by */
    unsigned chunks;
};

static int take_chunk(struct stream *s, struct frame *f)
{
    enum relay_damage damage = s->relay->damage;
    int r = s->holds ? pass(s->to, &s->held) : 0;
    if (s->chunks++ == 0 && damage == RELAY_DROP_FIRST) {
        s->moved_bytes = f->h.length;
        s->relay->done = true;
        return r;
    }
    if (s->chunks == 1 && damage == RELAY_FLIP_FIRST) {
        f->payload[f->h.length / 2] ^= 1;
        s->relay->done = true;
    }
    f->h.offset -= s->moved_bytes;
    struct frame swap = s->held;
    s->held = *f;
    *f = swap;
    s->holds = true;
    return r;
}

static int take_end(struct stream *s, struct frame *f)
{
    enum relay_damage damage = s->relay->damage;
    struct frame *last = &s->held;
    unsigned device = s->relay->device;
    uint64_t end = f->h.offset;
    int r = 0;
    if (damage == RELAY_FLIP_LAST)
        last->payload[last->h.length - 1] ^= 0x80;
    if (damage == RELAY_CUT_LAST) {
        last->h.length--;
        f->h.offset--;
    }
    if (damage == RELAY_FLIP_DIGEST)
        f->payload[3] ^= 1;
    if (damage == RELAY_ADD_AND_SAY)
        f->h.offset++;
    if (s->holds && damage != RELAY_DROP_LAST && last->h.length > 0)
        r = pass(s->to, last);
    s->holds = false;
    if (damage != RELAY_NONE)
        s->relay->done = true;
    if (r == 0 && damage == RELAY_NO_END)
        return -EPIPE;
    if (r == 0 && (damage == RELAY_ADD_LAST || damage == RELAY_ADD_AND_SAY))
        r = send_byte(s->to, device, end);
    if (r == 0)
        r = pass(s->to, f);
    if (r == 0 && damage == RELAY_ADD_BEHIND)
        r = send_byte(s->to, device, end);
    if (r == 0 && damage == RELAY_END_TWICE)
        r = pass(s->to, f);
    return r;
}

static void relay_state(struct line *l, struct frame_stream *from, struct frame_stream *to, struct frame *f)
{
    struct stream s = {.relay = l->relay, .to = to};
    int r = (s.held.payload = malloc(WIRE_PAYLOAD_MAX_BYTES + 1)) ? 0 : -ENOMEM;
    from->idle_timeout_usec = USEC_INFINITY;
    while (r == 0 && (r = receive(from, f)) == 0) {
        if (f->h.region != l->relay->device || (f->h.type != WIRE_STATE && f->h.type != WIRE_STATE_END))
            r = pass(to, f);
        else
            r = f->h.type == WIRE_STATE ? take_chunk(&s, f) : take_end(&s, f);
    }
    free(s.held.payload);
}

static bool is_state_line(const struct frame *f)
{
    struct json_object *o = json_tokener_parse((const char *)f->payload);
    const char *role = "";
    json_get_string(o, "role", &role);
    bool state = strcmp(role, "state") == 0;
    json_object_put(o);
    return state;
}

static void *go_forth(void *userdata)
{
    struct line *l = userdata;
    struct frame_stream from, to;
    struct frame f = {.payload = calloc(1, WIRE_PAYLOAD_MAX_BYTES + 1)};
    frame_stream_init(&from, l->source, false);
    frame_stream_init(&to, l->destination, true);
    if (f.payload && receive(&from, &f) == 0 && pass(&to, &f) == 0) {
        f.payload[f.h.length] = '\0';
        if (is_state_line(&f)) {
            relay_state(l, &from, &to, &f);
            end_line(l);
        } else {
            pump(l->source, l->destination);
        }
    } else {
        end_line(l);
    }
    free(f.payload);
    return NULL;
}

static void *go_back(void *userdata)
{
    struct line *l = userdata;
    pump(l->destination, l->source);
    return NULL;
}

static void add_line(struct relay *r, int fd)
{
    struct line *l = &r->lines[r->nlines];
    l->relay = r;
    if (channel_from_socket(&l->source, fd, "the source", -1) < 0)
        return;
    if (channel_connect(&l->destination, r->destination, UINT64_C(5000000), -1, NULL) < 0) {
        l->source = channel_free(l->source);
        return;
    }
    if (pthread_create(&l->forth, NULL, go_forth, l) != 0) {
        channel_free(l->source);
        channel_free(l->destination);
        return;
    }
    if (pthread_create(&l->back, NULL, go_back, l) != 0) {
        end_line(l);
        l->back = l->forth;
    }
    r->nlines++;
}

static void *take_lines(void *userdata)
{
    struct relay *r = userdata;
    while (r->nlines < LINES_MAX && fd_wait(r->listen_fd, POLLIN, r->stop_fd, USEC_INFINITY) > 0) {
        int fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            add_line(r, fd);
    }
    return NULL;
}

int relay_new(struct relay **ret, const char *listen, const char *destination, enum relay_damage damage,
              unsigned device, char **ret_bound, struct mig_error *err)
{
    struct relay *r = calloc(1, sizeof *r);
    if (!r || strlen(destination) >= sizeof r->destination) {
        free(r);
        return mig_error_oom(err);
    }
    strcpy(r->destination, destination);
    r->damage = damage;
    r->device = device;
    int e = channel_listen(&r->listen_fd, ret_bound, listen, err);
    if (e < 0) {
        free(r);
        return e;
    }
    r->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (r->stop_fd < 0 || pthread_create(&r->thread, NULL, take_lines, r) != 0) {
        close_fd(&r->listen_fd);
        close_fd(&r->stop_fd);
        free(r);
        free(*ret_bound);
        return mig_error_oom(err);
    }
    *ret = r;
    return 0;
}

bool relay_has_damaged(const struct relay *r)
{
    return r->done;
}

struct relay *relay_free(struct relay *r)
{
    if (!r)
        return NULL;
    eventfd_write(r->stop_fd, 1);
    pthread_join(r->thread, NULL);
    for (size_t i = 0; i < r->nlines; i++) {
        struct line *l = &r->lines[i];
        end_line(l);
        pthread_join(l->forth, NULL);
        if (!pthread_equal(l->back, l->forth))
            pthread_join(l->back, NULL);
        channel_free(l->source);
        channel_free(l->destination);
    }
    close_fd(&r->listen_fd);
    close_fd(&r->stop_fd);
    free(r);
    return NULL;
}
