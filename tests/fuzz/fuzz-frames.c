/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A page connection or a control connection that says anything (frames.h). */
#include "frames.h"
#include "fuzz.h"
#include "incoming/apply.h"
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_PAGES 32u
#define ROM_PAGES 4u

static struct region *regions[2];

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

static void on_fence(void *userdata, unsigned connection, uint32_t round, uint64_t of)
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
    static const uint8_t untouched[ROM_PAGES * REGION_PAGE_SIZE];
    if (memcmp(regions[1]->map, untouched, sizeof untouched) != 0)
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
    struct memory_channel channel;
    struct frame_stream stream;
    int choice = frames_from_input(data, size, &channel, &stream);
    if (choice < 0)
        return 0;
    make_regions();
    if ((unsigned)choice & CHOICE_MESSAGES)
        listen_to(&stream);
    else
        apply(&stream);
    return 0;
}
