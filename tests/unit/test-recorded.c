/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What released versions said on the wire, recorded frame by frame (tests/recorded/README.md), against the
 * migd of today, both ways: a recorded source's migration comes in and runs, and each answer that it gets
 * says what it was told then; a recorded destination's answers bring a migration of today to its end, and
 * what it is told says what it was told then. Each with its counterpart: one byte of the recording changed,
 * and it fails.
 */
#include "../fake/recording.h"
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include <endian.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STEP_USEC     (5 * USEC_PER_SEC)
#define LINES_MAX     3u /* control, one for pages, one for device state */
#define FRAME_MAX     (sizeof(struct wire_header) + WIRE_PAYLOAD_MAX_BYTES)
#define NOTHING_WRONG SIZE_MAX

static const char *const versions[] = {"0.1.0"};

struct replay {
    struct scene s;
    struct recording recording;
    int lines[LINES_MAX], listen_fd;
    uint8_t *frame; /* the newest that came */
    struct wire_header header;
    pthread_t thread;
    char why[400]; /* it does not go on; "": it did */
    size_t at;     /* the recorded frame that it is about */
};

static bool give_up(struct replay *p, const char *what)
{
    const struct recorded_frame *f = &p->recording.frames[p->at];
    snprintf(p->why, sizeof p->why, "recorded frame %zu (connection %u, type %u %s): %.250s", p->at,
             f->connection, f->header.type, recorded_word(f), what);
    return false;
}

/* ---- bytes ---- */

static bool take_bytes(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = fd_wait(fd, POLLIN, -1, deadline_in(STEP_USEC)) < 0
                        ? -1
                        : recv(fd, (uint8_t *)to + done, size - done, MSG_DONTWAIT);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool take_frame(struct replay *p, unsigned line)
{
    if (!take_bytes(p->lines[line], &p->header, sizeof p->header))
        return give_up(p, "no frame came in its place");
    if (le64toh(p->header.length) > WIRE_PAYLOAD_MAX_BYTES ||
        !take_bytes(p->lines[line], p->frame, le64toh(p->header.length)))
        return give_up(p, "a frame came that is cut off");
    return true;
}

static bool give_frame(struct replay *p, const struct recorded_frame *f)
{
    for (size_t done = 0; done < f->raw_bytes;) {
        ssize_t n = send(p->lines[f->connection], f->raw + done, f->raw_bytes - done, MSG_NOSIGNAL);
        if (n <= 0)
            return give_up(p, "it cannot be sent: the other side has ended the connection");
        done += (size_t)n;
    }
    return true;
}

static bool must_say(struct replay *p, const struct recorded_frame *f, bool exact)
{
    const char *why;
    return frame_says_the_same(f, &p->header, p->frame, exact, &why) ? true : give_up(p, why);
}

static struct sockaddr_un peer_address(const struct replay *p)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/peer", p->s.dir);
    return at;
}

/* ---- the frame of both replays ---- */

static void begin(struct replay *p, const char *version, const char *name, size_t damaged)
{
    char path[4096];
    const char *top = getenv("TOP_SRCDIR");
    *p = (struct replay){.lines = {-1, -1, -1}, .listen_fd = -1, .frame = malloc(FRAME_MAX)};
    snprintf(path, sizeof path, "%s/tests/recorded/%s/%s", top ? top : ".", version, name);
    assert_non_null(p->frame);
    if (recording_load(&p->recording, path) < 0)
        fail_msg("%s cannot be read", path);
    if (damaged != NOTHING_WRONG) { /* the last byte: of a text, a table, a page, or the header's checksum */
        struct recorded_frame *f = &p->recording.frames[damaged];
        f->raw[f->raw_bytes - 1] ^= 0x10;
    }
    make_scene(&p->s, 1);
}

static void hang_up(struct replay *p)
{
    for (size_t i = 0; i < LINES_MAX; i++)
        close_fd(&p->lines[i]);
    close_fd(&p->listen_fd);
}

static void end(struct replay *p)
{
    end_scene(&p->s);
    recording_clear(&p->recording);
    free(p->frame);
}

/* The frame to be damaged: the first of a type and word in a direction. */
static size_t find_frame(const char *version, const char *name, bool back, unsigned type, const char *word)
{
    struct replay p;
    size_t found = NOTHING_WRONG;
    begin(&p, version, name, NOTHING_WRONG);
    for (size_t i = 0; i < p.recording.nframes && found == NOTHING_WRONG; i++) {
        const struct recorded_frame *f = &p.recording.frames[i];
        if (f->back == back && f->header.type == type && strcmp(recorded_word(f), word) == 0)
            found = i;
    }
    end(&p);
    if (found == NOTHING_WRONG)
        fail_msg("%s/%s has no frame of type %u %s", version, name, type, word);
    return found;
}

