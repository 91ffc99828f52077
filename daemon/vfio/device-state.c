/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Migration states and data streams of a kernel VFIO device. Facts: linux/vfio.h
 * "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE".
 *
 * The way between two states is walked here, one SET per arc of the state table: the kernel hands a data fd
 * out only for the last arc of a walk, and this way no session is missed. A session lives from the arc that
 * opened it to the arc that ends it; PRE_COPY and STOP_COPY share one. Its fd stays open until then, since
 * the kernel never hands it out again.
 *
 * What PRECOPY_INFO says in its flags is garbage unless the second version of it was asked for before, where
 * the kernel has that.
 *
 * A driver may take RUNNING after it refused the data that was written (the kernel's sample does), so a
 * refusal is remembered here, and only a reset leads out of it.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "vfio/device-private.h"
#include <stdio.h>
#include <poll.h>
#include <string.h>

static int no_migration(struct kvfio_device *kd, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s cannot migrate", kd->device.name);
    mig_error_hint(err, "its driver has no VFIO migration version 2; if the kernel has a variant driver for "
                        "it, bind that instead of "
                        "vfio-pci");
    return r;
}

int kvfio_get_state(struct device *d, enum device_state *ret, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    struct kvfio_mig_state s = {.data_fd = -1};
    if (!kd->info.migration_flags)
        return no_migration(kd, err);
    int r = kvfio_feature(kd, KVFIO_FEATURE_DEVICE_STATE | KVFIO_FEATURE_GET, &s, sizeof s);
    if (r < 0)
        return kvfio_fail(kd, r, err, "asking for its state");
    if (s.state >= DEVICE_STATE_MAX)
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "device %s says that it is in state %u, which does not exist", d->name, s.state);
    atomic_store(&kd->state, s.state);
    *ret = (enum device_state)s.state;
    return 0;
}

static bool saving(enum device_state s)
{
    return s == DEVICE_STATE_PRE_COPY || s == DEVICE_STATE_PRE_COPY_P2P || s == DEVICE_STATE_STOP_COPY;
}

static bool in_session(enum device_state s)
{
    return saving(s) || s == DEVICE_STATE_RESUMING;
}

/* Takes the fd that an arc opened. */
static int open_session(struct kvfio_device *kd, int fd, enum device_state to, struct mig_error *err)
{
    close_fd(&kd->data_fd);
    if (fd < 0)
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0, "device %s went to %s without a data stream",
                             kd->device.name, device_state_to_string(to));
    kd->data_fd = fd;
    kd->data_refused = false;
    return fd_set_nonblock(fd, true);
}

static int set_one(struct kvfio_device *kd, enum device_state from, enum device_state to,
                   struct mig_error *err)
{
    struct kvfio_mig_state s = {.state = to, .data_fd = -1};
    if (saving(to) && !saving(from))
        kd->precopy_flags =
            kd->info.tells_renewal &&
            kvfio_feature(kd, KVFIO_FEATURE_MIG_PRECOPY_INFO_V2 | KVFIO_FEATURE_SET, NULL, 0) >= 0;
    int r = kvfio_feature(kd, KVFIO_FEATURE_DEVICE_STATE | KVFIO_FEATURE_SET, &s, sizeof s);
    if (r < 0)
        return kvfio_fail(kd, r, err, "the change from %s to %s", device_state_to_string(from),
                          device_state_to_string(to));
    atomic_store(&kd->state, to);
    if (in_session(to) && !(saving(from) && saving(to)))
        return open_session(kd, s.data_fd, to, err);
    close_fd(&s.data_fd); /* none is expected */
    if (!in_session(to))
        close_fd(&kd->data_fd);
    return 0;
}

static int walk(struct kvfio_device *kd, enum device_state *now, enum device_state to, struct mig_error *err)
{
    enum device_state from = *now;
    for (unsigned steps = 0; *now != to; steps++) {
        enum device_state next = device_state_next(kd->info.migration_flags, *now, to);
        if (next == DEVICE_STATE_ERROR || steps > DEVICE_STATE_MAX) {
            int r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "device %s cannot go from %s to %s",
                                  kd->device.name, device_state_to_string(*now), device_state_to_string(to));
            if (*now == DEVICE_STATE_ERROR)
                mig_error_hint(err, "only a reset takes a device out of the error state");
            return r;
        }
        int r = set_one(kd, *now, next, err);
        if (r < 0)
            return *now == from && next == to ? r
                                              : mig_error_wrap(err, "%s to %s", device_state_to_string(from),
                                                               device_state_to_string(to));
        *now = next;
    }
    return 0;
}

int kvfio_set_state(struct device *d, enum device_state state, enum device_state *ret_reached,
                    struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    enum device_state now = DEVICE_STATE_ERROR;
    pthread_mutex_lock(&kd->state_lock);
    int r = kvfio_check_holder(kd, err);
    if (r == 0 && kd->info.migration_flags && !device_state_exists(kd->info.migration_flags, state))
        r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s has no state %s", d->name,
                          device_state_to_string(state));
    if (r == 0)
        r = kvfio_get_state(d, &now, err);
    if (r == 0 && now == DEVICE_STATE_RESUMING && state != now && kd->data_refused) {
        r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "device %s refused the state that was written to it",
                          d->name);
        mig_error_hint(err, "only a reset leads out of this");
    }
    if (r == 0)
        r = walk(kd, &now, state, err);
    if (r < 0) {
        struct mig_error e = MIG_ERROR_INIT;
        if (kvfio_get_state(d, &now, &e) < 0)
            atomic_store(&kd->state, now = DEVICE_STATE_ERROR);
    }
    pthread_mutex_unlock(&kd->state_lock);
    if (ret_reached)
        *ret_reached = now;
    return r;
}

