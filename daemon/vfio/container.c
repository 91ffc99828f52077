/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What both kinds of containers share: references, the table of mappings, the lock between reading and
 * unmapping, and the list of those that track, in which no bits have two readers.
 *
 * The lock of a container is taken before that of the list.
 */
#include "vfio/container.h"
#include "base/fds.h"
#include "base/log.h"
#include "vfio/iommufd.h"
#include "vfio/open-refuse.h"
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KCMP_FILES 0

pthread_mutex_t container_tracking_lock = PTHREAD_MUTEX_INITIALIZER;
static struct container *all_tracking;

int container_init(struct container *c, const struct container_ops *ops, const char *name, int fd,
                   const struct kernel_calls *calls, struct mig_error *err)
{
    c->fd = c->gone_fd = -1;
    pthread_mutex_init(&c->lock, NULL);
    c->ops = ops;
    c->calls = calls;
    c->refs = 1;
    if (!name[0] || strlen(name) > CONTAINER_NAME_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a container needs a name of 1 to %d bytes",
                             CONTAINER_NAME_MAX);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->fd = fd_dup(fd);
    if (c->fd < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -c->fd, "container %s: its descriptor: %s", name,
                             strerror(-c->fd));
    return iova_map_new(&c->map) < 0 ? mig_error_oom(err) : 0;
}

void container_clear(struct container *c)
{
    kernel_bitmap_free(&c->bits);
    close_fd(&c->fd);
    close_fd(&c->gone_fd);
    iova_map_free(c->map);
    pthread_mutex_destroy(&c->lock);
}

int container_refuse_compatible(const char *name, struct mig_error *err)
{
    int r = mig_error_set(
        err, MIG_ERR_NOT_SUPPORTED, 0,
        "container %s is an iommufd that plays a type1 container, and there the kernel tracks nothing", name);
    mig_error_hint(err,
                   "let its owner open the device by its cdev and attach it to an HWPT with dirty tracking, "
                   "or track by device");
    return r;
}

struct container *container_ref(struct container *c)
{
    if (c)
        __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

struct container *container_unref(struct container *c)
{
    if (c && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        container_stop(c);
        c->ops->destroy(c);
    }
    return NULL;
}

int container_set_holder(struct container *c, int pidfd, struct mig_error *err)
{
    close_fd(&c->gone_fd);
    c->gone_fd = fd_dup(pidfd);
    if (c->gone_fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -c->gone_fd,
                             "container %s: the descriptor of its holder: %s", c->name,
                             strerror(-c->gone_fd));
    return 0;
}

bool container_is_gone(const struct container *c)
{
    struct pollfd p = {.fd = c->gone_fd, .events = POLLIN};
    return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

/* The kernel goes on answering for a dead holder, but what answers is no workload any more. */
static int check_holder(const struct container *c, struct mig_error *err)
{
    return container_is_gone(c)
               ? mig_error_set(err, MIG_ERR_DEVICE_GONE, 0,
                               "container %s is gone: the process that holds it has ended", c->name)
               : 0;
}

/* All iommufds are the same device file, so only the kernel can tell one open file from another. Where it
 * does not (no CONFIG_KCMP), nothing is known. */
static bool same_file(int a, int b)
{
    return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILES, (unsigned long)a, (unsigned long)b) == 0;
}

static int claim_bits(struct container *c, struct mig_error *err)
{
    int r = 0;
    pthread_mutex_lock(&container_tracking_lock);
    for (struct container *o = all_tracking; o && r == 0; o = o->next_tracking) {
        if (o->ops != c->ops || !same_file(o->fd, c->fd) || !c->ops->overlaps(c, o))
            continue;
        r = mig_error_set(err, MIG_ERR_BUSY, 0,
                          "container %s: its dirty bits are being read already, for a container that is "
                          "registered as %s",
                          c->name, o->name);
        if (o->ioas != c->ioas)
            mig_error_hint(err,
                           "they are two address spaces of one iommufd, and no HWPTs were named, so each "
                           "took all for its own: name those of each when it is registered, with hwpts");
        else
            mig_error_hint(err, "the same container is registered twice: wait until the other migration has "
                                "ended, or release one of the two");
    }
    if (r == 0) {
        c->next_tracking = all_tracking;
        all_tracking = c;
    }
    pthread_mutex_unlock(&container_tracking_lock);
    return r;
}

static void give_bits_back(struct container *c)
{
    pthread_mutex_lock(&container_tracking_lock);
    for (struct container **at = &all_tracking; *at; at = &(*at)->next_tracking)
        if (*at == c) {
            *at = c->next_tracking;
            break;
        }
    pthread_mutex_unlock(&container_tracking_lock);
}

static int start_locked(struct container *c, struct mig_error *err)
{
    int r = claim_bits(c, err);
    if (r < 0)
        return r;
    r = c->ops->track(c, true, err);
    if (r < 0)
        give_bits_back(c);
    c->tracking = r == 0;
    return r;
}

int container_start(struct container *c, struct mig_error *err)
{
    int r = check_holder(c, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&c->lock);
    r = c->tracking ? 0 : start_locked(c, err);
    pthread_mutex_unlock(&c->lock);
    return r;
}

int container_start_again(struct container *c, struct mig_error *err)
{
    pthread_mutex_lock(&c->lock);
    int r = !c->tracking || !c->ops->on_twice_keeps_bits ? -EOPNOTSUPP : c->ops->track(c, true, err);
    pthread_mutex_unlock(&c->lock);
    return r;
}

void container_stop(struct container *c)
{
    struct mig_error e = MIG_ERROR_INIT;
    pthread_mutex_lock(&c->lock);
    if (c->tracking) {
        if (c->ops->track(c, false, &e) < 0)
            log_mig_error(LOG_WARNING, NULL, &e, "cannot turn dirty tracking off");
        give_bits_back(c);
    }
    c->tracking = false;
    kernel_bitmap_free(&c->bits);
    pthread_mutex_unlock(&c->lock);
}

void container_stop_leftover(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->tracking)
        c->ops->track(c, false, NULL); /* type1 refuses when it was not on: all the better */
    pthread_mutex_unlock(&c->lock);
}

