/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that migd opened for a saved domain. They are never opened a second time: a VMM may have duplicates
 * and use them. What is in the service manager's store is taken over, and without it the VMM is the only one
 * who has the descriptors.
 */
#include "domain/restore-parts.h"
#include "base/json.h"
#include "domain/opened.h"
#include <string.h>

static int lost(struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name"), *address = json_text_or_null(o, "address"),
               *container = json_text_or_null(o, "container");
    return mig_error_set(err, MIG_ERR_FAILED, 0,
                         "device %.63s (%.63s) was opened by migd, whose descriptors of it and of container "
                         "%.63s are gone: its VMM hands in its own, or is started again and has migd open it",
                         name ? name : "?", address ? address : "?", container ? container : "?");
}

static int take_beside(struct domain *d, struct json_object *o, const char *key, const char *kind, int *ret)
{
    struct json_object *beside;
    return json_object_object_get_ex(o, key, &beside)
               ? restore_kept_fd(d, kind, json_text_or_null(o, "name"), beside, ret)
               : -ENOENT;
}

static int find_target(struct json_object *o, const char *name, struct open_target *ret,
                       struct mig_error *err)
{
    const char *sysfs = json_text_or_null(o, "sysfs");
    if (!sysfs)
        return lost(o, err);
    return open_target_find(ret, name, sysfs, NULL, err);
}

/* *ret is a reference. */
static int have_space(struct domain *d, struct json_object *o, bool iommufd, int fd, struct open_space **ret,
                      struct mig_error *err)
{
    const char *container = json_text_or_null(o, "container");
    struct open_space *s = domain_find_open_space(d, container ? container : "");
    if (s) {
        *ret = open_space_ref(s);
        return 0;
    }
    return open_space_adopt(ret, container ? container : "", iommufd, json_bool_or(o, "split", false),
                            (uint32_t)json_u64_or(o, "ioas", 0), fd, err);
}

int restore_opened(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name"), *interface = json_text_or_null(o, "interface"),
               *tracker = json_text_or_null(o, "tracker");
    bool iommufd = interface && strcmp(interface, "iommufd") == 0;
    _cleanup_close_ int fd = -1, space_fd = -1, group_fd = -1;
    struct open_target target;
    if (!name || domain_find_opened(d, name))
        return mig_error_set(err, MIG_ERR_FAILED, 0,
                             "its saved form has an opened device without a name of its "
                             "own");
    if (restore_kept_fd(d, "opened", name, o, &fd) < 0 ||
        take_beside(d, o, "container-kept", "opened-container", &space_fd) < 0 ||
        (!iommufd && take_beside(d, o, "group-kept", "opened-group", &group_fd) < 0))
        return lost(o, err);
    _cleanup_(open_space_unrefp) struct open_space *space = NULL;
    _cleanup_(open_device_unrefp) struct open_device *device = NULL;
    int r = find_target(o, name, &target, err);
    if (r == 0)
        r = have_space(d, o, iommufd, space_fd, &space, err);
    const struct open_kept kept = {.fd = fd,
                                   .group_fd = group_fd,
                                   .devid = (uint32_t)json_u64_or(o, "devid", 0),
                                   .hwpt = (uint32_t)json_u64_or(o, "hwpt", 0),
                                   .tracked = json_bool_or(o, "tracked", false)};
    if (r == 0)
        r = open_device_adopt(&device, space, name, &target, &kept, err);
    return r < 0
               ? r
               : domain_adopt_opened(d, device, json_bool_or(o, "state", true),
                                     json_bool_or(o, "map-memory", false), tracker ? tracker : "device", err);
}
