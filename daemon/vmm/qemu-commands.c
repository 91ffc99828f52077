/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm/qemu-commands.h"
#include "base/log.h"
#include <stdio.h>
#include <string.h>

int qemu_command(const char *path, const char *command, uint64_t deadline_usec, struct mig_error *err)
{
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    int r = qmp_open(&q, path, deadline_usec, err);
    return r < 0 ? r : qmp_call(q, command, NULL, -1, deadline_usec, NULL, err);
}

int qemu_ask_status(struct qmp *q, const char *command, char *word, size_t size, uint64_t deadline_usec,
                    struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    int r = qmp_call(q, command, NULL, -1, deadline_usec, &o, err);
    if (r < 0)
        return r;
    const char *status = json_text_or_null(o, "status"), *why = json_text_or_null(o, "error-desc");
    snprintf(word, size, "%s", status ? status : "");
    if (why && strcmp(word, "failed") == 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, 0, "QEMU at %s: %.300s", qmp_path(q), why);
    return 0;
}

int qemu_ignore_shared(struct qmp *q, bool on, uint64_t deadline_usec, struct mig_error *err)
{
    struct json_object *o = json_object_new_object(), *list = json_object_new_array(),
                       *one = qmp_argument("capability", "x-ignore-shared");
    if (!o || !list || !one || json_add_bool(one, "state", on) < 0 || json_object_array_add(list, one) < 0) {
        json_object_put(one);
        json_object_put(list);
        json_object_put(o);
        return mig_error_oom(err);
    }
    if (json_add(o, "capabilities", list) < 0) {
        json_object_put(o);
        return mig_error_oom(err);
    }
    return qmp_call(q, "migrate-set-capabilities", o, -1, deadline_usec, NULL, err);
}

void qemu_heed_shared(struct qmp *q, uint64_t deadline_usec)
{
    struct mig_error e = MIG_ERROR_INIT;
    if (qemu_ignore_shared(q, false, deadline_usec, &e) < 0)
        log_mig_error(LOG_NOTICE, NULL, &e, "QEMU keeps the capability x-ignore-shared");
}
