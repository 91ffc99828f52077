/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections before they are anything: a short-lived thread per connection shakes hands (TLS) and reads
 * HELLO, with limits and a deadline, and answers questions of peers in doubt from the records. Every other
 * HELLO goes to the main thread.
 */
#pragma once
#include "base/json.h"
#include "incoming/admission.h"
#include "transport/frame.h"

struct loop;
struct greeting;

#define GREETINGS_MAX         64u /* that have not said HELLO */
#define GREETING_THREADS_MAX  (2 * GREETINGS_MAX)
#define GREETING_TIMEOUT_USEC UINT64_C(10000000)

/* Main thread; the callee takes channel and hello over. The answer has not been sent. */
typedef void (*greeting_fn)(void *userdata, struct channel *channel, struct frame_stream stream,
                            struct json_object *hello);

/* Compared in full whatever differs first: the time must not tell how much of a token was right. */
bool greeting_token_equals(const char *a, const char *b);

struct greeter {
    struct loop *loop;
    const char *runtime_dir;
    struct security *security; /* borrowed; NULL: plain */
    greeting_fn greeted;
    void *userdata;
    struct admission admission;
    _Atomic unsigned running; /* threads under way */
    int cancel_fd;            /* ends them all */
};
/* What the thread of a greeting does. Shakes hands on stream->channel, which may be another one afterwards,
 * also when this fails, and reads HELLO. *ret is the caller's. */
int greeting_hear(const struct greeter *g, struct frame_stream *stream, struct json_object **ret,
                  struct mig_error *err);
/* True when the HELLO was a question of a peer in doubt; it has been answered then. */
bool greeting_answer(const struct greeter *g, struct frame_stream *stream, struct json_object *hello);
/* Main thread: run(userdata) on a thread of its own that is counted among the greetings and ends with them.
 * It posts nothing. -EBUSY when there are GREETING_THREADS_MAX. */
int greeter_run(struct greeter *g, void (*run)(void *userdata), void *userdata);
/* Takes fd over. With all GREETINGS_MAX places taken another connection is ended for it (admission.h); -EBUSY
 * only when so many come that GREETING_THREADS_MAX threads have not ended yet. */
int greeter_take(struct greeter *g, int fd, const char *peer);
