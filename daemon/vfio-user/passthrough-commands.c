/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each command of a pass-through client does. Runs on the executor; blocks for the device. */
#include "vfio-user/passthrough-private.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>

/* SET_IRQS flags: what the data is, what is to be done. */
#define VFU_IRQ_DATA_NONE      1u
#define VFU_IRQ_ACTION_TRIGGER 0x20u

static void reply(struct vfu_passthrough *p, const struct passthrough_message *m, const void *payload,
                  size_t size, const int *fds, unsigned nfds)
{
    if (m->header.flags & VFU_FLAG_NO_REPLY)
        return;
    struct vfu_header h = {.msg_id = m->header.msg_id, .command = m->header.command, .flags = VFU_FLAG_REPLY};
    struct iovec part = {.iov_base = (void *)payload, .iov_len = size};
    passthrough_send(p, false, &h, &part, size > 0 ? 1 : 0, fds, nfds);
}

static void refuse(struct vfu_passthrough *p, const struct passthrough_message *m, int error)
{
    if (m->header.flags & VFU_FLAG_NO_REPLY)
        return;
    struct vfu_header h = {
        .msg_id = m->header.msg_id,
        .command = m->header.command,
        .flags = VFU_FLAG_REPLY | VFU_FLAG_ERROR,
        .error = (uint32_t)error,
    };
    passthrough_send(p, false, &h, NULL, 0, NULL, 0);
}

/* The errno that the client sees for a failure here. */
static int as_errno(int r, const struct mig_error *e, int refused)
{
    if (refused)
        return refused;
    return e->code == MIG_ERR_DEVICE_PROTOCOL ? EIO : r < 0 && r > -4096 ? -r : EIO;
}

