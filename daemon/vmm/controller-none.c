/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nobody to pause: for a workload that is nothing but its devices, or that stands still by other means. */
#include "vmm/controller.h"

static int none_pause(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return 0;
}

static int none_resume(struct controller *c, uint64_t deadline_usec, struct mig_error *err)
{
    return 0;
}

static int none_save(struct controller *c, uint64_t deadline_usec, int *ret_fd, struct mig_error *err)
{
    *ret_fd = -1;
    return 0;
}

static int none_load(struct controller *c, int state_fd, uint64_t deadline_usec, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_CONTROLLER, EOPNOTSUPP,
                          "the source sent the state of its VMM, but this domain has no VMM controller");
    mig_error_hint(
        err, "name one with SetController before the migration, or register the source domain without one");
    return r;
}

static void none_destroy(struct controller *c)
{
    free(c);
}

static const struct controller_ops none_ops = {
    .kind = "none",
    .pause = none_pause,
    .resume = none_resume,
    .save = none_save,
    .load = none_load,
    .destroy = none_destroy,
};

int controller_new_none(struct controller **ret, struct mig_error *err)
{
    struct controller *c = malloc(sizeof *c);
    if (!c)
        return mig_error_oom(err);
    *c = (struct controller){.ops = &none_ops, .refs = 1};
    *ret = c;
    return 0;
}
