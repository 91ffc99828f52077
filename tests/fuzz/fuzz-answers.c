/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A destination that answers anything: the first frame is heard as the answer to HELLO and to a check, the
 * frames after it as acknowledgements and digests, the way the source listens to them (frames.h).
 */
#include "base/printable.h"
#include "frames.h"
#include "fuzz.h"
#include "migration/dialogue.h"
#include "migration/findings-json.h"
#include <string.h>

#define DIGESTS_MAX 4096u

static void want_words(int r, const struct mig_error *err)
{
    if ((r < 0) != mig_error_is_set(err))
        give_up("an error without words, or words without an error");
    for (const char *c = err->message; *c; c++)
        if ((unsigned char)*c < ' ' && *c != '\n')
            give_up("a peer's control characters are in a message");
}

static void hear_hello(struct frame_stream *stream)
{
    struct json_object *hello = json_object_new_object(), *answer = NULL;
    struct findings found = {0};
    struct mig_error err = MIG_ERROR_INIT, why = MIG_ERROR_INIT;
    int r = dialogue_hello_raw(stream, hello, &answer, &err);
    want_words(r, &err);
    if (r == 0) {
        r = findings_hear(answer, &found, &why);
        want_words(r, &why);
        for (size_t i = 0; i < found.count; i++)
            for (const char *c = found.items[i].message; *c; c++)
                if ((unsigned char)*c < ' ')
                    give_up("a peer's control characters are in a finding");
        why = (struct mig_error)MIG_ERROR_INIT;
        dialogue_peer_error(answer, "The destination says", &why);
        want_words(-1, &why);
    }
    findings_clear(&found);
    json_object_put(answer);
    json_object_put(hello);
}

/* One after the other, until one is refused. */
static void hear_acknowledgements(struct frame_stream *stream)
{
    static const char *const names[] = {"fence", "prepared", "verified", "active", "returned", NULL};
    static uint64_t digests[DIGESTS_MAX];
    const struct dialogue_expect expect = {.names = names,
                                           .frame_types = 1u << WIRE_DIGESTS,
                                           .timeout_usec = 1000000,
                                           .what = "an acknowledgement"};
    for (;;) {
        struct json_object *o = NULL;
        struct wire_header h;
        struct mig_error err = MIG_ERROR_INIT;
        int name, r = dialogue_receive(stream, &expect, &name, &o, &h, &err);
        want_words(r, &err);
        if (r == 0 && name < 0) {
            struct iovec iov = {digests, h.length};
            if (h.type != WIRE_DIGESTS)
                give_up("a frame that was not expected");
            if (h.length > sizeof digests)
                return;
            r = frame_recv_payload(stream, &h, &iov, 1, &err);
            want_words(r, &err);
        }
        json_object_put(o);
        if (r < 0)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_channel channel;
    struct frame_stream stream;
    if (frames_from_input(data, size, &channel, &stream) < 0)
        return 0;
    hear_hello(&stream);
    hear_acknowledgements(&stream);
    return 0;
}
