/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A call that takes long: its work runs on a helper thread, its answer is sent when that is done. Whoever
 * calls meanwhile for the same domain is told that it is busy.
 */
#pragma once
#include "api/api-context.h"

struct api_job;
struct api_job_ops {
    /* On the helper. It may read the domain (see domain.h) and block. */
    int (*run)(void *work, struct mig_error *err);
    /* Instead of run: gives up with Cancelled once cancel_fd becomes readable, because the daemon ends. */
    int (*run_until)(void *work, int cancel_fd, struct mig_error *err);
    /* On the main thread after run, which was successful: takes the result over into the domain. */
    int (*finish)(void *work, struct mig_error *err);
    /* Appends what the call answers; NULL: nothing. */
    int (*answer)(void *work, sd_bus_message *reply);
    void (*free)(void *work);
};

/* Takes work over, also on failure. domain NULL: none is busy with it. what: "AddUserDevice nic0". Returns 1,
 * for the handler to return: the call is answered later. */
int api_job_start(struct api *a, sd_bus_message *call, struct domain *domain, const char *what,
                  const struct api_job_ops *ops, void *work, struct mig_error *err);
/* The daemon ends: those that can give up do. */
void api_jobs_cancel(struct api *a);
/* At shutdown: waits for all. */
void api_jobs_free(struct api *a);
