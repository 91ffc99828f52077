/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers and kernel devices of a saved domain. Their descriptors live in the service manager's store;
 * what the daemon before this one had turned on is turned off, since nobody reads it any more.
 */
#include "domain/restore-parts.h"
#include "base/json.h"
#include "domain/kernel-devices.h"
#include "domain/structure.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <stdio.h>
#include <string.h>

/* The descriptor of a container or device and, where it is known, of the process that holds it. */
static int take_kept(struct domain *d, const char *kind, const char *name, struct json_object *o, int *ret_fd,
                     int *ret_pidfd, struct mig_error *err)
{
    char holder_kind[40];
    struct json_object *holder;
    snprintf(holder_kind, sizeof holder_kind, "%s-holder", kind);
    if (restore_kept_fd(d, kind, name, o, ret_fd) == 0 &&
        (!json_object_object_get_ex(o, "holder", &holder) ||
         restore_kept_fd(d, holder_kind, name, holder, ret_pidfd) == 0))
        return 0;
    return mig_error_set(err, MIG_ERR_FAILED, 0,
                         "%s %s came as a descriptor, and the service manager did not keep it", kind, name);
}

static size_t read_hwpts(struct json_object *o, uint32_t hwpts[static CONTAINER_HWPTS_MAX])
{
    struct json_object *array;
    size_t n, count = 0;
    if (json_get_array(o, "hwpts", &array, &n) < 0)
        return 0;
    for (size_t i = 0; i < n && count < CONTAINER_HWPTS_MAX; i++)
        hwpts[count++] = (uint32_t)json_object_get_int64(json_object_array_get_idx(array, i));
    return count;
}

/* One that migd opened is asked for nothing: it is what it was. */
static int make_own(struct container **ret, const char *name, int fd, const uint32_t *hwpts, size_t nhwpts,
                    uint32_t ioas, struct mig_error *err)
{
    _cleanup_(container_unrefp) struct container *c = NULL;
    int r = ioas ? container_new_own_iommufd(&c, name, fd, ioas, NULL, err)
                 : container_new_type1(&c, name, fd, NULL, err);
    for (size_t i = 0; r == 0 && i < nhwpts; i++)
        r = container_add_hwpt(c, hwpts[i], err);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}

static int map_into_container(void *userdata, const struct iova_mapping *m, struct mig_error *err)
{
    return container_map(userdata, m, err);
}

int restore_container(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name");
    _cleanup_close_ int fd = -1, pidfd = -1;
    uint32_t hwpts[CONTAINER_HWPTS_MAX];
    if (!name)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has a container without a name");
    int r = take_kept(d, "container", name, o, &fd, &pidfd, err);
    if (r < 0)
        return r;
    _cleanup_(container_unrefp) struct container *c = NULL;
    size_t nhwpts = read_hwpts(o, hwpts);
    uint32_t ioas = (uint32_t)json_u64_or(o, "ioas", 0);
    r = json_bool_or(o, "own", false) ? make_own(&c, name, fd, hwpts, nhwpts, ioas, err)
                                      : container_new(&c, name, fd, hwpts, nhwpts, ioas, NULL, err);
    if (r == 0 && pidfd >= 0)
        r = container_set_holder(c, pidfd, err);
    if (r < 0)
        return r;
    c->partial = json_bool_or(o, "partial", c->partial);
    container_stop_leftover(c);
    restore_mappings(d, name, o, map_into_container, c);
    c->maps = json_bool_or(o, "maps", false); /* what it mapped is there still */
    const struct domain_container dc = {.container = c, .automap = json_bool_or(o, "map", true)};
    return structure_insert_container(d, &dc, err);
}

static int map_into_device(void *userdata, const struct iova_mapping *m, struct mig_error *err)
{
    struct device *device = userdata;
    return device->ops->dma_map(device, m, err);
}

int restore_kernel_device(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name"), *tracker = json_text_or_null(o, "tracker");
    _cleanup_close_ int fd = -1, pidfd = -1;
    int r = domain_part_name_check("device", name, err);
    if (r < 0)
        return r;
    r = take_kept(d, "device", name, o, &fd, &pidfd, err);
    if (r < 0)
        return r;
    struct domain_device dd = {
        .timeout_usec = json_u64_or(o, "timeout", KVFIO_DEFAULT_TIMEOUT_USEC),
        .log_page_bytes = json_u64_or(o, "log-page-size", REGION_PAGE_SIZE),
        .use_precopy = json_bool_or(o, "precopy", true),
        .automap = json_bool_or(o, "map", true),
        .tracker_all = tracker && strcmp(tracker, "all") == 0,
        .tracker_container = tracker && strcmp(tracker, "container") == 0,
    };
    r = domain_open_kernel_device(d, name, &dd, fd, pidfd, err);
    if (r < 0)
        return r;
    _cleanup_(device_unrefp) struct device *device = dd.device;
    kvfio_device_stop_leftover_log(device);
    r = structure_insert_device(d, &dd, err);
    if (r == 0)
        restore_mappings(d, name, o, map_into_device, device);
    return r;
}
