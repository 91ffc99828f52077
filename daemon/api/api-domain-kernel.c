/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.AddContainer and AddDevice: kernel VFIO, from descriptors. A driver may be slow to answer, so a
 * helper asks. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/fds.h"
#include "domain/kernel-devices.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* ---- the process that holds what is added: "pid", or a pidfd, whose number cannot come to mean another ----
 */

struct holder_options {
    uint32_t pid;
    int pidfd;
};

/* *ret stays -1 when no holder is told. what: "device". */
static int take_holder(const struct holder_options *o, const char *what, const char *name, int *ret,
                       struct mig_error *err)
{
    if (o->pidfd < 0 && o->pid == 0)
        return 0;
    if (o->pidfd >= 0)
        *ret = fd_dup(o->pidfd);
    else if (o->pid > INT32_MAX)
        *ret = -ESRCH;
    else if ((*ret = (int)syscall(SYS_pidfd_open, (pid_t)o->pid, 0)) < 0)
        *ret = -errno;
    struct pollfd p = {.fd = *ret, .events = POLLIN};
    int e = *ret < 0 ? -*ret : poll(&p, 1, 0) > 0 ? ESRCH : 0;
    if (e == 0)
        return 0;
    close_fd(ret);
    *ret = -1;
    if (o->pidfd >= 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, e, "%s %s: the process that holds it: %s", what,
                             name, strerror(e));
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, e, "%s %s: its holder, process %u: %s", what, name,
                         o->pid, strerror(e));
}

/* ---- AddContainer ---- */

struct container_work {
    struct domain *domain; /* the job holds the reference */
    char name[CONTAINER_NAME_MAX + 1];
    int fd, pidfd;
    uint32_t hwpts[CONTAINER_HWPTS_MAX], ioas;
    size_t nhwpts;
    struct domain_container wanted;
};

static void free_container_work(void *work)
{
    struct container_work *w = work;
    close_fd(&w->fd);
    close_fd(&w->pidfd);
    container_unref(w->wanted.container);
    free(w);
}

static void free_container_workp(struct container_work **w)
{
    if (*w)
        free_container_work(*w);
}

static int open_container(void *work, struct mig_error *err)
{
    struct container_work *w = work;
    int r = container_new(&w->wanted.container, w->name, w->fd, w->hwpts, w->nhwpts, w->ioas, NULL, err);
    if (r == 0 && w->pidfd >= 0)
        r = container_set_holder(w->wanted.container, w->pidfd, err);
    return r < 0 ? r : domain_map_container(w->domain, &w->wanted, err);
}

static int insert_container(void *work, struct mig_error *err)
{
    struct container_work *w = work;
    int r = domain_insert_container(w->domain, &w->wanted, err);
    if (r == 0)
        domain_watch_devices(w->domain);
    return r;
}

static const struct api_job_ops container_ops = {
    .run = open_container, .finish = insert_container, .free = free_container_work};

static int take_hwpts(struct container_work *w, const struct api_u64s *given, struct mig_error *err)
{
    if (given->n > CONTAINER_HWPTS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "container %s: %zu HWPTs, the limit is %u", w->name,
                             given->n, CONTAINER_HWPTS_MAX);
    for (size_t i = 0; i < given->n; i++) {
        if (given->values[i] == 0 || given->values[i] > UINT32_MAX)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                 "container %s: %" PRIu64 " is no id of an HWPT", w->name, given->values[i]);
        w->hwpts[i] = (uint32_t)given->values[i];
    }
    w->nhwpts = given->n;
    return 0;
}

static int prepare_container(struct api_domain *ad, const char *name, int fd, const struct api_u64s *hwpts,
                             const struct holder_options *holder, struct container_work *w,
                             struct mig_error *err)
{
    int r = domain_part_name_check("container", name, err);
    if (r == 0)
        r = domain_check_idle(ad->domain, err);
    if (r < 0)
        return r;
    snprintf(w->name, sizeof w->name, "%s", name);
    w->domain = ad->domain;
    w->fd = fd_dup(fd);
    if (w->fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -w->fd, "container %s: its descriptor: %s", name,
                             strerror(-w->fd));
    r = take_holder(holder, "container", name, &w->pidfd, err);
    return r < 0 ? r : take_hwpts(w, hwpts, err);
}

int api_domain_add_container(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_container_workp) struct container_work *w = calloc(1, sizeof *w);
    struct api_u64s hwpts = {0};
    const char *name;
    char what[96];
    int fd;
    if (!w)
        return -ENOMEM;
    w->fd = w->pidfd = -1;
    w->wanted.automap = true;
    struct holder_options holder = {.pidfd = -1};
    const struct api_option options[] = {{"hwpts", API_U64S, &hwpts},
                                         {"ioas", API_U32, &w->ioas},
                                         {"map", API_BOOL, &w->wanted.automap},
                                         {"pid", API_U32, &holder.pid},
                                         {"pidfd", API_FD, &holder.pidfd}};
    int r = sd_bus_message_read(m, "sh", &name, &fd);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        prepare_container(ad, name, fd, &hwpts, &holder, w, &e) < 0)
        return api_error(error, &e);
    snprintf(what, sizeof what, "AddContainer %s", name);
    r = api_job_start(ad->api, m, ad->domain, what, &container_ops, TAKE_PTR(w), &e);
    return r < 0 ? api_error(error, &e) : r;
}

