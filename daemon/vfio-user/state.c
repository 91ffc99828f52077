/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Migration states and the state stream of a vfio-user device.
 *
 * The way between two states is walked here, one SET per arc of the state table, so that a refusal names the
 * arc, and servers that know only direct arcs work too.
 */
#include "vfio-user/device-private.h"
#include <stdio.h>
#include <string.h>

static uint32_t migration_flags(struct vfu_device *vd)
{
    return vd->info[atomic_load(&vd->info_index)].migration_flags;
}

static int fail_no_migration(struct vfu_device *vd, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "%s cannot migrate", vfu_conn_label(vd->conn));
    mig_error_hint(err, "Its server offers no migration feature (VFIO migration version 2)");
    return r;
}

int vfu_get_state(struct device *d, enum device_state *ret, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    if (!migration_flags(vd))
        return fail_no_migration(vd, err);
    struct vfu_mig_state reply = {0};
    int r = vfu_feature(vd, VFU_FEATURE_MIG_DEVICE_STATE | VFU_FEATURE_GET, "DEVICE_FEATURE MIG_DEVICE_STATE",
                        NULL, 0, &reply, sizeof reply, sizeof reply, NULL, err);
    if (r < 0)
        return r;
    if (reply.state >= DEVICE_STATE_MAX)
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "%s says that it is in state %u, which does not exist", vfu_conn_label(vd->conn),
                             reply.state);
    vfu_note_state(vd, reply.state);
    *ret = reply.state;
    return 0;
}

static int set_one(struct vfu_device *vd, enum device_state from, enum device_state to, struct mig_error *err)
{
    char what[80];
    snprintf(what, sizeof what, "the change from %s to %s", device_state_to_string(from),
             device_state_to_string(to));
    struct vfu_mig_state wanted = {.state = to, .data_fd = -1};
    return vfu_feature(vd, VFU_FEATURE_MIG_DEVICE_STATE | VFU_FEATURE_SET, what, &wanted, sizeof wanted, NULL,
                       0, 0, NULL, err);
}

static int walk(struct vfu_device *vd, enum device_state *now, enum device_state to, struct mig_error *err)
{
    uint32_t flags = migration_flags(vd);
    enum device_state from = *now;
    for (unsigned steps = 0; *now != to; steps++) {
        enum device_state next = device_state_next(flags, *now, to);
        if (next == DEVICE_STATE_ERROR || steps > DEVICE_STATE_MAX) {
            int r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "%s cannot go from %s to %s",
                                  vfu_conn_label(vd->conn), device_state_to_string(*now),
                                  device_state_to_string(to));
            if (*now == DEVICE_STATE_ERROR)
                mig_error_hint(err, "Only a reset takes a device out of the error state");
            return r;
        }
        int r = set_one(vd, *now, next, err);
        if (r < 0)
            return *now == from && next == to ? r
                                              : mig_error_wrap(err, "%s to %s", device_state_to_string(from),
                                                               device_state_to_string(to));
        *now = next;
        vfu_note_state(vd, next);
        if (vfu_state_is_configurable(next)) {
            r = vfu_send_late_maps(vd, err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int vfu_set_state(struct device *d, enum device_state state, enum device_state *ret_reached,
                  struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    enum device_state now = DEVICE_STATE_ERROR;
    if (ret_reached)
        *ret_reached = DEVICE_STATE_ERROR;
    if (migration_flags(vd) && !device_state_exists(migration_flags(vd), state))
        return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "%s has no state %s", vfu_conn_label(vd->conn),
                             device_state_to_string(state));
    int r = vfu_get_state(d, &now, err);
    if (r < 0)
        return r;
    if (!vfu_state_runs(state))
        vfu_begin_transition(vd);
    r = walk(vd, &now, state, err);
    if (r < 0) {
        struct mig_error e = MIG_ERROR_INIT;
        if (vfu_get_state(d, &now, &e) < 0) {
            now = DEVICE_STATE_ERROR;
            vfu_note_state(vd, now);
        }
    }
    vfu_end_transition(vd);
    if (ret_reached)
        *ret_reached = now;
    if (r == 0 && vfu_state_is_configurable(state))
        vfu_learn_again(vd);
    return r;
}

ssize_t vfu_read_state(struct device *d, void *buf, size_t size, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    uint32_t most = MIN(vd->dma.max_bytes, vfu_conn_caps(vd->conn)->max_data_xfer_bytes);
    uint32_t wanted = (uint32_t)MIN(size, (size_t)most);
    struct vfu_mig_data request = {.argsz = (uint32_t)sizeof request + wanted, .size = wanted}, reply = {0};
    struct vfu_call call = {
        .command = VFU_MIG_DATA_READ,
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .reply = &reply,
        .reply_min = sizeof reply,
        .reply_max = sizeof reply,
        .data = buf,
        .data_max = wanted,
    };
    if (wanted == 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: no room for device state",
                             vfu_conn_label(vd->conn));
    int r = vfu_conn_call(vd->conn, &call, err);
    if (r < 0)
        return r;
    /* Only the size field is true: the payload is padded to what was asked for. */
    if (reply.size > wanted || reply.size > call.reply_bytes - sizeof reply)
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "%s says that %u bytes of device state came, where %zu are",
                             vfu_conn_label(vd->conn), reply.size, call.reply_bytes - sizeof reply);
    if (reply.size == 0 && vfu_known_state(vd) != DEVICE_STATE_STOP_COPY)
        return -ENOMSG;
    return (ssize_t)reply.size;
}

int vfu_write_state(struct device *d, const void *buf, size_t size, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    uint32_t most = MIN(vd->dma.max_bytes, vfu_conn_caps(vd->conn)->max_data_xfer_bytes);
    most = MIN(most, (uint32_t)(VFU_SAFE_PAYLOAD_BYTES - sizeof(struct vfu_mig_data)));
    for (size_t done = 0; done < size;) {
        uint32_t piece = (uint32_t)MIN(size - done, (size_t)most);
        struct vfu_mig_data request = {.argsz = (uint32_t)sizeof request + piece, .size = piece};
        struct vfu_mig_data unused;
        struct vfu_call call = {
            .command = VFU_MIG_DATA_WRITE,
            .send = {{&request, sizeof request}, {(char *)buf + done, piece}},
            .nsend = 2,
            .reply = &unused,
            .reply_max = sizeof unused,
        };
        int r = vfu_conn_call(vd->conn, &call, err);
        if (r < 0)
            return r;
        done += piece;
    }
    return 0;
}

int vfu_reset(struct device *d, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    uint32_t unused;
    struct vfu_call call = {.command = VFU_DEVICE_RESET, .reply = &unused, .reply_max = sizeof unused};
    int r = vfu_conn_call(vd->conn, &call, err);
    if (r < 0)
        return r;
    enum device_state state;
    if (migration_flags(vd)) /* servers differ in what a reset does to the state */
        vfu_get_state(d, &state, NULL);
    return 0;
}
