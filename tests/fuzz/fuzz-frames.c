/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A page connection or a control connection that says anything. The input is a byte of choices, then frames.
 * Checksums would keep a fuzzer at the door, so unless the choice is otherwise each header gets its magic,
 * version, sequence and checksums right before it is sent.
 */
#include "fuzz.h"
#include "base/clock.h"
#include "incoming/apply.h"
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CHOICE_RAW      1u /* send the bytes as they are */
#define CHOICE_MESSAGES 2u /* a control connection */
#define CHOICE_SUMS     4u /* payload checksums are made right, too */

#define INPUT_MAX_BYTES (96u << 10)
#define RAM_PAGES       32u
#define ROM_PAGES       4u

static struct region *regions[2];

static void give_up(const char *why)
{
    fprintf(stderr, "%s\n", why);
    abort(); /* a finding */
}

static void make_regions(void)
{
    if (regions[0])
        return;
    int fd = memfd_create("rom", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, ROM_PAGES * REGION_PAGE_SIZE) < 0 ||
        region_new_made(&regions[0], "ram", RAM_PAGES * REGION_PAGE_SIZE, 0, -1, NULL) < 0 ||
        region_new_from_fd(&regions[1], "rom", fd, 0, 0, false, NULL) < 0)
        give_up("no regions");
    close(fd);
}

static void seal(uint8_t *at, size_t payload, unsigned choice, uint64_t sequence)
{
    struct wire_header h;
    memcpy(&h, at, sizeof h);
    h.magic = WIRE_MAGIC;
    h.version = WIRE_VERSION;
    h.sequence = sequence;
    h.reserved = 0;
    if (choice & CHOICE_SUMS && h.flags & WIRE_FLAG_CHECKSUM)
        h.payload_checksum = XXH3_64bits(at + sizeof h, payload);
    h.header_checksum = XXH3_64bits(&h, offsetof(struct wire_header, header_checksum));
    memcpy(at, &h, sizeof h);
}

static void seal_all(uint8_t *data, size_t size, unsigned choice)
{
    uint64_t sequence = 0;
    for (size_t at = 0; size - at >= sizeof(struct wire_header);) {
        struct wire_header h;
        memcpy(&h, data + at, sizeof h);
        size_t payload = MIN((uint64_t)(size - at - sizeof h), h.length);
        seal(data + at, payload, choice, sequence++);
        at += sizeof h + payload;
    }
}

static void on_fence(void *userdata, unsigned connection, uint32_t round)
{
}

static void apply(struct frame_stream *stream)
{
    struct apply_counters counters = {0};
    struct apply a = {.regions = regions, .nregions = 2, .counters = &counters, .fence = on_fence};
    struct mig_error err = MIG_ERROR_INIT;
    int r = apply_run(&a, 0, stream, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
    for (size_t i = 0; i < ROM_PAGES * REGION_PAGE_SIZE; i++)
        if (regions[1]->map[i])
            give_up("memory was written that may only be read");
}

static void listen_to(struct frame_stream *stream)
{
    static uint8_t buffer[WIRE_PAYLOAD_MAX_BYTES];
    struct wire_header h;
    struct mig_error err = MIG_ERROR_INIT;
    while (frame_recv(stream, &h, &err) == 0) {
        struct json_object *object = NULL;
        struct iovec iov = {buffer, h.length};
        bool text = h.type == WIRE_HELLO || h.type == WIRE_MESSAGE;
        int r =
            text ? frame_recv_json(stream, &h, &object, &err) : frame_recv_payload(stream, &h, &iov, 1, &err);
        if (text && r == 0 && !json_object_is_type(object, json_type_object))
            give_up("something else than an object was taken");
        json_object_put(object);
        if (r < 0)
            break;
    }
    if (!mig_error_is_set(&err))
        give_up("an error without words");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t copy[INPUT_MAX_BYTES];
    if (size < 1 || size - 1 > sizeof copy)
        return 0;
    unsigned choice = data[0];
    size--;
    memcpy(copy, data + 1, size);
    make_regions();
    if (!(choice & CHOICE_RAW))
        seal_all(copy, size, choice);

    int sv[2], room = 1 << 20;
    struct channel *in = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        give_up("no sockets");
    setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    if (send(sv[0], copy, size, MSG_DONTWAIT) != (ssize_t)size)
        give_up("the socket is too small");
    close(sv[0]);
    if (channel_from_socket(&in, sv[1], "fuzzer", -1) < 0)
        give_up("no channel");
    in->stall_timeout_usec = USEC_PER_SEC;
    struct frame_stream stream;
    frame_stream_init(&stream, in, false);
    if (choice & CHOICE_MESSAGES)
        listen_to(&stream);
    else
        apply(&stream);
    channel_free(in);
    return 0;
}
