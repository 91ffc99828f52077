/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DEVICE_FEATURE: the envelope of all migration questions. */
#include "vfio-user/device-private.h"
#include <string.h>

int vfu_feature(struct vfu_device *vd, uint32_t flags, const char *what, const void *data, size_t data_bytes,
                void *reply, uint32_t reply_min, uint32_t reply_max, int *ret_refused, struct mig_error *err)
{
    struct {
        struct vfu_feature_header header;
        uint8_t data[64];
    } back;
    uint64_t largest = MAX((uint64_t)data_bytes, (uint64_t)reply_max);
    struct vfu_feature_header header = {.argsz = (uint32_t)(sizeof header + largest), .flags = flags};
    if (reply_max > sizeof back.data)
        return mig_error_set(err, MIG_ERR_FAILED, E2BIG, "%s: a reply of %u bytes does not fit", what,
                             reply_max);
    struct vfu_call call = {
        .command = VFU_DEVICE_FEATURE,
        .what = what,
        .send = {{&header, sizeof header}, {(void *)data, data_bytes}},
        .nsend = data_bytes > 0 ? 2 : 1,
        .reply = &back,
        /* A SET is answered with an echo that nobody needs; some servers leave it out. */
        .reply_min = reply_min > 0 ? (uint32_t)sizeof header + reply_min : 0,
        .reply_max = (uint32_t)sizeof back,
    };
    int r = vfu_conn_call(vd->conn, &call, err);
    if (ret_refused)
        *ret_refused = call.refused;
    if (r < 0)
        return r;
    if (reply_max > 0 && call.reply_bytes > sizeof header)
        memcpy(reply, back.data, MIN((size_t)reply_max, call.reply_bytes - sizeof header));
    return 0;
}

int vfu_feature_probe(struct vfu_device *vd, uint32_t flags, bool *ret, struct mig_error *err)
{
    int refused = 0;
    struct mig_error e = MIG_ERROR_INIT;
    int r =
        vfu_feature(vd, flags | VFU_FEATURE_PROBE, "DEVICE_FEATURE PROBE", NULL, 0, NULL, 0, 0, &refused, &e);
    if (r < 0 && refused == 0) {
        if (err)
            *err = e;
        return r;
    }
    *ret = r == 0;
    return 0;
}
