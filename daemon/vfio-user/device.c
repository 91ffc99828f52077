/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vfio-user device as an object: made, asked, dropped. Threads: see device.h. */
#include "vfio-user/passthrough.h"
#include "base/clock.h"
#include "base/fds.h"
#include <stdio.h>
#include <string.h>

static const struct device_info *info(struct device *d)
{
    struct vfu_device *vd = vfu_of(d);
    return &vd->info[atomic_load(&vd->info_index)];
}

static int precopy_info(struct device *d, struct device_precopy *ret, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                         "device %s: vfio-user has no question for PRE_COPY amounts", d->name);
}

static int stop_copy_size(struct device *d, uint64_t *ret_bytes, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                         "device %s: vfio-user has no question for the size of its state", d->name);
}

static int gone_fd(struct device *d)
{
    return vfu_conn_gone_fd(vfu_of(d)->conn);
}

static void destroy(struct device *d)
{
    struct vfu_device *vd = vfu_of(d);
    pthread_mutex_lock(&vd->state_lock);
    vd->closing = true;
    pthread_cond_broadcast(&vd->state_changed);
    pthread_mutex_unlock(&vd->state_lock);
    /* The pass-through threads may be in a command, the device thread in a question to the pass-through
     * client. */
    if (vd->conn)
        vfu_conn_shutdown(vd->conn, "migd has closed the connection");
    vfu_passthrough_stop(vd->passthrough);
    vfu_conn_free(vd->conn);
    vfu_passthrough_free(vd->passthrough);
    iova_map_free(d->map);
    iova_map_free(vd->unsent);
    pthread_mutex_destroy(&vd->info_lock);
    pthread_mutex_destroy(&vd->map_lock);
    pthread_cond_destroy(&vd->state_changed);
    pthread_mutex_destroy(&vd->state_lock);
    free(vd);
}

static const struct device_ops ops = {
    .info = info,
    .get_state = vfu_get_state,
    .set_state = vfu_set_state,
    .read_state = vfu_read_state,
    .write_state = vfu_write_state,
    .precopy_info = precopy_info,
    .stop_copy_size = stop_copy_size,
    .reset = vfu_reset,
    .log_start = vfu_log_start,
    .log_stop = vfu_log_stop,
    .log_report = vfu_log_report,
    .dma_map = vfu_dma_map,
    .dma_unmap = vfu_dma_unmap,
    .gone_fd = gone_fd,
    .destroy = destroy,
};

bool vfu_device_is(const struct device *d)
{
    return d->ops == &ops;
}

void vfu_device_quiesce(struct device *d, bool quiesce)
{
    struct vfu_device *vd = vfu_of(d);
    pthread_mutex_lock(&vd->state_lock);
    vd->quiesced = quiesce;
    pthread_cond_broadcast(&vd->state_changed);
    pthread_mutex_unlock(&vd->state_lock);
}

void vfu_device_get_status(struct device *d, struct vfu_device_status *ret)
{
    struct vfu_device *vd = vfu_of(d);
    *ret = (struct vfu_device_status){
        .twin_socket = vfu_conn_has_twin(vd->conn),
        .dma_reads = atomic_load(&vd->dma.reads),
        .dma_writes = atomic_load(&vd->dma.writes),
        .dma_refused = atomic_load(&vd->dma.refused),
    };
    memcpy(ret->socket, vd->path, sizeof ret->socket);
    pthread_mutex_lock(&vd->state_lock);
    ret->state = vd->state;
    pthread_mutex_unlock(&vd->state_lock);
    if (vd->passthrough)
        vfu_passthrough_status(vd->passthrough, ret);
}

static int learn(struct vfu_device *vd, struct mig_error *err)
{
    struct device_info *i = &vd->info[0];
    bool known;
    int r = vfu_learn_migration(vd, i, err);
    if (r == 0 && i->migration_flags) {
        enum device_state state;
        r = vfu_get_state(&vd->device, &state, err);
    } else if (r == 0) {
        vfu_note_state(vd, DEVICE_STATE_RUNNING);
    }
    return r < 0 ? r : vfu_learn_device(vd, i, &known, err);
}

static int check_options(const char *name, const struct vfu_device_options *o, struct mig_error *err)
{
    if (!o->path && o->fd < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: neither a socket path nor a descriptor is given", name);
    if (o->path && strlen(o->path) >= sizeof((struct vfu_device *)0)->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ENAMETOOLONG,
                             "device %s: the socket path is too long", name);
    if (o->timeout_usec && (o->timeout_usec < VFU_MIN_TIMEOUT_USEC || o->timeout_usec > VFU_MAX_TIMEOUT_USEC))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: a command timeout is between 1 ms and 1 h", name);
    if (o->max_data_xfer_bytes && (o->max_data_xfer_bytes < VFU_MIN_DATA_XFER_BYTES ||
                                   o->max_data_xfer_bytes > VFU_MAX_DATA_XFER_BYTES))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: a message carries between %u and %u bytes", name,
                             VFU_MIN_DATA_XFER_BYTES, VFU_MAX_DATA_XFER_BYTES);
    return 0;
}

int vfu_device_new(struct device **ret, const char *name, const struct vfu_device_options *o,
                   struct mig_error *err)
{
    int r = check_options(name, o, err);
    if (r < 0)
        return r;
    struct vfu_device *vd = calloc(1, sizeof *vd);
    if (!vd)
        return mig_error_oom(err);
    r = device_init(&vd->device, &ops, name);
    if (r < 0) {
        free(vd);
        return r == -EINVAL ? mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                            "a device needs a name of 1 to %d bytes", DEVICE_NAME_MAX)
                            : mig_error_oom(err);
    }
    _cleanup_(device_unrefp) struct device *d = &vd->device;
    pthread_mutex_init(&vd->info_lock, NULL);
    pthread_mutex_init(&vd->map_lock, NULL);
    pthread_mutex_init(&vd->state_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&vd->state_changed, &attr);
    pthread_condattr_destroy(&attr);
    r = iova_map_new(&vd->unsent);
    if (r < 0)
        return mig_error_oom(err);
    vd->info[0].kind = "vfio-user";
    uint64_t timeout = o->timeout_usec ? o->timeout_usec : VFU_DEFAULT_TIMEOUT_USEC;
    vd->dma.map = d->map;
    vd->dma.max_bytes = o->max_data_xfer_bytes ? o->max_data_xfer_bytes : VFU_DEFAULT_DATA_XFER_BYTES;
    vd->dma.timeout_usec = timeout;

    if (o->listen_path) {
        r = vfu_passthrough_new(&vd->passthrough, vd, o, err);
        if (r < 0)
            return r;
        vd->dma.foreign = &vfu_passthrough_foreign;
        vd->dma.foreign_userdata = vd->passthrough;
    }

    char label[256];
    if (o->path)
        snprintf(vd->path, sizeof vd->path, "%s", o->path);
    snprintf(label, sizeof label, "device %s (vfio-user%s%s)", name,
             o->path ? " " : ", socket given as a descriptor", o->path ? o->path : "");
    int s = o->path ? vfu_connect(o->path, timeout, label, err) : fd_dup(o->fd);
    if (s < 0)
        return o->path ? s : mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -s, "%s: %s", label, strerror(-s));
    r = vfu_conn_new(&vd->conn, label, s, timeout, &vd->dma, err);
    if (r == 0)
        r = learn(vd, err);
    if (r == 0 && vd->passthrough)
        r = vfu_passthrough_start(vd->passthrough, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(d);
    return 0;
}
