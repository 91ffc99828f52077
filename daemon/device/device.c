/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every device shares: its name, its references, its IOVA map, and the recovery ladder of rule R12. Any
 * thread.
 */
#include "device/device.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int device_init(struct device *d, const struct device_ops *ops, const char *name)
{
    size_t length = name ? strlen(name) : 0;
    if (length == 0 || length > DEVICE_NAME_MAX)
        return -EINVAL;
    d->ops = ops;
    d->map = NULL;
    memcpy(d->name, name, length + 1);
    __atomic_store_n(&d->refs, 1, __ATOMIC_RELAXED);
    return iova_map_new(&d->map);
}

struct device *device_ref(struct device *d)
{
    if (d)
        __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

struct device *device_unref(struct device *d)
{
    if (d && __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) == 0)
        d->ops->destroy(d);
    return NULL;
}

static void _printf_(3, 4) note(char *steps, size_t size, const char *format, ...)
{
    size_t used = size ? strnlen(steps, size) : 0;
    if (used + 1 >= size)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(steps + used, size - used, format, ap);
    va_end(ap);
}

/* True when the device answers and is in a state that can be worked with. */
static bool ask(struct device *d, enum device_state *ret, char *steps, size_t size)
{
    struct mig_error e = MIG_ERROR_INIT;
    if (d->ops->get_state(d, ret, &e) < 0) {
        note(steps, size, "; it does not tell its state (%s)", e.message);
        return false;
    }
    return *ret != DEVICE_STATE_ERROR;
}

int device_recover(struct device *d, enum device_state from, enum device_state to,
                   enum device_state *ret_state, char *steps, size_t steps_size, struct mig_error *err)
{
    char own[512];
    if (!steps || steps_size == 0) {
        steps = own;
        steps_size = sizeof own;
    }
    steps[0] = '\0';
    note(steps, steps_size, "%s to %s failed", device_state_to_string(from), device_state_to_string(to));

    struct mig_error e = MIG_ERROR_INIT;
    enum device_state now = DEVICE_STATE_ERROR, wanted = device_state_recovery(from, to);
    bool answers = ask(d, &now, steps, steps_size);
    if (wanted != DEVICE_STATE_ERROR && answers) {
        if (now == wanted || d->ops->set_state(d, wanted, &now, &e) == 0) {
            note(steps, steps_size, "; the device is back in %s", device_state_to_string(wanted));
            *ret_state = wanted;
            return 0;
        }
        note(steps, steps_size, "; going back to %s failed (%s)", device_state_to_string(wanted), e.message);
    }

    mig_error_clear(&e);
    if (d->ops->reset(d, &e) < 0) {
        note(steps, steps_size, "; the reset failed (%s)", e.message);
    } else if (ask(d, &now, steps, steps_size)) {
        /* Not every server goes to RUNNING on a reset, so what it says is what counts. */
        note(steps, steps_size, "; after a reset the device is in %s", device_state_to_string(now));
        *ret_state = now;
        return 1;
    } else {
        note(steps, steps_size, "; a reset did not help");
    }
    *ret_state = DEVICE_STATE_ERROR;
    int r = mig_error_set(err, MIG_ERR_DEVICE_BROKEN, 0, "device %s is broken: %s", d->name, steps);
    mig_error_hint(err, "Detach the device, restart or power-cycle it, and attach it again");
    return r;
}
