/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A break, heard from both sides: the input is a HELLO that wants to resume, or to attach afterwards, shown
 * to a destination that waits for its source; and it is the answer of a destination, as a source hears it.
 * Only who shows the key is taken for the source.
 */
#include "frames.h"
#include "fuzz.h"
#include "incoming/session.h"
#include "outgoing/resume-answer.h"
#include <string.h>
#include <sys/eventfd.h>

#define KEY         "00112233445566778899aabbccddeeff"
#define NEXT_KEY    "ffeeddccbbaa99887766554433221100"
#define CONNECTIONS 3u
#define DEVICES     2u

static struct session session;

static void make_session(void)
{
    if (session.wake_fd)
        return;
    pthread_mutex_init(&session.lock, NULL);
    session.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (session.wake_fd < 0)
        give_up("no eventfd");
}

static void expect_source(bool answered)
{
    session.resumable = true;
    session.reconnect_usec = 1;
    session.offer = NULL;
    strcpy(session.resume_key, KEY);
    strcpy(session.next_key, answered ? NEXT_KEY : "");
    strcpy(session.attach_key, answered ? NEXT_KEY : "");
}

static void show(struct json_object *hello, struct memory_channel *channel, struct frame_stream *stream,
                 bool answered)
{
    struct mig_error err = MIG_ERROR_INIT;
    const char *key = "";
    expect_source(answered);
    json_get_string(hello, "key", &key);
    bool knows = strcmp(key, KEY) == 0 || (answered && strcmp(key, NEXT_KEY) == 0);
    int r = session_offer(&session, &channel->base, stream, hello, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
    if ((r == 0) != knows || (session.offer != NULL) != knows)
        give_up("the key does not decide who comes in");
    if (session.reconnect_usec > UINT64_C(3600000000))
        give_up("a source is waited for without end");
    session.offer = NULL; /* borrowed */
    expect_source(answered);
    if (session_may_attach(&session, hello) != (strcmp(key, answered ? NEXT_KEY : "") == 0))
        give_up("the key does not decide who attaches");
}

static void hear_answer(struct json_object *answer)
{
    uint64_t taken[DEVICES];
    struct resume_answer a = {.state_taken = taken};
    if (resume_answer_read(&a, answer, CONNECTIONS, DEVICES) < 0)
        return;
    if (!a.key[0] || strlen(a.key) >= sizeof a.key)
        give_up("an answer without a key was taken");
    for (size_t i = 0; i < CONNECTIONS + DEVICES; i++)
        if ((i < CONNECTIONS ? a.applied[i] : taken[i - CONNECTIONS]) > INT64_MAX)
            give_up("a number was taken that is none");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_channel channel;
    struct frame_stream stream;
    struct wire_header h;
    struct json_object *o = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    if (frame_around_input(data, size, WIRE_HELLO, &channel, &stream) < 0)
        return 0;
    make_session();
    if (frame_recv(&stream, &h, &err) == 0 && frame_recv_json(&stream, &h, &o, &err) == 0) {
        show(o, &channel, &stream, false);
        show(o, &channel, &stream, true);
        hear_answer(o);
    } else if (!mig_error_is_set(&err))
        give_up("an error without words");
    json_object_put(o);
    return 0;
}
