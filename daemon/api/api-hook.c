/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-hook.h"
#include "api/api-context.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/log.h"
#include "libvirt/hook.h"
#include <stdio.h>

struct asked {
    struct hook_call *call;
    int status; /* for libvirt */
    char message[800];
};

/* A refusal is an answer, and the hook shows its text to whoever called libvirt. */
static void refuse(struct asked *a, const struct mig_error *e)
{
    a->status = 1;
    snprintf(a->message, sizeof a->message, "%s%s%s", e->message, e->hint[0] ? ". " : "", e->hint);
    log_mig_error(LOG_WARNING, NULL, e, "libvirt's hook is told to fail");
}

static int run(void *work, int cancel_fd, struct mig_error *err)
{
    struct asked *a = work;
    struct mig_error e = MIG_ERROR_INIT;
    if (hook_run(a->call, cancel_fd, &e) < 0)
        refuse(a, &e);
    return 0;
}

static int finish(void *work, struct mig_error *err)
{
    struct asked *a = work;
    struct mig_error e = MIG_ERROR_INIT;
    if (a->status == 0 && hook_finish(a->call, &e) < 0)
        refuse(a, &e);
    if (a->status == 0)
        snprintf(a->message, sizeof a->message, "%s", hook_call_message(a->call));
    return 0;
}

static int answer(void *work, sd_bus_message *reply)
{
    const struct asked *a = work;
    return sd_bus_message_append(reply, "iss", (int32_t)a->status, a->status ? "" : hook_call_xml(a->call),
                                 a->message);
}

static void asked_free(void *work)
{
    struct asked *a = work;
    hook_call_free(a->call);
    free(a);
}

int api_method_libvirt_hook(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    static const struct api_job_ops ops = {
        .run_until = run, .finish = finish, .answer = answer, .free = asked_free};
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *name, *operation, *sub_operation, *extra, *xml;
    int r = sd_bus_message_read(m, "sssss", &name, &operation, &sub_operation, &extra, &xml);
    if (r < 0)
        return r;
    if (api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    if (a->quitting || !a->o.hook)
        return api_error(error, (mig_error_set(&e, MIG_ERR_BUSY, 0, "migd is ending"), &e));
    struct asked *asked = calloc(1, sizeof *asked);
    if (!asked)
        return api_error(error, (mig_error_oom(&e), &e));
    if (hook_begin(a->o.hook, name, operation, sub_operation, extra, xml, &asked->call, &e) < 0) {
        asked_free(asked);
        return api_error(error, &e);
    }
    r = api_job_start(a, m, NULL, "LibvirtHook", &ops, asked, &e);
    return r < 0 ? api_error(error, &e) : r;
}
