/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is remembered of a device's state, under state_lock: what the device says is the truth, but the memory
 * of it tells the pass-through server which commands must wait, a mapping whether it can be sent, and the
 * reader of a stream its end from a pause in it. Any thread; nothing here asks the device.
 */
#include "vfio-user/device-private.h"
#include "base/clock.h"

bool vfu_state_runs(enum device_state s)
{
    return s == DEVICE_STATE_RUNNING || s == DEVICE_STATE_PRE_COPY || s == DEVICE_STATE_RUNNING_P2P ||
           s == DEVICE_STATE_PRE_COPY_P2P;
}

bool vfu_state_is_configurable(enum device_state s)
{
    return vfu_state_runs(s) || s == DEVICE_STATE_RESUMING;
}

void vfu_note_state(struct vfu_device *vd, enum device_state state)
{
    pthread_mutex_lock(&vd->state_lock);
    vd->state = state;
    pthread_cond_broadcast(&vd->state_changed);
    pthread_mutex_unlock(&vd->state_lock);
}

void vfu_end_transition(struct vfu_device *vd)
{
    pthread_mutex_lock(&vd->state_lock);
    vd->in_transition = false;
    pthread_cond_broadcast(&vd->state_changed);
    pthread_mutex_unlock(&vd->state_lock);
}

/* From here on commands of the pass-through client wait. One that has begun is carried out first: the device
 * would refuse it after the change, and the client cannot know why. */
void vfu_begin_transition(struct vfu_device *vd)
{
    uint64_t deadline = deadline_in(vd->dma.timeout_usec);
    struct timespec until = {.tv_sec = (time_t)(deadline / USEC_PER_SEC),
                             .tv_nsec = (long)(deadline % USEC_PER_SEC * 1000)};
    pthread_mutex_lock(&vd->state_lock);
    vd->in_transition = true;
    while (vd->client_busy && !vd->closing)
        if (pthread_cond_timedwait(&vd->state_changed, &vd->state_lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&vd->state_lock);
}

enum device_state vfu_known_state(struct vfu_device *vd)
{
    pthread_mutex_lock(&vd->state_lock);
    enum device_state state = vd->state;
    pthread_mutex_unlock(&vd->state_lock);
    return state;
}

static bool fits(const struct vfu_device *vd, enum vfu_need need)
{
    if (vd->quiesced || vd->in_transition)
        return false;
    switch (need) {
    case VFU_NEED_CONFIGURABLE:
        return vfu_state_is_configurable(vd->state);
    case VFU_NEED_RESET:
        return vfu_state_runs(vd->state) || vd->state == DEVICE_STATE_ERROR;
    default:
        return vfu_state_runs(vd->state);
    }
}

bool vfu_wait_for(struct vfu_device *vd, enum vfu_need need, bool (*give_up)(void *userdata), void *userdata)
{
    pthread_mutex_lock(&vd->state_lock);
    while (!fits(vd, need) && !vd->closing && !give_up(userdata))
        pthread_cond_wait(&vd->state_changed, &vd->state_lock);
    bool ok = fits(vd, need) && !vd->closing;
    vd->client_busy = ok;
    pthread_mutex_unlock(&vd->state_lock);
    return ok;
}

void vfu_wait_done(struct vfu_device *vd)
{
    pthread_mutex_lock(&vd->state_lock);
    vd->client_busy = false;
    pthread_cond_broadcast(&vd->state_changed);
    pthread_mutex_unlock(&vd->state_lock);
}