/* ---- AddDevice ---- */

struct kernel_device_work {
    struct domain *domain; /* the job holds the reference */
    char name[DOMAIN_NAME_MAX + 1];
    int fd, pidfd;
    struct domain_device wanted;
};

static void free_kernel_device_work(void *work)
{
    struct kernel_device_work *w = work;
    close_fd(&w->fd);
    close_fd(&w->pidfd);
    device_unref(w->wanted.device);
    free(w);
}

static void free_kernel_device_workp(struct kernel_device_work **w)
{
    if (*w)
        free_kernel_device_work(*w);
}

static int open_kernel_device(void *work, struct mig_error *err)
{
    struct kernel_device_work *w = work;
    return domain_open_kernel_device(w->domain, w->name, &w->wanted, w->fd, w->pidfd, err);
}

static int insert_kernel_device(void *work, struct mig_error *err)
{
    struct kernel_device_work *w = work;
    int r = domain_insert_device(w->domain, &w->wanted, err);
    if (r == 0)
        domain_watch_devices(w->domain);
    return r;
}

static const struct api_job_ops kernel_device_ops = {
    .run = open_kernel_device, .finish = insert_kernel_device, .free = free_kernel_device_work};

static int prepare_kernel_device(struct api_domain *ad, const char *name, int fd, const char *tracker,
                                 const struct holder_options *holder, struct kernel_device_work *w,
                                 struct mig_error *err)
{
    int r = domain_part_name_check("device", name, err);
    if (r == 0 && strcmp(tracker, "device") != 0 && strcmp(tracker, "container") != 0 &&
        strcmp(tracker, "auto") != 0 && strcmp(tracker, "all") != 0)
        r = mig_error_set(
            err, MIG_ERR_INVALID_ARGUMENT, 0,
            "device %s: tracker \"%.40s\" is neither \"device\", \"container\", \"auto\" nor \"all\"", name,
            tracker);
    if (r == 0 && (!is_power_of_two(w->wanted.log_page_bytes) || w->wanted.log_page_bytes < REGION_PAGE_SIZE))
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          "device %s: log-page-size %" PRIu64 " is no power of two from 4096 up", name,
                          w->wanted.log_page_bytes);
    if (r == 0 && domain_find_device(ad->domain, name))
        r = mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s already has a device named %s", ad->domain->name,
                          name);
    if (r == 0)
        r = domain_check_idle(ad->domain, err);
    if (r < 0)
        return r;
    snprintf(w->name, sizeof w->name, "%s", name);
    w->domain = ad->domain;
    w->wanted.tracker_all = strcmp(tracker, "all") == 0;
    w->wanted.tracker_container = strcmp(tracker, "container") == 0;
    w->wanted.tracker_auto = strcmp(tracker, "auto") == 0;
    w->fd = fd_dup(fd);
    if (w->fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -w->fd, "device %s: its descriptor: %s", name,
                             strerror(-w->fd));
    return take_holder(holder, "device", name, &w->pidfd, err);
}

int api_domain_add_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_kernel_device_workp) struct kernel_device_work *w = calloc(1, sizeof *w);
    const char *name, *tracker = "device";
    struct holder_options holder = {.pidfd = -1};
    char what[96];
    int fd;
    if (!w)
        return -ENOMEM;
    w->fd = w->pidfd = -1;
    w->wanted.log_page_bytes = REGION_PAGE_SIZE;
    w->wanted.timeout_usec = KVFIO_DEFAULT_TIMEOUT_USEC;
    w->wanted.use_precopy = w->wanted.automap = true;
    const struct api_option options[] = {
        {"tracker", API_STRING, &tracker},
        {"log-page-size", API_U64, &w->wanted.log_page_bytes},
        {"precopy", API_BOOL, &w->wanted.use_precopy},
        {"map", API_BOOL, &w->wanted.automap},
        {"timeout", API_U64, &w->wanted.timeout_usec},
        {"pid", API_U32, &holder.pid},
        {"pidfd", API_FD, &holder.pidfd},
    };
    int r = sd_bus_message_read(m, "sh", &name, &fd);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        prepare_kernel_device(ad, name, fd, tracker, &holder, w, &e) < 0)
        return api_error(error, &e);
    snprintf(what, sizeof what, "AddDevice %s", name);
    r = api_job_start(ad->api, m, ad->domain, what, &kernel_device_ops, TAKE_PTR(w), &e);
    return r < 0 ? api_error(error, &e) : r;
}