static bool give_up(void *userdata)
{
    struct vfu_passthrough *p = userdata;
    pthread_mutex_lock(&p->lock);
    bool yes = p->leaving || p->stopping;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

static void do_version(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    struct {
        struct vfu_version version;
        char text[VFU_CAPS_TEXT_MAX];
    } answer;
    struct vfu_version asked;
    struct vfu_caps caps, offer;
    char why[200] = "it is shorter than its head";
    if (p->greeted || m->size < sizeof asked || m->fds.count > 0) {
        refuse(p, m, EINVAL);
        passthrough_cut(p, "a wrong VERSION message");
        return;
    }
    memcpy(&asked, m->payload, sizeof asked);
    if (vfu_caps_parse(&caps, (const char *)m->payload + sizeof asked, m->size - sizeof asked, why,
                       sizeof why) < 0 ||
        asked.major != VFU_VERSION_MAJOR) {
        refuse(p, m, EINVAL);
        passthrough_cut(p, asked.major != VFU_VERSION_MAJOR ? "it speaks another version" : why);
        return;
    }
    _cleanup_close_ int theirs = -1;
    int pair[2] = {-1, -1};
    if (caps.twin_socket && caps.max_msg_fds > 0 &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
        theirs = pair[1];

    vfu_caps_default(&offer);
    offer.max_msg_fds = VFU_MAX_MSG_FDS;
    offer.max_data_xfer_bytes = PASSTHROUGH_DATA_XFER_BYTES;
    offer.twin_socket = theirs >= 0;
    offer.twin_fd_index = 0;
    int n = vfu_caps_format(&offer, answer.text, sizeof answer.text);
    if (n < 0) {
        close_fd(&pair[0]);
        refuse(p, m, EIO);
        return;
    }
    answer.version = (struct vfu_version){.major = VFU_VERSION_MAJOR, .minor = MIN(asked.minor, (uint16_t)2)};

    pthread_mutex_lock(&p->lock);
    pthread_mutex_lock(&p->send_lock);
    p->client_caps = caps;
    p->twin = pair[0];
    if (p->twin >= 0) { /* a client that does not read must not hold a thread of the device for ever */
        struct timeval tv = {.tv_sec = (time_t)(p->timeout_usec / 1000000),
                             .tv_usec = (suseconds_t)(p->timeout_usec % 1000000)};
        setsockopt(p->twin, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    }
    p->greeted = true;
    pthread_mutex_unlock(&p->send_lock);
    pthread_mutex_unlock(&p->lock);
    if (p->callbacks && p->callbacks->client_changed)
        p->callbacks->client_changed(p->userdata, true);
    reply(p, m, &answer, sizeof answer.version + (size_t)n, &theirs, theirs >= 0 ? 1 : 0);
    eventfd_write(p->wake_fd, 1); /* the reader has a socket more */
}

/* The command as it came to the device, the answer as it came to the client, descriptors in both directions.
 */
static void forward(struct vfu_passthrough *p, const struct passthrough_message *m, uint32_t reply_max)
{
    _cleanup_free_ uint8_t *back = malloc(reply_max ? reply_max : 1);
    if (!back) {
        refuse(p, m, ENOMEM);
        return;
    }
    struct vfu_fds fds = {0};
    struct mig_error e = MIG_ERROR_INIT;
    struct vfu_call call = {
        .command = m->header.command,
        .send = {{(void *)m->payload, m->size}},
        .nsend = m->size > 0 ? 1 : 0,
        .fds = m->fds.fd,
        .nfds = m->fds.count,
        .reply = back,
        .reply_max = reply_max,
        .ret_fds = &fds,
    };
    int r = vfu_conn_call(p->vd->conn, &call, &e);
    if (r < 0)
        refuse(p, m, as_errno(r, &e, call.refused));
    else
        reply(p, m, back, call.reply_bytes, fds.fd, fds.count);
    vfu_fds_close(&fds);
}

/* A question whose answer may be as large as its first field says. */
static void forward_sized(struct vfu_passthrough *p, const struct passthrough_message *m, uint32_t least)
{
    uint32_t argsz = 0;
    if (m->size < least) {
        refuse(p, m, EINVAL);
        return;
    }
    memcpy(&argsz, m->payload, sizeof argsz);
    forward(p, m, MIN(MAX(argsz, m->size), PASSTHROUGH_REPLY_MAX));
}

static void do_region_access(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    struct vfu_region_rw rw;
    bool write = m->header.command == VFU_REGION_WRITE;
    if (m->size < sizeof rw) {
        refuse(p, m, EINVAL);
        return;
    }
    memcpy(&rw, m->payload, sizeof rw);
    if (rw.count > PASSTHROUGH_DATA_XFER_BYTES || m->size - sizeof rw != (write ? rw.count : 0))
        refuse(p, m, EINVAL);
    else
        forward(p, m, (uint32_t)sizeof rw + (write ? 0 : rw.count));
}

static void do_set_irqs(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    struct vfu_irq_set set;
    if (m->size < sizeof set) {
        refuse(p, m, EINVAL);
        return;
    }
    memcpy(&set, m->payload, sizeof set);
    if (set.index < 32)
        p->irqs_used |= 1u << set.index;
    forward(p, m, (uint32_t)sizeof set);
}

static void do_reset(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    struct mig_error e = MIG_ERROR_INIT;
    int r = p->vd->device.ops->reset(&p->vd->device, &e);
    if (r < 0)
        refuse(p, m, as_errno(r, &e, 0));
    else
        reply(p, m, NULL, 0, NULL, 0);
}

static int remember(struct vfu_passthrough *p, const struct passthrough_mapping *mapping)
{
    pthread_mutex_lock(&p->lock);
    int r = 0;
    if (p->nmappings == p->mappings_room) {
        size_t room = p->mappings_room ? p->mappings_room * 2 : 64;
        struct passthrough_mapping *more =
            room > 2 * IOVA_MAPPINGS_MAX ? NULL : realloc(p->mappings, room * sizeof *more);
        if (more) {
            p->mappings = more;
            p->mappings_room = room;
        } else {
            r = -ENOMEM;
        }
    }
    if (r == 0)
        p->mappings[p->nmappings++] = *mapping;
    pthread_mutex_unlock(&p->lock);
    return r;
}

static void forget(struct vfu_passthrough *p, size_t i)
{
    pthread_mutex_lock(&p->lock);
    p->mappings[i] = p->mappings[--p->nmappings];
    pthread_mutex_unlock(&p->lock);
}

static void tell_mappings(struct vfu_passthrough *p)
{
    if (p->callbacks && p->callbacks->mappings_changed)
        p->callbacks->mappings_changed(p->userdata);
}

/* The domain may have mapped the very same already, from its own description. */
static bool mapped_already(struct vfu_passthrough *p, const struct iova_mapping *want)
{
    struct iova_mapping m;
    if (iova_map_lookup(p->vd->device.map, want->iova, &m) < 0)
        return false;
    bool same = m.iova == want->iova && m.size_bytes == want->size_bytes && m.region == want->region &&
                m.offset_bytes == want->offset_bytes && (m.prot & want->prot) == want->prot;
    region_unref(m.region);
    return same;
}

static int map_with_fd(struct vfu_passthrough *p, const struct vfu_dma_map *map, int fd,
                       struct passthrough_mapping *mapping, struct mig_error *err)
{
    _cleanup_(region_unrefp) struct region *region = NULL;
    uint64_t offset = 0;
    if (!p->callbacks || !p->callbacks->dma_fd)
        return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s takes no memory from clients",
                             p->vd->device.name);
    int r = p->callbacks->dma_fd(p->userdata, fd, map->offset, map->size, &region, &offset, err);
    if (r < 0)
        return r;
    struct iova_mapping m = {.iova = map->address,
                             .size_bytes = map->size,
                             .region = region,
                             .offset_bytes = offset,
                             .prot = mapping->prot};
    if (mapped_already(p, &m)) {
        mapping->borrowed = true;
        return 0;
    }
    return p->vd->device.ops->dma_map(&p->vd->device, &m, err);
}

static int unmap_one(struct vfu_passthrough *p, const struct passthrough_mapping *m, struct mig_error *err)
{
    return m->foreign ? vfu_dma_unmap_foreign(p->vd, m->iova, m->size_bytes, err)
                      : p->vd->device.ops->dma_unmap(&p->vd->device, m->iova, m->size_bytes, err);
}

static void do_map(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    struct vfu_dma_map map;
    if (m->size != sizeof map || m->fds.count > 1) {
        refuse(p, m, EINVAL);
        return;
    }
    memcpy(&map, m->payload, sizeof map);
    bool foreign = m->fds.count == 0;
    if ((map.flags & ~(VFU_DMA_MAP_READ | VFU_DMA_MAP_WRITE)) || map.size == 0 ||
        map.address > UINT64_MAX - map.size || (map.address | map.size | map.offset) % REGION_PAGE_SIZE ||
        map.size > REGION_SIZE_MAX || (foreign && map.offset)) {
        refuse(p, m, EINVAL);
        return;
    }
    struct passthrough_mapping mapping = {
        .iova = map.address,
        .size_bytes = map.size,
        .prot =
            (map.flags & VFU_DMA_MAP_READ ? IOVA_READ : 0) | (map.flags & VFU_DMA_MAP_WRITE ? IOVA_WRITE : 0),
        .foreign = foreign,
    };
    struct mig_error e = MIG_ERROR_INIT;
    int r = foreign ? vfu_dma_map_foreign(p->vd, map.address, map.size, mapping.prot, &e)
                    : map_with_fd(p, &map, m->fds.fd[0], &mapping, &e);
    if (r == 0 && (r = remember(p, &mapping)) < 0 && !mapping.borrowed)
        unmap_one(p, &mapping, NULL);
    if (r < 0) {
        log_warning("%s: a client's mapping of 0x%" PRIx64 " is refused: %s", p->path, map.address,
                    e.message);
        refuse(p, m, as_errno(r, &e, 0));
        return;
    }
    tell_mappings(p);
    reply(p, m, NULL, 0, NULL, 0);
}

static void do_unmap(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    struct vfu_dma_unmap unmap;
    if (m->size < sizeof unmap) {
        refuse(p, m, EINVAL);
        return;
    }
    memcpy(&unmap, m->payload, sizeof unmap);
    bool all = unmap.flags == VFU_DMA_UNMAP_ALL;
    if (unmap.flags & ~VFU_DMA_UNMAP_ALL || (all && (unmap.address || unmap.size))) {
        refuse(p, m, EINVAL); /* bitmaps too: for this client no log is ever on */
        return;
    }
    int r = all ? 0 : -ENOENT;
    bool changed = false;
    struct mig_error e = MIG_ERROR_INIT;
    for (size_t i = p->nmappings; i-- > 0 && (r == 0 || r == -ENOENT);) {
        struct passthrough_mapping one = p->mappings[i];
        if (!all && (one.iova != unmap.address || one.size_bytes != unmap.size))
            continue;
        r = unmap_one(p, &one, &e);
        if (r == 0) {
            forget(p, i);
            changed = true;
        }
        if (!all)
            break;
    }
    if (changed)
        tell_mappings(p);
    if (r < 0)
        refuse(p, m, as_errno(r, &e, 0));
    else
        reply(p, m, &unmap, sizeof unmap, NULL, 0);
}

static bool give_up_tidying(void *userdata)
{
    struct vfu_passthrough *p = userdata;
    pthread_mutex_lock(&p->lock);
    bool yes = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return yes || vfu_conn_is_gone(p->vd->conn);
}

static void disable_irqs(struct vfu_passthrough *p)
{
    for (uint32_t index = 0; index < 32; index++) {
        if (!(p->irqs_used & (1u << index)))
            continue;
        struct vfu_irq_set set = {.argsz = sizeof set,
                                  .flags = VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER,
                                  .index = index},
                           unused;
        struct vfu_call call = {
            .command = VFU_DEVICE_SET_IRQS,
            .send = {{&set, sizeof set}},
            .nsend = 1,
            .reply = &unused,
            .reply_max = sizeof unused,
        };
        vfu_conn_call(p->vd->conn, &call,
                      NULL); /* a device without that many interrupts refuses, which is as good */
    }
    p->irqs_used = 0;
}

void passthrough_tidy(struct vfu_passthrough *p)
{
    bool changed = p->nmappings > 0;
    if (!changed && !p->irqs_used)
        return;
    /* Its mappings stay until the device may be asked: while it stands still for a migration, their pages are
     * being sent. */
    if (!vfu_wait_for(p->vd, VFU_NEED_CONFIGURABLE, give_up_tidying, p))
        return;
    disable_irqs(p);
    while (p->nmappings > 0) {
        struct passthrough_mapping one = p->mappings[p->nmappings - 1];
        struct mig_error e = MIG_ERROR_INIT;
        if (!one.borrowed && unmap_one(p, &one, &e) < 0)
            log_warning("%s: a mapping of the client that left stays: %s", p->path, e.message);
        forget(p, p->nmappings - 1);
    }
    vfu_wait_done(p->vd);
    if (changed)
        tell_mappings(p);
}

static void do_info(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    forward_sized(p, m, sizeof(struct vfu_device_info));
}

static void do_region_info(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    forward_sized(p, m, sizeof(struct vfu_region_info));
}

static void do_io_fds(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    forward_sized(p, m, 16); /* argsz, flags, index, count */
}

static void do_irq_info(struct vfu_passthrough *p, const struct passthrough_message *m)
{
    forward_sized(p, m, sizeof(struct vfu_irq_info));
}

/* Commands that reach the device. */
static const struct {
    void (*run)(struct vfu_passthrough *p, const struct passthrough_message *m);
    enum vfu_need need;
} commands[] = {
    [VFU_DMA_MAP] = {do_map, VFU_NEED_CONFIGURABLE},
    [VFU_DMA_UNMAP] = {do_unmap, VFU_NEED_CONFIGURABLE},
    [VFU_DEVICE_GET_INFO] = {do_info, VFU_NEED_CONFIGURABLE},
    [VFU_DEVICE_GET_REGION_INFO] = {do_region_info, VFU_NEED_CONFIGURABLE},
    [VFU_DEVICE_GET_REGION_IO_FDS] = {do_io_fds, VFU_NEED_CONFIGURABLE},
    [VFU_DEVICE_GET_IRQ_INFO] = {do_irq_info, VFU_NEED_CONFIGURABLE},
    [VFU_DEVICE_SET_IRQS] = {do_set_irqs, VFU_NEED_CONFIGURABLE},
    [VFU_REGION_READ] = {do_region_access, VFU_NEED_RUNNING},
    [VFU_REGION_WRITE] = {do_region_access, VFU_NEED_RUNNING},
    [VFU_DEVICE_RESET] = {do_reset, VFU_NEED_RESET},
};

void passthrough_execute(struct vfu_passthrough *p, struct passthrough_message *m)
{
    uint16_t command = m->header.command;
    if (command == VFU_VERSION) {
        do_version(p, m);
    } else if (!p->greeted) {
        refuse(p, m, EINVAL);
        passthrough_cut(p, "its first message is not VERSION");
    } else if (command >= ELEMENTS(commands) || !commands[command].run) {
        /* DEVICE_FEATURE, MIG_DATA_READ and MIG_DATA_WRITE are migd's own affair, and unknown to this
         * client's device. */
        refuse(p, m, EINVAL);
    } else if (vfu_wait_for(p->vd, commands[command].need, give_up, p)) {
        commands[command].run(p, m);
        vfu_wait_done(p->vd);
    } /* else the client has left, or the device is closed */
}
