/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A destination that acknowledges anything (frames.h) while pages are sent to it, or with CHOICE_STATE the
 * state of a device; and after the break claims anything in the answer to the resume: the last eight bytes of
 * the input.
 */
#include "base/ratelimit.h"
#include "frames.h"
#include "fuzz.h"
#include "memory/region.h"
#include "outgoing/page-sender.h"
#include "outgoing/state-stream.h"
#include "transport/codec.h"
#include <string.h>

#define RAM_PAGES   24u
#define ROUNDS      6u
#define STATE_BYTES 300000u

/* ---- pages ---- */

static struct region *ram;
static struct ratelimit *limit;

static void make_memory(void)
{
    if (ram)
        return;
    if (region_new_made(&ram, "ram", RAM_PAGES * REGION_PAGE_SIZE, 0, -1, NULL) < 0 ||
        ratelimit_new(&limit, 0) < 0)
        give_up("no memory");
    for (size_t page = 0; page < RAM_PAGES; page++) /* runs of pages with zeros between them */
        if (page % 4)
            memset(ram->map + page * REGION_PAGE_SIZE, (int)page, REGION_PAGE_SIZE);
}

static int send_rounds(struct page_sender *s, struct page_cursor *cursor)
{
    const _Atomic bool stop = false;
    int r = 0;
    for (uint32_t round = 0; round < ROUNDS && r == 0; round++) {
        bitmap_set_range(ram->dirty, 0, RAM_PAGES);
        page_cursor_start(cursor, false);
        r = page_sender_round(s, round, &stop);
    }
    return r;
}

static void acknowledge_pages(struct memory_channel *channel, uint64_t claim)
{
    struct page_sender *sender;
    struct flight *flight;
    struct page_cursor cursor;
    struct page_counters counters = {0};
    struct region *const regions[] = {ram};
    bool nothing_said = channel->left_bytes < sizeof(struct wire_header);
    bitmap_clear_all(ram->dirty);
    page_cursor_init(&cursor, regions, 1);
    if (flight_new(&flight) < 0)
        give_up("no memory");
    const struct page_sender_setup setup = {.channel = &channel->base,
                                            .cursor = &cursor,
                                            .limit = limit,
                                            .counters = &counters,
                                            .flight = flight,
                                            .codecs = (const bool[CODEC_MAX]){0}};
    if (page_sender_new(&sender, &setup) < 0)
        give_up("no memory");
    send_rounds(sender, &cursor);
    if (claim > page_sender_frames(sender)) /* the answer would be refused */
        claim = 0;
    flight_applied(flight, claim);
    uint64_t back = flight_put_back(flight, regions);
    if (back > counters.begun_pages)
        give_up("more comes back than was sent");
    if (nothing_said && claim == 0 && bitmap_count(ram->dirty) != RAM_PAGES)
        give_up("what nobody has acknowledged is not dirty again");
    page_sender_free(sender);
    flight_free(flight);
    page_cursor_destroy(&cursor);
}

/* ---- device state ---- */

static uint32_t handed_out;

static ssize_t read_state(struct device *d, void *buf, size_t size, struct mig_error *err)
{
    size_t n = MIN(MIN(size, (size_t)20000), (size_t)(STATE_BYTES - handed_out));
    memset(buf, (int)handed_out, n);
    handed_out += (uint32_t)n;
    return (ssize_t)n;
}

static const struct device_info *info(struct device *d)
{
    static const struct device_info nothing;
    return &nothing;
}

static const struct device_ops source_ops = {.info = info, .read_state = read_state};

static void drain(struct state_stream *s)
{
    struct mig_error err = MIG_ERROR_INIT;
    state_stream_drain(s);
    int r = state_stream_wait(s, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
}

static void acknowledge_state(struct memory_channel *channel, uint64_t claim)
{
    struct device device = {.ops = &source_ops, .refs = 1, .name = "dev0"};
    const struct state_source source = {.device = &device, .precopy = true};
    struct memory_channel next;
    struct state_stream *s;
    struct mig_error err = MIG_ERROR_INIT;
    handed_out = 0;
    memory_channel_init(&next, NULL, 0);
    next.paced = true;
    if (state_stream_new(&s, &channel->base, false, &source, 1, NULL, -1, NULL) < 0)
        give_up("no memory");
    state_stream_keep(s);
    drain(s);
    int r = state_stream_resume(s, &next.base, &claim, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
    if (r == 0) {
        uint64_t sent = handed_out;
        if (claim > sent)
            give_up("more is in place than was sent");
        drain(s);
        if (next.base.sent_bytes < sent - claim)
            give_up("what the destination does not have is not sent again");
    }
    state_stream_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_channel channel;
    struct frame_stream stream;
    uint64_t claim = 0;
    int choice = frames_from_input(data, size, &channel, &stream);
    if (choice < 0)
        return 0;
    make_memory();
    if (size > sizeof claim)
        memcpy(&claim, data + size - sizeof claim, sizeof claim);
    channel.paced = true;
    /* The answer to HELLO was frame 0 of the connection: a frame in its place, which nobody hears here. */
    if (channel.left_bytes >= sizeof(struct wire_header)) {
        channel.data += sizeof(struct wire_header);
        channel.left_bytes -= sizeof(struct wire_header);
    }
    if ((unsigned)choice & CHOICE_STATE)
        acknowledge_state(&channel, claim);
    else
        acknowledge_pages(&channel, claim);
    return 0;
}