/* ---- a recorded source, a destination of today ---- */

static bool open_line(struct replay *p, unsigned line)
{
    struct sockaddr_un at = peer_address(p);
    if (line >= LINES_MAX)
        return give_up(p, "more connections than were expected");
    if (p->lines[line] >= 0)
        return true;
    p->lines[line] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(p->lines[line], (struct sockaddr *)&at, sizeof at) == 0 ? true
                                                                           : give_up(p, "nobody listens");
}

static void speak_as_source(struct replay *p)
{
    for (p->at = 0; p->at < p->recording.nframes; p->at++) {
        const struct recorded_frame *f = &p->recording.frames[p->at];
        if (!open_line(p, f->connection))
            return;
        if (f->back ? !take_frame(p, f->connection) || !must_say(p, f, true) : !give_frame(p, f))
            return;
    }
}

static void *run_the_loop(void *userdata)
{
    loop_run(userdata);
    return NULL;
}

static void end_if_nothing_began(void *userdata)
{
    struct scene *s = userdata;
    if (!s->destination.migration || s->destination.ended)
        loop_exit(s->loop, 0);
}

static void replay_source(struct replay *p, const char *version, const char *name, size_t damaged)
{
    begin(p, version, name, damaged);
    scene_listen(&p->s);
    p->s.source.ended = true; /* there is none: the loop ends with the destination */
    loop_timer_arm(p->s.patience, 4 * STEP_USEC);
    assert_int_equal(pthread_create(&p->thread, NULL, run_the_loop, p->s.loop), 0);
    speak_as_source(p);
    hang_up(p);
    loop_post(p->s.loop, end_if_nothing_began, &p->s);
    pthread_join(p->thread, NULL);
}

/* What the recorded pages make of a memory. */
static void apply_recorded(const struct recording *r, uint8_t *memory)
{
    for (size_t i = 0; i < r->nframes; i++) {
        const struct recorded_frame *f = &r->frames[i];
        const struct wire_header *h = &f->header;
        struct wire_extent alone = {h->offset, h->type == WIRE_ZERO ? h->payload_checksum : h->length};
        const uint8_t *bytes = f->payload + (size_t)h->count * sizeof(struct wire_extent);
        for (uint32_t k = 0; (h->type == WIRE_PAGES || h->type == WIRE_ZERO) && k < MAX(h->count, 1u); k++) {
            struct wire_extent e = alone;
            if (h->count)
                memcpy(&e, f->payload + k * sizeof e, sizeof e);
            assert_true(e.offset <= MEMORY_BYTES && e.length <= MEMORY_BYTES - e.offset);
            if (h->type == WIRE_ZERO)
                memset(memory + e.offset, 0, e.length);
            else
                memcpy(memory + e.offset, bytes, e.length);
            bytes += e.length;
        }
    }
}

static void a_source_gets_in(const char *version, const char *name)
{
    struct replay p;
    uint8_t *memory = calloc(1, MEMORY_BYTES);
    assert_non_null(memory);
    replay_source(&p, version, name, NOTHING_WRONG);
    if (*p.why)
        fail_msg("%s/%s: %s", version, name, p.why);
    assert_false(p.s.late);
    assert_int_equal(p.s.destination.domain->state, DOMAIN_STATE_RUNNING);
    assert_true(side_runs_whole(&p.s.destination, 1));
    assert_int_equal(p.s.destination.device[0]->loaded, STATE_BYTES);
    assert_true(p.s.destination.controller->loaded);
    apply_recorded(&p.recording, memory);
    assert_memory_equal(p.s.destination.region->map, memory, MEMORY_BYTES);
    free(memory);
    end(&p);
}

static void recorded_sources_get_in(void **state)
{
    for (size_t i = 0; i < ELEMENTS(versions); i++) {
        a_source_gets_in(versions[i], "plain");
        a_source_gets_in(versions[i], "verified");
    }
}

static void a_damaged_source_does_not_get_in(void **state)
{
    static const struct {
        unsigned type;
        const char *word;
        bool back;
    } frames[] = {
        {WIRE_HELLO, "", false},          {WIRE_PAGES, "", false},       {WIRE_ZERO, "", false},
        {WIRE_FENCE, "", false},          {WIRE_STATE, "", false},       {WIRE_STATE_END, "", false},
        {WIRE_MESSAGE, "prepare", false}, {WIRE_MESSAGE, "fence", true},
    };
    for (size_t i = 0; i < ELEMENTS(frames); i++) {
        struct replay p;
        size_t damaged = find_frame(versions[0], "verified", frames[i].back, frames[i].type, frames[i].word);
        replay_source(&p, versions[0], "verified", damaged);
        if (!*p.why || p.at < damaged || p.s.late || side_runs(&p.s.destination, 1))
            fail_msg("damage of type %u %s: %s", frames[i].type, frames[i].word,
                     p.s.late ? "it did not end" : "nobody noticed");
        end(&p);
    }
}