/* The mapping as it is now, when it is still the one of the snapshot; one that came since is read next time.
 */
static bool still_there(struct container *c, const struct iova_mapping *m, struct iova_mapping *ret)
{
    if (iova_map_lookup(c->map, m->iova, ret) < 0)
        return false;
    if (ret->iova == m->iova && ret->size_bytes == m->size_bytes)
        return true;
    region_unref(ret->region);
    return false;
}

static int refuse_off(struct container *c, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "dirty tracking of container %s is off", c->name);
}

int container_report(struct container *c, bool keep, container_report_cb cb, void *userdata,
                     struct mig_error *err)
{
    struct iova_mapping *mappings = NULL;
    size_t count = 0;
    int r = check_holder(c, err);
    if (r < 0)
        return r;
    if (iova_map_snapshot(c->map, &mappings, &count) < 0)
        return mig_error_oom(err);
    for (size_t i = 0; i < count && r == 0; i++) {
        struct iova_mapping now;
        pthread_mutex_lock(&c->lock); /* for one mapping: an unmap waits no longer than that */
        if (!c->tracking) {
            r = refuse_off(c, err);
        } else if (still_there(c, &mappings[i], &now)) {
            r = c->ops->read(c, &now, keep, cb, userdata, err);
            region_unref(now.region);
        }
        pthread_mutex_unlock(&c->lock);
    }
    if (count == 0 && !c->tracking)
        r = refuse_off(c, err);
    iova_mappings_free(mappings, count);
    return r;
}

static int map_failed(struct container *c, const struct iova_mapping *m, int r, struct mig_error *err)
{
    if (r == -ENOMEM || r == -EPERM)
        return open_refuse(err, FINDING_MEMLOCK_EXCEEDED, MIG_ERR_LIMIT, -r, NULL,
                           "migd cannot pin memory %s (%" PRIu64 " bytes) for DMA at IOVA 0x%" PRIx64 ": %s",
                           m->region->name, m->size_bytes, m->iova, strerror(-r));
    return open_refuse(err, FINDING_MAPPING_REFUSED, MIG_ERR_FAILED, -r, NULL,
                       "the kernel does not map memory %s (%" PRIu64 " bytes) at IOVA 0x%" PRIx64 ": %s",
                       m->region->name, m->size_bytes, m->iova, strerror(-r));
}

int container_map(struct container *c, const struct iova_mapping *m, struct mig_error *err)
{
    pthread_mutex_lock(&c->lock);
    int r = iova_map_add(c->map, m, err);
    if (r == 0 && c->maps) {
        int e = c->ops->map(c, m);
        if (e < 0) {
            iova_map_remove(c->map, m->iova, m->size_bytes, NULL);
            r = map_failed(c, m, e, err);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return r < 0 ? mig_error_wrap(err, "container %s", c->name) : 0;
}

static void mark_report(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                        const uint64_t *words, uint64_t nbits)
{
    struct container *c = userdata;
    iova_map_mark_bitmap(c->map, m->iova, page_bytes, words, nbits);
}

/* Whatever goes wrong with the last bits, nothing may be lost: then every page counts as written. */
static void take_last_bits(struct container *c, const struct iova_mapping *m, bool gone, bool *ret_unmapped)
{
    struct mig_error e = MIG_ERROR_INIT;
    int r = gone ? -ENODATA : c->ops->unmap(c, m, mark_report, c, &e);
    *ret_unmapped = r == 0;
    if (r == -EOPNOTSUPP && c->tracking)
        r = c->ops->read(c, m, false, mark_report, c, &e);
    if (r >= 0 || !c->tracking)
        return;
    if (!gone)
        log_mig_error(LOG_WARNING, NULL, &e,
                      "the last bits of a mapping are lost, all of it counts as written");
    if (m->prot & IOVA_WRITE)
        iova_map_mark(c->map, m->iova, m->size_bytes);
}

int container_unmap(struct container *c, uint64_t iova, uint64_t size_bytes, bool gone, bool *ret_unmapped,
                    struct mig_error *err)
{
    struct iova_mapping m;
    bool unmapped = false;
    pthread_mutex_lock(&c->lock);
    int r = iova_map_lookup(c->map, iova, &m);
    if (r == 0) {
        if (m.iova == iova && m.size_bytes == size_bytes)
            take_last_bits(c, &m, gone, &unmapped);
        region_unref(m.region);
    }
    r = iova_map_remove(c->map, iova, size_bytes, err); /* which says what is wrong when it was not found */
    pthread_mutex_unlock(&c->lock);
    if (ret_unmapped)
        *ret_unmapped = unmapped;
    return r < 0 ? mig_error_wrap(err, "container %s", c->name) : 0;
}
