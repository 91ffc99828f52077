/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A source that says any HELLO, to a destination with memory and a device: the input is the JSON text. It is
 * compared as for a migration, and the findings are put into an answer as for a check.
 */
#include "../fake/fake-device.h"
#include "frames.h"
#include "fuzz.h"
#include "incoming/compare.h"
#include "memory/region.h"
#include "migration/findings-json.h"

#define RAM_BYTES (UINT64_C(4) << 20)

static struct domain *domain;

static void make_domain(void)
{
    struct region *ram;
    struct fake_device *device;
    struct mig_error err = MIG_ERROR_INIT;
    if (domain)
        return;
    if (domain_new(&domain, "dom", true, &err) < 0 ||
        region_new_made(&ram, "ram", RAM_BYTES, 0, -1, &err) < 0 ||
        domain_add_memory(domain, ram, NULL, 0, &err) < 0)
        give_up(err.message);
    if (fake_device_new(&device, "dev0", REGION_PAGE_SIZE) < 0)
        give_up("no device");
    device->info.migration_flags = 7;
    if (domain_add_device(
            domain, &(struct domain_device){.device = &device->base, .log_page_bytes = REGION_PAGE_SIZE},
            &err) < 0)
        give_up(err.message);
    region_unref(ram);
    device_unref(&device->base);
}

static void compare(struct json_object *hello)
{
    struct here here;
    struct findings found = {0};
    struct mig_error err = MIG_ERROR_INIT;
    if (here_take(&here, domain, true) < 0)
        give_up("no memory");
    int r = compare_hello(hello, &here, &found, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
    if (r == 0) {
        struct json_object *answer = json_object_new_object();
        if (findings_tell(&found, answer) < 0)
            give_up("findings that cannot be told");
        json_object_put(answer);
        r = compare_refuse(&found, &err);
        if ((r < 0) != mig_error_is_set(&err))
            give_up("a refusal without words, or words without a refusal");
    }
    findings_clear(&found);
    here_drop(&here);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_channel channel;
    struct frame_stream stream;
    struct wire_header h;
    struct json_object *hello = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    if (frame_around_input(data, size, WIRE_HELLO, &channel, &stream) < 0)
        return 0;
    make_domain();
    if (frame_recv(&stream, &h, &err) == 0 && frame_recv_json(&stream, &h, &hello, &err) == 0)
        compare(hello);
    else if (!mig_error_is_set(&err))
        give_up("an error without words");
    json_object_put(hello);
    return 0;
}
