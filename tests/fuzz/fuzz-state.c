/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A state connection that says anything (frames.h), to a destination with two devices and a VMM. With
 * CHOICE_PARTS what follows the first half comes over another connection, as after a break.
 */
#include "frames.h"
#include "fuzz.h"
#include "incoming/state-apply.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct sink { /* a device that counts what it is given, and does not take it beyond a limit */
    struct device base;
    uint64_t bytes;
};

#define SINK_MAX_BYTES 65536u

static int write_state(struct device *d, const void *buf, size_t size, struct mig_error *err)
{
    static volatile uint8_t sum; /* reads it all: whether it is there is the sanitizer's to say */
    struct sink *s = (struct sink *)d;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)buf)[i]);
    s->bytes += size;
    return s->bytes > SINK_MAX_BYTES ? mig_error_set(err, MIG_ERR_DEVICE, EINVAL, "the device has enough")
                                     : 0;
}

static const struct device_ops sink_ops = {.write_state = write_state};

static struct sink sinks[2] = {{.base = {.ops = &sink_ops, .refs = 1, .name = "dev0"}},
                               {.base = {.ops = &sink_ops, .refs = 1, .name = "dev1"}}};

static int hear(struct state_apply *a, struct frame_stream *stream)
{
    struct mig_error err = MIG_ERROR_INIT;
    int r = state_apply_run(a, stream, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
    return r;
}

static void judge(struct state_apply *a, bool ended)
{
    struct stat st;
    if (fstat(state_apply_vmm_fd(a), &st) < 0 || (uint64_t)st.st_size != state_apply_vmm_bytes(a))
        give_up("the VMM's state is not what was counted");
    for (size_t i = 0; i < 2; i++) {
        if (state_apply_taken(a, i) > sinks[i].bytes)
            give_up("more is acknowledged than the device was given");
        if (ended && state_apply_taken(a, i) != sinks[i].bytes)
            give_up("a state is whole that the device was not given");
        if (state_apply_has_touched(a, &sinks[i].base) != (sinks[i].bytes > 0))
            give_up("nobody knows that the device was given something");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_channel channel;
    struct frame_stream stream;
    struct device *devices[] = {&sinks[0].base, &sinks[1].base};
    struct state_apply *a;
    int choice = frames_from_input(data, size, &channel, &stream);
    if (choice < 0)
        return 0;
    sinks[0].bytes = sinks[1].bytes = 0;
    if (state_apply_new(&a, devices, 2, true, NULL) < 0)
        give_up("no memory");
    if ((unsigned)choice & CHOICE_ACKNOWLEDGED)
        state_apply_acknowledge(a);
    size_t rest = (unsigned)choice & CHOICE_PARTS ? channel.left_bytes / 2 : 0;
    channel.left_bytes -= rest;
    int r = hear(a, &stream);
    if (r < 0 && rest > 0) {
        channel.left_bytes += rest;
        r = hear(a, &stream);
    }
    judge(a, r == 0);
    state_apply_free(a);
    return 0;
}
