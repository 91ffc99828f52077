/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/restore-parts.h"
#include "base/json.h"
#include "base/log.h"
#include "loop/fdstore.h"
#include <stdio.h>
#include <string.h>

void restore_missing(struct domain *d, const struct mig_error *e)
{
    const struct log_fields fields = {.message = MESSAGE_DOMAIN_NOT_RESTORED, .domain = d->name};
    log_mig_error(LOG_ERR, &fields, e, "cannot be restored whole");
    if (d->incomplete[0])
        return;
    snprintf(d->incomplete, sizeof d->incomplete,
             "after a restart of migd: %.280s; release the domain and register it again", e->message);
    if (d->state == DOMAIN_STATE_RUNNING || d->state == DOMAIN_STATE_WAITING)
        d->state = DOMAIN_STATE_BROKEN;
    if (!d->problem[0])
        snprintf(d->problem, sizeof d->problem, "%s", d->incomplete);
}

int restore_kept_fd(struct domain *d, const char *kind, const char *name, struct json_object *o, int *ret)
{
    const char *stored = json_text_or_null(o, "fd");
    char part[FDSTORE_NAME_MAX];
    if (!stored)
        return -ENOENT;
    snprintf(part, sizeof part, "%.40s/%.127s", kind, name);
    return fdstore_get(d->name, part, stored, ret);
}

static int map_one(struct domain *d, const char *name, struct json_object *m,
                   int (*map)(void *userdata, const struct iova_mapping *m, struct mig_error *err),
                   void *userdata, struct mig_error *err)
{
    const char *memory_name = json_text_or_null(m, "memory");
    struct domain_memory *memory = memory_name ? domain_find_memory(d, memory_name) : NULL;
    if (!memory)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "%s had memory %s mapped, which is missing", name,
                             memory_name ? memory_name : "?");
    const struct iova_mapping mapping = {
        .iova = json_u64_or(m, "iova", 0),
        .size_bytes = json_u64_or(m, "size", 0),
        .region = memory->region,
        .offset_bytes = json_u64_or(m, "offset", 0),
        .prot = (json_bool_or(m, "read", true) ? IOVA_READ : 0) |
                (json_bool_or(m, "write", true) ? IOVA_WRITE : 0),
    };
    return map(userdata, &mapping, err);
}

void restore_mappings(struct domain *d, const char *name, struct json_object *o,
                      int (*map)(void *userdata, const struct iova_mapping *m, struct mig_error *err),
                      void *userdata)
{
    struct json_object *array;
    size_t n;
    if (json_get_array(o, "mappings", &array, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        struct mig_error e = MIG_ERROR_INIT;
        if (map_one(d, name, json_object_array_get_idx(array, i), map, userdata, &e) < 0)
            restore_missing(d, &e);
    }
}
