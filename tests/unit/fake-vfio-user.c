/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-vfio-user.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

unsigned count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

uint8_t *map_view(int fd, size_t size)
{
    uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        exit(99);
    return p;
}

int fake_twin(struct fake_server *f)
{
    fake_sync(f);
    return f->twin;
}

struct fake_server *fake_new(void)
{
    struct fake_server *f = calloc(1, sizeof *f);
    int pair[2];
    if (!f || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        exit(99);
    f->socket = pair[0];
    f->client = pair[1];
    f->twin = -1;
    f->max_msg_fds = 8;
    f->bar_fd = memfd_create("bar", MFD_CLOEXEC);
    f->migration_flags = VFU_MIGRATION_STOP_COPY | VFU_MIGRATION_PRE_COPY;
    f->state = 2;
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void fake_send(struct fake_server *f, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(f->socket, (const char *)data + done, size - done, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

void fake_reply_fds(struct fake_server *f, const struct vfu_header *h, const void *payload, size_t size,
                    const int *fds, unsigned n)
{
    struct vfu_header r = {.msg_id = h->msg_id,
                           .command = h->command,
                           .size = (uint32_t)(sizeof r + size),
                           .flags = VFU_FLAG_REPLY};
    struct iovec iov[2] = {{&r, sizeof r}, {(void *)payload, size}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    if (n > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    ssize_t sent = sendmsg(f->socket, &msg, MSG_NOSIGNAL);
    if (sent > 0 && (size_t)sent < sizeof r + size) {
        size_t skip = (size_t)sent - sizeof r;
        fake_send(f, (const char *)payload + skip, size - skip);
    }
}

void fake_reply(struct fake_server *f, const struct vfu_header *h, const void *payload, size_t size)
{
    fake_reply_fds(f, h, payload, size, NULL, 0);
}

void fake_error(struct fake_server *f, const struct vfu_header *h, int error, const void *payload,
                size_t size)
{
    uint8_t message[4096];
    struct vfu_header r = {.msg_id = h->msg_id,
                           .command = h->command,
                           .size = (uint32_t)(sizeof r + size),
                           .flags = VFU_FLAG_REPLY | VFU_FLAG_ERROR,
                           .error = (uint32_t)error};
    memcpy(message, &r, sizeof r);
    if (size > 0)
        memcpy(message + sizeof r, payload, size);
    fake_send(f, message, sizeof r + size);
}

static struct fake_mapping *find(struct fake_server *f, uint64_t iova, uint64_t size)
{
    for (unsigned i = 0; i < FAKE_MAPPINGS; i++)
        if (f->mapping[i] && iova >= f->mapping[i]->iova &&
            iova - f->mapping[i]->iova < f->mapping[i]->size &&
            (size == 0 || (f->mapping[i]->iova == iova && f->mapping[i]->size == size)))
            return f->mapping[i];
    return NULL;
}

void fake_touch(struct fake_server *f, uint64_t iova, uint8_t value)
{
    pthread_mutex_lock(&f->lock);
    struct fake_mapping *m = find(f, iova, 0);
    if (m && m->at) {
        uint64_t at = iova - m->iova;
        m->at[at] = value;
        m->dirty[at / 4096 / 64] |= UINT64_C(1) << (at / 4096 % 64);
    }
    pthread_mutex_unlock(&f->lock);
}

static void drop(struct fake_mapping *m)
{
    if (m->at)
        munmap(m->at, m->size);
    free(m);
}

static void do_version(struct fake_server *f, const struct vfu_header *h)
{
    struct {
        struct vfu_version v;
        char text[1024];
    } reply = {.v = {0, 0}};
    int pair[2] = {-1, -1};
    if (f->caps)
        snprintf(reply.text, sizeof reply.text, "%s", f->caps);
    else
        snprintf(reply.text, sizeof reply.text,
                 "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":1048576,\"migration\":{"
                 "\"pgsize\":4096}%s}}",
                 f->max_msg_fds, f->no_twin ? "" : ",\"twin_socket\":{\"supported\":true,\"fd_index\":0}");
    if (!f->no_twin && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
        f->twin = pair[0];
    fake_reply_fds(f, h, &reply, sizeof reply.v + strlen(reply.text) + 1, &pair[1], f->no_twin ? 0 : 1);
    close_fd(&pair[1]);
}

static void do_map(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload, size_t size,
                   int fd)
{
    struct vfu_dma_map map;
    if (size != sizeof map) {
        fake_error(f, h, EINVAL, NULL, 0);
        return;
    }
    memcpy(&map, payload, sizeof map);
    for (unsigned i = 0; i < FAKE_MAPPINGS; i++) {
        if (f->mapping[i])
            continue;
        struct fake_mapping *m = calloc(1, sizeof *m);
        *m = (struct fake_mapping){.iova = map.address, .size = map.size, .flags = map.flags};
        if (fd >= 0) {
            m->at = mmap(NULL, map.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)map.offset);
            if (m->at == MAP_FAILED)
                m->at = NULL;
        }
        f->mapping[i] = m;
        break;
    }
    fake_reply(f, h, NULL, 0);
}

static void do_unmap(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload, size_t size)
{
    struct {
        struct vfu_dma_unmap u;
        struct vfu_bitmap_desc d;
        uint64_t words[FAKE_LOG_WORDS];
    } m = {0};
    memcpy(&m, payload, MIN(size, sizeof m.u + sizeof m.d));
    bool bitmap = m.u.flags & VFU_DMA_UNMAP_BITMAP;
    if (bitmap && (f->no_unmap_bitmap || !f->log_on || m.d.size != vfu_bitmap_bytes(m.u.size, 4096))) {
        fake_error(f, h, EINVAL, payload, size);
        return;
    }
    bool found = false;
    for (unsigned i = 0; i < FAKE_MAPPINGS; i++)
        if (f->mapping[i] && f->mapping[i]->iova == m.u.address && f->mapping[i]->size == m.u.size) {
            memcpy(m.words, f->mapping[i]->dirty, sizeof m.words);
            drop(f->mapping[i]);
            f->mapping[i] = NULL;
            found = true;
        }
    if (!found)
        fake_error(f, h, ENOENT, NULL, 0);
    else
        fake_reply(f, h, &m, bitmap ? sizeof m.u + sizeof m.d + m.d.size : sizeof m.u);
}

static void do_report(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload, size_t size)
{
    struct {
        struct vfu_feature_header h;
        struct vfu_log_report r;
        uint64_t words[FAKE_LOG_WORDS];
    } m = {0};
    if (size != sizeof m.h + sizeof m.r) {
        fake_error(f, h, EINVAL, NULL, 0);
        return;
    }
    memcpy(&m, payload, size);
    struct fake_mapping *p = find(f, m.r.iova, m.r.length);
    int error = !f->log_on || m.r.page_size != f->log_page ? EINVAL : !p ? ENOENT : !p->at ? EINVAL : 0;
    if (!error) {
        memcpy(m.words, p->dirty, sizeof m.words);
        memset(p->dirty, 0, sizeof p->dirty);
    }
    if (error)
        fake_error(f, h, error, payload, size);
    else
        fake_reply(f, h, &m, sizeof m.h + sizeof m.r + vfu_bitmap_bytes(m.r.length, m.r.page_size));
}

static void do_state(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size,
                     bool set)
{
    struct {
        struct vfu_feature_header h;
        struct vfu_mig_state s;
    } m = {0};
    memcpy(&m, payload, MIN(size, sizeof m));
    if (!set) {
        m.s.state = f->state;
        fake_reply(f, h, &m, sizeof m);
        return;
    }
    /* Only the arcs that libvfio-user has without walking: proves that the client walks. */
    static const char *const arcs[8] = {"", "234", "16", "1", "1", "", "23", ""};
    char to = (char)('0' + m.s.state);
    if (m.s.state != f->state && (m.s.state > 7 || !strchr(arcs[f->state], to))) {
        fake_error(f, h, EINVAL, payload, size);
        return;
    }
    f->state = m.s.state;
    if (m.s.state == 4)
        f->written = 0;
    fake_reply(f, h, &m, sizeof m);
}

static void do_feature(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct vfu_feature_header head;
    struct vfu_log_control control;
    memcpy(&head, payload, sizeof head);
    if (f->no_migration) {
        fake_error(f, h, EINVAL, payload, size);
        return;
    }
    if (head.flags & VFU_FEATURE_PROBE) {
        fake_reply(f, h, payload, size);
        return;
    }
    switch (head.flags & VFU_FEATURE_MASK) {
    case VFU_FEATURE_MIGRATION: {
        struct {
            struct vfu_feature_header h;
            uint64_t flags;
        } m = {head, f->migration_flags};
        fake_reply(f, h, &m, sizeof m);
        return;
    }
    case VFU_FEATURE_MIG_DEVICE_STATE:
        do_state(f, h, payload, size, head.flags & VFU_FEATURE_SET);
        return;
    case VFU_FEATURE_DMA_LOGGING_START:
        memcpy(&control, payload + sizeof head, sizeof control);
        if (f->log_on && control.page_size != f->log_page) {
            fake_error(f, h, EINVAL, payload, size);
            return;
        }
        f->log_page = control.page_size;
        f->log_on = true;
        fake_reply(f, h, payload, size);
        return;
    case VFU_FEATURE_DMA_LOGGING_STOP:
        f->log_on = false;
        fake_reply(f, h, payload, size);
        return;
    case VFU_FEATURE_DMA_LOGGING_REPORT:
        do_report(f, h, payload, size);
        return;
    default:
        fake_error(f, h, EINVAL, payload, size);
    }
}

static void do_read(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload)
{
    static uint8_t reply[8 + (1 << 20)];
    struct vfu_mig_data m;
    memcpy(&m, payload, sizeof m);
    if (f->state != 3 && f->state != 6) {
        fake_error(f, h, EINVAL, payload, sizeof m);
        return;
    }
    uint32_t asked = MIN(m.size, (uint32_t)(1 << 20));
    m.size = (uint32_t)MIN((size_t)asked, f->stream_size - f->stream_pos);
    memset(reply, 0, sizeof m + asked); /* padded to what was asked, as libvfio-user does */
    memcpy(reply, &m, sizeof m);
    memcpy(reply + sizeof m, f->stream + f->stream_pos, m.size);
    f->stream_pos += m.size;
    fake_reply(f, h, reply, sizeof m + asked);
}

static void do_write(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload, size_t size)
{
    struct vfu_mig_data m;
    memcpy(&m, payload, sizeof m);
    if (f->state != 4 || m.size != size - sizeof m || size > VFU_SAFE_PAYLOAD_BYTES ||
        f->written + m.size > sizeof f->stream) {
        fake_error(f, h, EINVAL, NULL, 0);
        return;
    }
    memcpy(f->stream + f->written, payload + sizeof m, m.size);
    f->written += m.size;
    fake_reply(f, h, NULL, 0);
}

static bool may_in_state(struct fake_server *f, unsigned command)
{
    if (f->no_migration)
        return true;
    switch (command) {
    case VFU_REGION_READ:
    case VFU_REGION_WRITE:
        return f->state != 3;
    case VFU_DEVICE_GET_INFO:
    case VFU_DEVICE_GET_REGION_INFO:
    case VFU_DEVICE_GET_IRQ_INFO:
    case VFU_DEVICE_SET_IRQS:
    case VFU_DMA_MAP:
    case VFU_DMA_UNMAP:
    case VFU_DEVICE_RESET:
        return f->state != 3 && f->state != 1;
    default:
        return true;
    }
}

static void do_region_read(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload)
{
    struct {
        struct vfu_region_rw head;
        uint8_t data[64];
    } m = {0};
    static const uint8_t config[64] = {0x86, 0x80, 0x34, 0x12, [8] = 0x05, [0x2c] = 0xaa, 0xbb, 0xcc, 0xdd};
    memcpy(&m.head, payload, sizeof m.head);
    if (m.head.region == 0 && m.head.count <= 64 && m.head.offset <= sizeof f->bar - 64) {
        memcpy(m.data, f->bar + m.head.offset, m.head.count);
        fake_reply(f, h, &m, sizeof m.head + m.head.count);
        return;
    }
    if (m.head.region != VFU_PCI_CONFIG_REGION || m.head.count > 64 || m.head.offset > 64 - m.head.count) {
        fake_error(f, h, EINVAL, payload, sizeof m.head);
        return;
    }
    memcpy(m.data, config + m.head.offset, m.head.count);
    fake_reply(f, h, &m, sizeof m.head + m.head.count);
}

static void do_region_write(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload,
                            size_t size)
{
    struct vfu_region_rw rw;
    memcpy(&rw, payload, sizeof rw);
    if (rw.region != 0 || rw.count != size - sizeof rw || rw.offset > sizeof f->bar ||
        rw.count > sizeof f->bar - rw.offset) {
        fake_error(f, h, EINVAL, payload, sizeof rw);
        return;
    }
    memcpy(f->bar + rw.offset, payload + sizeof rw, rw.count);
    fake_reply(f, h, payload, sizeof rw);
}

/* As libvfio-user: too small an argsz gets the head and what would be needed; enough gets the sparse areas
 * and the descriptor. */
static void do_region_info(struct fake_server *f, const struct vfu_header *h, const uint8_t *payload)
{
    struct {
        struct vfu_region_info i;
        uint16_t id, version;
        uint32_t next, nr_areas, reserved;
        uint64_t area[2];
    } m;
    memcpy(&m.i, payload, sizeof m.i);
    if (m.i.index >= 9) {
        fake_error(f, h, EINVAL, payload, sizeof m.i);
        return;
    }
    uint32_t room = m.i.argsz;
    m.i = (struct vfu_region_info){
        .argsz = sizeof m.i, .flags = 3, .index = m.i.index, .size = m.i.index == 7 ? 256 : 4096};
    if (m.i.index != 0) {
        fake_reply(f, h, &m.i, sizeof m.i);
        return;
    }
    m.i.argsz = sizeof m;
    m.i.flags |= VFU_REGION_FLAG_MMAP;
    if (room < sizeof m) {
        fake_reply(f, h, &m.i, sizeof m.i);
        return;
    }
    m.i.flags |= VFU_REGION_FLAG_CAPS;
    m.i.cap_offset = sizeof m.i;
    m.id = m.version = 1;
    m.next = m.reserved = 0;
    m.nr_areas = 1;
    m.area[0] = 0;
    m.area[1] = 4096;
    fake_reply_fds(f, h, &m, sizeof m, &f->bar_fd, 1);
}

static void serve(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size, int fd)
{
    if (!may_in_state(f, h->command)) {
        fake_error(f, h, EINVAL, NULL, 0);
        return;
    }
    switch (h->command) {
    case VFU_VERSION:
        do_version(f, h);
        return;
    case VFU_DMA_MAP:
        do_map(f, h, payload, size, fd);
        return;
    case VFU_DMA_UNMAP:
        do_unmap(f, h, payload, size);
        return;
    case VFU_DEVICE_GET_INFO: {
        struct vfu_device_info i = {.argsz = sizeof i, .flags = 3, .num_regions = 9, .num_irqs = 5};
        fake_reply(f, h, &i, sizeof i);
        return;
    }
    case VFU_REGION_READ:
        do_region_read(f, h, payload);
        return;
    case VFU_REGION_WRITE:
        do_region_write(f, h, payload, size);
        return;
    case VFU_DEVICE_GET_REGION_INFO:
        do_region_info(f, h, payload);
        return;
    case VFU_DEVICE_GET_REGION_IO_FDS: {
        uint32_t none[4] = {sizeof none, 0, 0, 0};
        fake_reply(f, h, none, sizeof none);
        return;
    }
    case VFU_DEVICE_GET_IRQ_INFO: {
        struct vfu_irq_info i = {.argsz = sizeof i, .flags = 1, .count = 1};
        fake_reply(f, h, &i, sizeof i);
        return;
    }
    case VFU_DEVICE_SET_IRQS: {
        struct stat st = {0};
        struct vfu_irq_set set;
        memcpy(&set, payload, sizeof set);
        if (fd >= 0 && fstat(fd, &st) == 0)
            f->irq_inode = (unsigned long)st.st_ino;
        f->irq_flags = set.flags;
        fake_reply(f, h, NULL, 0);
        return;
    }
    case VFU_DEVICE_RESET:
        fake_reply(f, h, NULL, 0);
        return;
    case VFU_DEVICE_FEATURE:
        do_feature(f, h, payload, size);
        return;
    case VFU_MIG_DATA_READ:
        do_read(f, h, payload);
        return;
    case VFU_MIG_DATA_WRITE:
        do_write(f, h, payload, size);
        return;
    default:
        fake_error(f, h, EINVAL, NULL, 0);
    }
}

void fake_serve(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size, int fd)
{
    pthread_mutex_lock(&f->lock);
    serve(f, h, payload, size, fd);
    pthread_mutex_unlock(&f->lock);
}

void fake_sync(struct fake_server *f)
{
    pthread_mutex_lock(&f->lock);
    pthread_mutex_unlock(&f->lock);
}

static bool receive(int socket, void *buf, size_t size, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control;
    for (size_t done = 0; done < size;) {
        struct iovec iov = {(char *)buf + done, size - done};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
        ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            return false;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        if (c && fd && c->cmsg_type == SCM_RIGHTS)
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
        done += (size_t)n;
    }
    return true;
}

static void *server_thread(void *userdata)
{
    struct fake_server *f = userdata;
    static _Thread_local uint8_t payload[1 << 17];
    for (;;) {
        struct vfu_header h;
        int fd = -1;
        if (!receive(f->socket, &h, sizeof h, &fd) || h.size < sizeof h ||
            h.size - sizeof h > sizeof payload || !receive(f->socket, payload, h.size - sizeof h, NULL)) {
            close_fd(&fd);
            break;
        }
        if (h.command < ELEMENTS(f->commands))
            atomic_fetch_add(&f->commands[h.command], 1);
        if (!f->hook || !f->hook(f, &h, payload, h.size - sizeof h))
            fake_serve(f, &h, payload, h.size - sizeof h, fd);
        close_fd(&fd);
    }
    f->ended = true;
    return NULL;
}

void fake_start(struct fake_server *f)
{
    if (pthread_create(&f->thread, NULL, server_thread, f) != 0)
        exit(99);
}

void fake_stop(struct fake_server *f)
{
    if (f->thread) {
        shutdown(f->socket, SHUT_RDWR);
        pthread_join(f->thread, NULL);
        f->thread = 0;
    }
    close_fd(&f->socket);
    close_fd(&f->twin);
    close_fd(&f->client);
}

void fake_free(struct fake_server *f)
{
    fake_stop(f);
    for (unsigned i = 0; i < FAKE_MAPPINGS; i++)
        if (f->mapping[i])
            drop(f->mapping[i]);
    close_fd(&f->bar_fd);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int fake_dma(int socket, bool write, uint64_t address, void *data, uint64_t count)
{
    struct {
        struct vfu_header h;
        struct vfu_dma_rw rw;
    } m = {
        .h = {.msg_id = 77, .command = write ? VFU_DMA_WRITE : VFU_DMA_READ},
        .rw = {.address = address, .count = count},
    };
    m.h.size = (uint32_t)(sizeof m + (write ? count : 0));
    struct iovec iov[2] = {{&m, sizeof m}, {data, write ? count : 0}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    if (sendmsg(socket, &msg, MSG_NOSIGNAL) < 0)
        return -1;
    struct vfu_header r;
    struct vfu_dma_rw rw;
    if (!receive(socket, &r, sizeof r, NULL) || r.msg_id != 77 || r.command != m.h.command ||
        (r.flags & VFU_FLAG_TYPE_MASK) != VFU_FLAG_REPLY)
        return -1;
    if (r.flags & VFU_FLAG_ERROR)
        return r.size == sizeof r ? (int)r.error : -1;
    if (r.size != sizeof r + sizeof rw + (write ? 0 : count) || !receive(socket, &rw, sizeof rw, NULL) ||
        rw.address != address || rw.count != count)
        return -1;
    return write || receive(socket, data, count, NULL) ? 0 : -1;
}