/* With the lock held. */
static int check_stream(struct kvfio_device *kd, bool write, struct mig_error *err)
{
    enum device_state now = (enum device_state)atomic_load(&kd->state);
    if (kd->data_fd >= 0 && (write ? now == DEVICE_STATE_RESUMING : saving(now)))
        return 0;
    return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "device %s is in %s and has no data stream to %s",
                         kd->device.name, device_state_to_string(now), write ? "write" : "read");
}

/* A session ends under migd's hands when somebody else resets the device: the guest's driver, or the VMM. */
static int stream_failed(struct kvfio_device *kd, int r, const char *what, struct mig_error *err)
{
    enum device_state before = (enum device_state)atomic_load(&kd->state), now;
    if (kvfio_get_state(&kd->device, &now, NULL) < 0 || now == before || in_session(now))
        return kvfio_fail(kd, r, err, "%s its state", what);
    close_fd(&kd->data_fd);
    r = mig_error_set(err, MIG_ERR_DEVICE, 0, "device %s was reset by somebody else in %s: it is in %s now",
                      kd->device.name, device_state_to_string(before), device_state_to_string(now));
    mig_error_hint(err, "neither the guest's driver nor the VMM may reset it during a migration: start the "
                        "migration again");
    return r;
}

ssize_t kvfio_read_state(struct device *d, void *buf, size_t size, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    uint64_t deadline = deadline_in(kd->timeout_usec);
    pthread_mutex_lock(&kd->state_lock);
    ssize_t n = check_stream(kd, false, err);
    bool stopped = atomic_load(&kd->state) == DEVICE_STATE_STOP_COPY;
    while (n == 0) {
        n = read(kd->data_fd, buf, size);
        if (n > 0 || (n == 0 && stopped))
            break;
        int r = n == 0 ? -ENOMSG : -errno;
        n = 0;
        if (r == -EINTR)
            continue;
        /* Without anything to say a driver may answer either way while the device runs. */
        if (r == -ENOMSG || (r == -EAGAIN && !stopped)) {
            n = stopped ? kvfio_fail(kd, -EPROTO, err,
                                     "reading its state: no data, and no end, although it stands still")
                        : -ENOMSG;
            break;
        }
        if (r == -EAGAIN)
            r = fd_wait(kd->data_fd, POLLIN, -1, deadline);
        if (r < 0) {
            n = stream_failed(kd, r, "reading", err);
            break;
        }
    }
    pthread_mutex_unlock(&kd->state_lock);
    return n;
}

int kvfio_write_state(struct device *d, const void *buf, size_t size, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    uint64_t deadline = deadline_in(kd->timeout_usec);
    pthread_mutex_lock(&kd->state_lock);
    int r = check_stream(kd, true, err);
    for (size_t done = 0; r == 0 && done < size;) {
        ssize_t n = write(kd->data_fd, (const char *)buf + done, size - done);
        if (n > 0) {
            done += (size_t)n;
            deadline = deadline_in(kd->timeout_usec);
            continue;
        }
        int e = n == 0 ? -EIO : -errno;
        if (e == -EINTR)
            continue;
        if (e == -EAGAIN && (e = fd_wait(kd->data_fd, POLLOUT, -1, deadline)) > 0)
            continue;
        kd->data_refused = true;
        r = stream_failed(kd, e, "writing", err);
    }
    pthread_mutex_unlock(&kd->state_lock);
    return r;
}

int kvfio_precopy_info(struct device *d, struct device_precopy *ret, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    struct kvfio_precopy_info arg = {.argsz = sizeof arg};
    pthread_mutex_lock(&kd->state_lock);
    int r = check_stream(kd, false, err);
    if (r == 0) {
        r = kernel_ioctl(kd->calls, kd->data_fd, KVFIO_MIG_GET_PRECOPY_INFO, &arg);
        if (r < 0)
            r = kvfio_fail(kd, r, err, "asking how much it has to say in PRE_COPY");
    }
    bool renewed = kd->precopy_flags && (arg.flags & KVFIO_PRECOPY_INFO_RENEWED);
    pthread_mutex_unlock(&kd->state_lock);
    if (r == 0)
        *ret = (struct device_precopy){arg.initial_bytes, arg.dirty_bytes, renewed};
    return r;
}

int kvfio_stop_copy_size(struct device *d, uint64_t *ret_bytes, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    uint64_t bytes = 0;
    int r = kvfio_feature(kd, KVFIO_FEATURE_MIG_DATA_SIZE | KVFIO_FEATURE_GET, &bytes, sizeof bytes);
    if (r < 0)
        return kvfio_fail(kd, r == -ENOTTY ? -EOPNOTSUPP : r, err, "asking how large its state will be");
    *ret_bytes = bytes;
    return 0;
}

int kvfio_reset(struct device *d, struct mig_error *err)
{
    struct kvfio_device *kd = kvfio_of(d);
    pthread_mutex_lock(&kd->state_lock);
    int r = kernel_ioctl(kd->calls, kd->fd, KVFIO_DEVICE_RESET, NULL);
    if (r < 0) {
        r = kvfio_fail(kd, r, err, "the reset");
    } else {
        enum device_state now = DEVICE_STATE_RUNNING;
        close_fd(&kd->data_fd);
        kd->data_refused = false;
        if (!kd->info.migration_flags || kvfio_get_state(d, &now, NULL) == 0)
            atomic_store(&kd->state, now);
    }
    pthread_mutex_unlock(&kd->state_lock);
    return r;
}