/* ---- a recorded destination, a source of today ---- */

static bool take_line(struct replay *p, unsigned line)
{
    if (line >= LINES_MAX)
        return give_up(p, "more connections than were expected");
    if (p->lines[line] >= 0)
        return true;
    if (fd_wait(p->listen_fd, POLLIN, -1, deadline_in(STEP_USEC)) < 0)
        return give_up(p, "the source did not connect");
    p->lines[line] = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    return p->lines[line] >= 0 ? true : give_up(p, "the source did not connect");
}

/* Pages and device state may come in other pieces than then, but not in frames that nobody knew. */
static bool is_as_old(struct replay *p)
{
    if (p->header.type > WIRE_DIGESTS || p->header.version != 1)
        return give_up(p, "a frame that this version did not know");
    return true;
}

/* Up to the end of what a connection had to say when this frame was recorded: a fence, or the end of a state.
 */
static bool take_up_to(struct replay *p, const struct recorded_frame *f)
{
    if (!take_line(p, f->connection))
        return false;
    do {
        if (!take_frame(p, f->connection) || !is_as_old(p))
            return false;
    } while (p->header.type != f->header.type &&
             (f->header.type == WIRE_FENCE || f->header.type == WIRE_STATE_END));
    return must_say(p, f, false);
}

static bool is_piece(const struct recorded_frame *f)
{
    return f->header.type == WIRE_PAGES || f->header.type == WIRE_ZERO || f->header.type == WIRE_STATE;
}

static void *speak_as_destination(void *userdata)
{
    struct replay *p = userdata;
    bool on = true;
    for (p->at = 0; on && p->at < p->recording.nframes; p->at++) {
        const struct recorded_frame *f = &p->recording.frames[p->at];
        if (f->back)
            on = give_frame(p, f);
        else if (!is_piece(f))
            on = take_up_to(p, f);
        if (!on)
            break;
    }
    hang_up(p);
    return NULL;
}

static void replay_destination(struct replay *p, const char *version, const char *name, size_t damaged)
{
    struct migration_options o;
    begin(p, version, name, damaged);
    struct sockaddr_un at = peer_address(p);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(p->listen_fd, 8), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, speak_as_destination, p), 0);
    migration_options_init(&o);
    o.connections = 1;
    o.max_downtime_usec = STEP_USEC; /* as it was recorded: the rounds are the same */
    run_source(&p->s, &o);
    pthread_join(p->thread, NULL);
}

static void recorded_destinations_are_understood(void **state)
{
    for (size_t i = 0; i < ELEMENTS(versions); i++) {
        struct replay p;
        struct migration_status st;
        replay_destination(&p, versions[i], "plain", NOTHING_WRONG);
        migration_get_status(p.s.source.migration, &st);
        if (*p.why || st.state != MIG_STATE_COMPLETED)
            fail_msg("%s: %s; the source: %s", versions[i], p.why, st.error.message);
        assert_false(p.s.late);
        assert_false(side_runs(&p.s.source, 1));
        assert_int_equal(p.s.source.domain->state, DOMAIN_STATE_DEPARTED);
        end(&p);
    }
}

static void a_damaged_destination_is_not(void **state)
{
    static const struct {
        unsigned type;
        const char *word;
    } frames[] = {{WIRE_HELLO, ""}, {WIRE_MESSAGE, "fence"}, {WIRE_MESSAGE, "prepared"}};
    for (size_t i = 0; i < ELEMENTS(frames); i++) {
        struct replay p;
        size_t damaged = find_frame(versions[0], "plain", true, frames[i].type, frames[i].word);
        replay_destination(&p, versions[0], "plain", damaged);
        if (migration_get_state(p.s.source.migration) != MIG_STATE_FAILED || p.at <= damaged || p.s.late)
            fail_msg("damage of type %u %s: nobody noticed", frames[i].type, frames[i].word);
        assert_true(side_runs_whole(&p.s.source, 1));
        end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_sources_get_in),
        cmocka_unit_test(a_damaged_source_does_not_get_in),
        cmocka_unit_test(recorded_destinations_are_understood),
        cmocka_unit_test(a_damaged_destination_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
