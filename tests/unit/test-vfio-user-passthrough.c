/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pass-through server between a tiny client that knows nothing of migration and a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/fds.h"
#include "fake-vfio-user.h"
#include "vfio-user/device.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MIB (UINT64_C(1) << 20)

/* The domain: it knows one region, by inode, and registers others. */
struct world {
    struct fake_server *f;
    struct device *d;
    struct region *known, *made;
    char folder[64], path[96];
    atomic_uint changes, came, left;
    unsigned fds_before;
};

static int dma_fd(void *userdata, int fd, uint64_t offset, uint64_t size, struct region **ret,
                  uint64_t *ret_offset, struct mig_error *err)
{
    struct world *w = userdata;
    struct stat a, b;
    if (fstat(fd, &a) < 0 || fstat(w->known->fd, &b) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "fstat");
    if (a.st_ino == b.st_ino) {
        if (!range_inside(offset, size, w->known->size_bytes))
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ERANGE, "outside");
        *ret = region_ref(w->known);
        *ret_offset = offset;
        return 0;
    }
    int r = region_new_from_fd(ret, "new", fd, 0, 0, true, err);
    if (r == 0) {
        w->made = region_ref(*ret);
        *ret_offset = offset;
    }
    return r;
}
static void mappings_changed(void *userdata)
{
    struct world *w = userdata;
    atomic_fetch_add(&w->changes, 1);
}
static void client_changed(void *userdata, bool connected)
{
    struct world *w = userdata;
    atomic_fetch_add(connected ? &w->came : &w->left, 1);
}
static const struct vfu_passthrough_callbacks callbacks = {
    .dma_fd = dma_fd, .mappings_changed = mappings_changed, .client_changed = client_changed};

static void open_world(struct world *w)
{
    struct mig_error err = MIG_ERROR_INIT;
    strcpy(w->folder, "/tmp/migd-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/vm.sock", w->folder);
    assert_int_equal(region_new_made(&w->known, "ram", 8 * MIB, 0, -1, &err), 0);
    fake_start(w->f);
    struct vfu_device_options o = {.fd = w->f->client,
                                   .listen_path = w->path,
                                   .passthrough = &callbacks,
                                   .userdata = w,
                                   .timeout_usec = 3 * USEC_PER_SEC};
    if (vfu_device_new(&w->d, "nic0", &o, &err) < 0)
        fail_msg("%s", err.message);
    close_fd(&w->f->client);
}

static struct world *new_world(struct world *w)
{
    *w = (struct world){.fds_before = count_fds()};
    w->f = fake_new();
    return w;
}

static void close_world(struct world *w)
{
    device_unref(w->d);
    fake_free(w->f);
    region_unref(w->known);
    region_unref(w->made);
    struct stat st;
    assert_int_equal(stat(w->path, &st), -1); /* the socket file went with it */
    rmdir(w->folder);
    assert_int_equal(count_fds(), w->fds_before);
}

/* The tiny client. */
struct client {
    int socket, twin;
    struct vfu_header h; /* of the last reply */
    uint8_t payload[70000];
    size_t size;
    int fd; /* last descriptor that came */
};

static int dial(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(connect(s, (struct sockaddr *)&a, sizeof a), 0);
    return s;
}

static void post_fd(struct client *c, uint16_t command, const void *payload, size_t size, int fd)
{
    struct vfu_header h = {.msg_id = 500, .command = command, .size = (uint32_t)(sizeof h + size)};
    struct iovec iov[2] = {{&h, sizeof h}, {(void *)payload, size}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        struct cmsghdr *m = CMSG_FIRSTHDR(&msg);
        m->cmsg_level = SOL_SOCKET;
        m->cmsg_type = SCM_RIGHTS;
        m->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(m), &fd, sizeof fd);
    }
    sendmsg(c->socket, &msg, MSG_NOSIGNAL);
}

static bool fetch_from(struct client *c, int socket)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec iov = {&c->h, sizeof c->h};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    if (recvmsg(socket, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != (ssize_t)sizeof c->h)
        return false;
    struct cmsghdr *m = CMSG_FIRSTHDR(&msg);
    if (m && m->cmsg_type == SCM_RIGHTS) {
        close_fd(&c->fd);
        memcpy(&c->fd, CMSG_DATA(m), sizeof c->fd);
    }
    c->size = c->h.size - sizeof c->h;
    assert_true(c->size <= sizeof c->payload);
    return read_full(socket, c->payload, c->size) == 0;
}

static bool fetch(struct client *c)
{
    return fetch_from(c, c->socket);
}

/* The errno of the reply; -1 when there is none. */
static int ask_fd(struct client *c, uint16_t command, const void *payload, size_t size, int fd)
{
    post_fd(c, command, payload, size, fd);
    if (!fetch(c))
        return -1;
    assert_int_equal(c->h.msg_id, 500);
    assert_int_equal(c->h.command, command);
    assert_int_equal(c->h.flags & VFU_FLAG_TYPE_MASK, VFU_FLAG_REPLY);
    if (c->h.flags & VFU_FLAG_ERROR) {
        assert_int_equal(c->size, 0);
        return (int)c->h.error;
    }
    return 0;
}

static int ask(struct client *c, uint16_t command, const void *payload, size_t size)
{
    return ask_fd(c, command, payload, size, -1);
}

static void greet(struct client *c, bool twin)
{
    struct {
        struct vfu_version v;
        char text[200];
    } m = {.v = {0, 1}};
    snprintf(m.text, sizeof m.text, "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":4096%s}}",
             twin ? ",\"twin_socket\":{\"supported\":true}" : "");
    assert_int_equal(ask(c, VFU_VERSION, &m, sizeof m.v + strlen(m.text) + 1), 0);
    assert_true(c->size > sizeof m.v && c->payload[c->size - 1] == '\0');
    assert_null(strstr((char *)c->payload + sizeof m.v, "migration"));
    if (twin) {
        assert_non_null(strstr((char *)c->payload + sizeof m.v, "fd_index"));
        assert_true(c->fd >= 0);
        c->twin = TAKE_FD(c->fd);
    } else {
        assert_true(c->fd < 0);
    }
}

static void join(struct client *c, struct world *w, bool twin)
{
    *c = (struct client){.socket = dial(w->path), .twin = -1, .fd = -1};
    greet(c, twin);
}

static void leave(struct client *c)
{
    close_fd(&c->socket);
    close_fd(&c->twin);
    close_fd(&c->fd);
}

static void wait_until(atomic_uint *counter, unsigned value)
{
    for (int i = 0; i < 500 && atomic_load(counter) < value; i++)
        usleep(10000);
    assert_true(atomic_load(counter) >= value);
}

static int map_fd(struct client *c, uint64_t iova, uint64_t offset, uint64_t size, int fd)
{
    struct vfu_dma_map m = {.argsz = sizeof m, .flags = 3, .offset = offset, .address = iova, .size = size};
    return ask_fd(c, VFU_DMA_MAP, &m, sizeof m, fd);
}

static int unmap(struct client *c, uint32_t flags, uint64_t iova, uint64_t size)
{
    struct vfu_dma_unmap m = {.argsz = sizeof m, .flags = flags, .address = iova, .size = size};
    return ask(c, VFU_DMA_UNMAP, &m, sizeof m);
}

static int write_bar(struct client *c, uint64_t offset, uint32_t value)
{
    struct {
        struct vfu_region_rw rw;
        uint32_t value;
    } m = {{.offset = offset, .region = 0, .count = 4}, value};
    return ask(c, VFU_REGION_WRITE, &m, sizeof m.rw + 4);
}

static size_t mapped(struct world *w)
{
    struct iova_mapping *m = NULL;
    size_t n = 0;
    assert_int_equal(iova_map_snapshot(w->d->map, &m, &n), 0);
    iova_mappings_free(m, n);
    return n;
}

static void test_the_device_itself(void **state)
{
    struct world w;
    open_world(new_world(&w));
    struct client c;
    join(&c, &w, true);
    assert_int_equal(w.came, 1);

    struct vfu_device_info info = {.argsz = sizeof info};
    assert_int_equal(ask(&c, VFU_DEVICE_GET_INFO, &info, sizeof info), 0);
    memcpy(&info, c.payload, sizeof info);
    assert_int_equal(info.num_regions, 9);

    struct vfu_region_info region = {.argsz = sizeof region};
    assert_int_equal(ask(&c, VFU_DEVICE_GET_REGION_INFO, &region, sizeof region), 0);
    memcpy(&region, c.payload, sizeof region);
    assert_int_equal(c.size, sizeof region);
    assert_true(region.argsz > sizeof region);
    assert_true(c.fd < 0);
    region.flags = 0;
    assert_int_equal(ask(&c, VFU_DEVICE_GET_REGION_INFO, &region, sizeof region), 0);
    assert_int_equal(c.size, region.argsz); /* sparse areas passed on */
    struct stat ours, theirs;
    assert_true(c.fd >= 0); /* and the descriptor */
    assert_int_equal(fstat(c.fd, &ours), 0);
    assert_int_equal(fstat(w.f->bar_fd, &theirs), 0);
    assert_int_equal(ours.st_ino, theirs.st_ino);
    region.index = 77;
    assert_int_equal(ask(&c, VFU_DEVICE_GET_REGION_INFO, &region, sizeof region), EINVAL);

    uint32_t io[4] = {16, 0, 0, 0};
    assert_int_equal(ask(&c, VFU_DEVICE_GET_REGION_IO_FDS, io, sizeof io), 0);
    struct vfu_irq_info irq = {.argsz = sizeof irq, .index = 2};
    assert_int_equal(ask(&c, VFU_DEVICE_GET_IRQ_INFO, &irq, sizeof irq), 0);
    assert_int_equal(c.size, sizeof irq);

    int event = memfd_create("event", MFD_CLOEXEC); /* an inode that can be recognised */
    struct vfu_irq_set set = {.argsz = sizeof set, .flags = 0x24, .index = 2, .count = 1};
    assert_int_equal(ask_fd(&c, VFU_DEVICE_SET_IRQS, &set, sizeof set, event), 0);
    assert_int_equal(fstat(event, &ours), 0);
    assert_int_equal(w.f->irq_inode, ours.st_ino);
    close_fd(&event);

    assert_int_equal(write_bar(&c, 16, 0xfeedbeef), 0);
    fake_sync(w.f);
    assert_int_equal(w.f->bar[16], 0xef);
    struct vfu_region_rw rw = {.offset = 16, .region = 0, .count = 4};
    assert_int_equal(ask(&c, VFU_REGION_READ, &rw, sizeof rw), 0);
    assert_int_equal(c.size, sizeof rw + 4);
    assert_int_equal(c.payload[sizeof rw], 0xef);
    rw.count = 0xffffffff;
    assert_int_equal(ask(&c, VFU_REGION_READ, &rw, sizeof rw), EINVAL);
    rw = (struct vfu_region_rw){.offset = 16, .region = 3, .count = 4};
    assert_int_equal(ask(&c, VFU_REGION_READ, &rw, sizeof rw),
                     EINVAL); /* the device's own refusal, its payload dropped */
    assert_int_equal(ask(&c, VFU_DEVICE_RESET, NULL, 0), 0);
    assert_int_equal(w.f->commands[VFU_DEVICE_RESET], 1);

    /* Migration is migd's. */
    struct {
        struct vfu_feature_header h;
        uint64_t data;
    } feature = {{sizeof feature, VFU_FEATURE_MIGRATION | VFU_FEATURE_GET}, 0};
    unsigned before = w.f->commands[VFU_DEVICE_FEATURE];
    assert_int_equal(ask(&c, VFU_DEVICE_FEATURE, &feature, sizeof feature), EINVAL);
    feature.h.flags = VFU_FEATURE_MIG_DEVICE_STATE | VFU_FEATURE_SET;
    feature.data = DEVICE_STATE_STOP;
    assert_int_equal(ask(&c, VFU_DEVICE_FEATURE, &feature, sizeof feature), EINVAL);
    assert_int_equal(ask(&c, VFU_MIG_DATA_READ, &feature, 8), EINVAL);
    assert_int_equal(ask(&c, VFU_MIG_DATA_WRITE, &feature, 16), EINVAL);
    assert_int_equal(ask(&c, VFU_REGION_WRITE_MULTI, &feature, 16), EINVAL);
    assert_int_equal(ask(&c, 14, &feature, 16), EINVAL);
    assert_int_equal(w.f->commands[VFU_DEVICE_FEATURE], before);
    assert_int_equal(w.f->state, DEVICE_STATE_RUNNING);

    /* It leaves: interrupts are switched off, the next client is served. */
    leave(&c);
    wait_until(&w.left, 1);
    assert_int_equal(w.f->irq_flags, 0x21);
    join(&c, &w, false);
    assert_int_equal(ask(&c, VFU_DEVICE_GET_INFO, &info, sizeof info), 0);
    leave(&c);
    close_world(&w);
}

static void test_mappings(void **state)
{
    struct world w;
    open_world(new_world(&w));
    struct client c;
    join(&c, &w, true);
    assert_int_equal(map_fd(&c, 0x100000, 0, 4 * MIB, w.known->fd), 0);
    assert_int_equal(map_fd(&c, 0x40000000, 4 * MIB, 4 * MIB, w.known->fd), 0);
    assert_int_equal(w.changes, 2);
    assert_int_equal(mapped(&w), 2);
    fake_touch(w.f, 0x40000000, 0x31);
    assert_int_equal(w.known->map[4 * MIB], 0x31);

    int other = memfd_create("other", MFD_CLOEXEC);
    assert_int_equal(ftruncate(other, (off_t)MIB), 0);
    assert_int_equal(map_fd(&c, 0x80000000, 0, MIB, other), 0);
    assert_non_null(w.made);
    close_fd(&other);

    /* Refused, and nothing changes. */
    assert_int_equal(map_fd(&c, 0x100000, 0, 4096, w.known->fd), EEXIST);
    assert_int_equal(map_fd(&c, 0x90000000, 8 * MIB, 4096, w.known->fd), ERANGE);
    assert_int_equal(map_fd(&c, 0x90000001, 0, 4096, w.known->fd), EINVAL);
    assert_int_equal(map_fd(&c, 0x90000000, 0, 0, w.known->fd), EINVAL);
    assert_int_equal(map_fd(&c, UINT64_MAX - 4095, 0, 8192, w.known->fd), EINVAL);
    assert_int_equal(map_fd(&c, 0x90000000, 0, UINT64_C(1) << 50, w.known->fd), EINVAL);
    assert_int_equal(unmap(&c, 0, 0x100000, 4096), ENOENT);
    assert_int_equal(unmap(&c, VFU_DMA_UNMAP_BITMAP, 0x100000, 4 * MIB), EINVAL);
    assert_int_equal(mapped(&w), 3);

    /* R6: the client unmaps while migd tracks. */
    uint64_t page = 4096;
    assert_int_equal(w.d->ops->log_start(w.d, &page, NULL), 0);
    fake_touch(w.f, 0x40000000 + 9 * 4096, 1);
    assert_int_equal(unmap(&c, 0, 0x40000000, 4 * MIB), 0);
    assert_int_equal(c.size, sizeof(struct vfu_dma_unmap));
    region_take_marks(w.known);
    assert_true(bitmap_test(w.known->dirty, 4 * MIB / 4096 + 9));
    fake_touch(w.f, 0x100000, 1);
    assert_int_equal(unmap(&c, VFU_DMA_UNMAP_ALL, 0, 0), 0);
    assert_int_equal(mapped(&w), 0);
    region_take_marks(w.known);
    assert_true(bitmap_test(w.known->dirty, 0));

    /* What the domain has mapped itself is accepted, and stays when the client leaves; the client's own
     * mapping goes. */
    struct iova_mapping own = {
        .iova = 0, .size_bytes = MIB, .region = w.known, .prot = IOVA_READ | IOVA_WRITE};
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(w.d->ops->dma_map(w.d, &own, &err), 0);
    assert_int_equal(map_fd(&c, 0, 0, MIB, w.known->fd), 0);
    assert_int_equal(map_fd(&c, 16 * MIB, 0, MIB, w.known->fd), 0);
    assert_int_equal(mapped(&w), 2);
    leave(&c);
    wait_until(&w.left, 1);
    assert_int_equal(mapped(&w), 1);
    close_world(&w);
}

/* The device stands still: accesses wait, and are answered when it runs again. */
static void test_waiting(void **state)
{
    struct world w;
    open_world(new_world(&w));
    struct client c;
    join(&c, &w, false);
    struct pollfd p = {.fd = c.socket, .events = POLLIN};
    struct {
        struct vfu_region_rw rw;
        uint32_t value;
    } m = {{.offset = 0, .region = 0, .count = 4}, 7};
    static const enum device_state still[] = {DEVICE_STATE_STOP, DEVICE_STATE_STOP_COPY,
                                              DEVICE_STATE_RESUMING};
    for (size_t i = 0; i < ELEMENTS(still); i++) {
        m.value = (uint32_t)i + 1;
        assert_int_equal(w.d->ops->set_state(w.d, still[i], NULL, NULL), 0);
        post_fd(&c, VFU_REGION_WRITE, &m, sizeof m.rw + 4, -1);
        assert_int_equal(poll(&p, 1, 60), 0);
        fake_sync(w.f);
        assert_int_equal(w.f->bar[0], i);
        fake_sync(w.f);
        assert_int_equal(w.d->ops->set_state(w.d, DEVICE_STATE_RUNNING, NULL, NULL), 0);
        assert_true(fetch(&c));
        assert_false(c.h.flags & VFU_FLAG_ERROR);
        fake_sync(w.f);
        assert_int_equal(w.f->bar[0], i + 1);
        fake_sync(w.f);
    }
    /* Being loaded, a device takes mappings already: the VMM of the destination connects before the device
     * runs. */
    assert_int_equal(w.d->ops->set_state(w.d, DEVICE_STATE_RESUMING, NULL, NULL), 0);
    assert_int_equal(map_fd(&c, 0, 0, MIB, w.known->fd), 0);
    assert_int_equal(w.d->ops->set_state(w.d, DEVICE_STATE_RUNNING, NULL, NULL), 0);

    vfu_device_quiesce(w.d, true);
    post_fd(&c, VFU_REGION_WRITE, &m, sizeof m.rw + 4, -1);
    assert_int_equal(poll(&p, 1, 60), 0);
    /* The server stops reading instead of growing, and nothing is lost. */
    unsigned sent = 1;
    for (unsigned patience = 0; patience < 5 && sent < 20000;) {
        struct {
            struct vfu_header h;
            struct vfu_region_rw rw;
            uint32_t value;
        } whole = {{.msg_id = 500, .command = VFU_REGION_WRITE, .size = 16 + 20}, m.rw, 7};
        if (send(c.socket, &whole, whole.h.size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)whole.h.size) {
            sent++;
            patience = 0;
        } else {
            assert_int_equal(errno, EAGAIN);
            usleep(10000);
            patience++;
        }
    }
    assert_true(sent < 20000);
    vfu_device_quiesce(w.d, false);
    for (unsigned i = 0; i < sent; i++)
        assert_true(fetch(&c));

    /* The client leaves while its access waits; its mapping goes when the device runs again. */
    assert_int_equal(w.d->ops->set_state(w.d, DEVICE_STATE_STOP_COPY, NULL, NULL), 0);
    post_fd(&c, VFU_REGION_WRITE, &m, sizeof m.rw + 4, -1);
    leave(&c);
    usleep(60000);
    assert_int_equal(w.left, 0);
    assert_int_equal(mapped(&w), 1);
    assert_int_equal(w.d->ops->set_state(w.d, DEVICE_STATE_RUNNING, NULL, NULL), 0);
    wait_until(&w.left, 1);
    assert_int_equal(mapped(&w), 0);
    close_world(&w);
}

/* A client that never rests, while the device is stopped and started under it: it never sees a refusal. */
struct restless {
    struct client *c;
    int fd;
    atomic_bool enough;
    unsigned rounds, refusals;
};

static void *restless_thread(void *userdata)
{
    struct restless *x = userdata;
    while (!atomic_load(&x->enough)) {
        x->refusals += map_fd(x->c, 0, 0, MIB, x->fd) != 0;
        x->refusals += write_bar(x->c, 0, x->rounds) != 0;
        x->refusals += unmap(x->c, 0, 0, MIB) != 0;
        x->rounds++;
    }
    return NULL;
}

static void test_restless_client(void **state)
{
    struct world w;
    open_world(new_world(&w));
    static struct client c;
    join(&c, &w, true);
    struct restless x = {.c = &c, .fd = w.known->fd};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, restless_thread, &x), 0);
    for (int i = 0; i < 150; i++) {
        struct mig_error err = MIG_ERROR_INIT;
        if (w.d->ops->set_state(w.d, i % 2 ? DEVICE_STATE_STOP : DEVICE_STATE_STOP_COPY, NULL, &err) < 0 ||
            w.d->ops->set_state(w.d, DEVICE_STATE_RUNNING, NULL, &err) < 0)
            fail_msg("%s", err.message);
        usleep(500);
    }
    atomic_store(&x.enough, true);
    pthread_join(thread, NULL);
    assert_true(x.rounds > 10);
    assert_int_equal(x.refusals, 0);
    leave(&c);
    close_world(&w);
}

/* Ending a device while a client's access waits must not hang. */
static void test_closing_while_waiting(void **state)
{
    struct world w;
    open_world(new_world(&w));
    struct client c;
    join(&c, &w, true);
    assert_int_equal(map_fd(&c, 0, 0, MIB, w.known->fd), 0);
    assert_int_equal(w.d->ops->set_state(w.d, DEVICE_STATE_STOP_COPY, NULL, NULL), 0);
    struct vfu_region_rw rw = {.count = 4};
    post_fd(&c, VFU_REGION_READ, &rw, sizeof rw, -1);
    usleep(20000);
    device_unref(w.d);
    w.d = NULL;
    assert_false(fetch(&c)); /* end of file */
    leave(&c);
    close_world(&w);
}

/* DMA by message into a client that gave no descriptor. */
struct answering {
    struct client *c;
    int socket;
    uint8_t *memory; /* at IOVA 0x10000 */
    unsigned reads, writes, largest;
    pthread_t thread;
};

static void answer_one(struct answering *a)
{
    struct client *c = a->c;
    struct vfu_dma_rw rw;
    memcpy(&rw, c->payload, sizeof rw);
    bool write = c->h.command == VFU_DMA_WRITE;
    uint8_t out[16 + 16 + 4096];
    struct vfu_header h = {.msg_id = c->h.msg_id, .command = c->h.command, .flags = VFU_FLAG_REPLY};
    h.size = (uint32_t)(sizeof h + sizeof rw + (write ? 0 : rw.count));
    memcpy(out, &h, sizeof h);
    memcpy(out + sizeof h, &rw, sizeof rw);
    if (write) {
        memcpy(a->memory + rw.address - 0x10000, c->payload + sizeof rw, rw.count);
        a->writes++;
    } else {
        memcpy(out + sizeof h + sizeof rw, a->memory + rw.address - 0x10000, rw.count);
        a->reads++;
    }
    a->largest = MAX(a->largest, (unsigned)rw.count);
    assert_int_equal(write_full(a->socket, out, h.size), 0);
}

static void *twin_answerer(void *userdata)
{
    struct answering *a = userdata;
    while (fetch_from(a->c, a->socket))
        answer_one(a);
    return NULL;
}

static void test_foreign_twin(void **state)
{
    struct world w;
    open_world(new_world(&w));
    static struct client c, twin;
    uint8_t *memory = calloc(1, 65536), buf[10000];
    join(&c, &w, true);
    assert_int_equal(map_fd(&c, 0x10000, 0, 65536, -1), 0);
    struct vfu_device_status s;
    vfu_device_get_status(w.d, &s);
    assert_true(s.client);
    assert_int_equal(s.foreign_mappings, 1);
    assert_int_equal(mapped(&w), 0); /* nothing that migd could move */
    twin = (struct client){.socket = -1, .twin = -1, .fd = -1};
    struct answering a = {.c = &twin, .socket = c.twin, .memory = memory};
    assert_int_equal(pthread_create(&a.thread, NULL, twin_answerer, &a), 0);
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)(i * 13);
    assert_int_equal(fake_dma(fake_twin(w.f), true, 0x10000 + 100, buf, sizeof buf), 0);
    assert_memory_equal(memory + 100, buf, sizeof buf);
    memset(buf, 0, sizeof buf);
    assert_int_equal(fake_dma(fake_twin(w.f), false, 0x10000 + 100, buf, sizeof buf), 0);
    assert_memory_equal(memory + 100, buf, sizeof buf);
    assert_int_equal(fake_dma(fake_twin(w.f), false, 0x10000 + 65536 - 8, buf, 16), EFAULT);
    assert_int_equal(unmap(&c, 0, 0x10000, 65536), 0);
    assert_int_equal(fake_dma(fake_twin(w.f), false, 0x10000, buf, 16), EFAULT);
    shutdown(c.twin, SHUT_RDWR);
    pthread_join(a.thread, NULL);
    assert_int_equal(a.writes, 3); /* 10000 bytes in what the client takes at once */
    assert_int_equal(a.largest, 4096);
    leave(&c);
    free(memory);
    close_world(&w);
}

/* A client without twin socket, whose region write makes the device do DMA before it answers. */
static bool dma_in_write(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    if (h->command != VFU_REGION_WRITE)
        return false;
    uint8_t byte = 0x66;
    if (fake_dma(f->twin, true, 0x10000, &byte, 1) != 0) {
        fake_error(f, h, EPIPE, NULL, 0);
        return true;
    }
    return false;
}

static void test_foreign_main(void **state)
{
    struct world w;
    new_world(&w)->f->hook = dma_in_write;
    open_world(&w);
    static struct client c;
    uint8_t memory[4096] = {0};
    join(&c, &w, false);
    assert_int_equal(map_fd(&c, 0x10000, 0, 4096, -1), 0);
    struct {
        struct vfu_region_rw rw;
        uint32_t value;
    } m = {{.offset = 0, .region = 0, .count = 4}, 7};
    post_fd(&c, VFU_REGION_WRITE, &m, sizeof m.rw + 4, -1);
    assert_true(fetch(&c));
    assert_int_equal(c.h.command, VFU_DMA_WRITE);
    struct answering a = {.c = &c, .socket = c.socket, .memory = memory};
    answer_one(&a);
    assert_true(fetch(&c));
    assert_int_equal(c.h.command, VFU_REGION_WRITE);
    assert_false(c.h.flags & VFU_FLAG_ERROR);
    assert_int_equal(memory[0], 0x66);

    /* It leaves instead of answering: the device gets an error, not silence. */
    post_fd(&c, VFU_REGION_WRITE, &m, sizeof m.rw + 4, -1);
    assert_true(fetch(&c));
    assert_int_equal(c.h.command, VFU_DMA_WRITE);
    leave(&c);
    wait_until(&w.left, 1);
    uint8_t byte;
    assert_int_equal(fake_dma(fake_twin(w.f), false, 0x10000, &byte, 1), EIO);
    close_world(&w);
}

static void test_bad_clients(void **state)
{
    struct world w;
    open_world(new_world(&w));
    static struct client c;
    struct vfu_device_info info = {.argsz = sizeof info};

    c = (struct client){.socket = dial(w.path), .twin = -1, .fd = -1}; /* no VERSION */
    assert_int_equal(ask(&c, VFU_DEVICE_GET_INFO, &info, sizeof info), EINVAL);
    assert_false(fetch(&c));
    leave(&c);

    static const char *const texts[] = {"x",
                                        "{\"capabilities\":[]}",
                                        "{\"capabilities\":{\"max_msg_fds\":\"8\"}}",
                                        "{\"capabilities\":{\"max_msg_fds\":-1}}",
                                        "[",
                                        "",
                                        "{\"capabilities\":{\"twin_socket\":true}}",
                                        "{\"capabilities\":{\"max_data_xfer_size\":0}}"};
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        struct {
            struct vfu_version v;
            char text[100];
        } m = {.v = {0, 0}};
        strcpy(m.text, texts[i]);
        c = (struct client){.socket = dial(w.path), .twin = -1, .fd = -1};
        assert_int_equal(ask(&c, VFU_VERSION, &m, sizeof m.v + strlen(m.text) + 1), EINVAL);
        assert_false(fetch(&c));
        leave(&c);
    }

    struct vfu_header huge = {.command = VFU_REGION_WRITE, .size = 0x7fffffff},
                      tiny = {.command = VFU_REGION_WRITE, .size = 3},
                      reply = {.command = VFU_REGION_WRITE, .size = 16, .flags = 7};
    const struct vfu_header *bad[] = {&huge, &tiny, &reply};
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        join(&c, &w, false);
        assert_int_equal(write_full(c.socket, bad[i], sizeof *bad[i]), 0);
        assert_false(fetch(&c));
        leave(&c);
    }

    join(&c, &w, true); /* half a message, then gone, with descriptors under way */
    struct vfu_dma_map map = {.argsz = sizeof map};
    post_fd(&c, VFU_DMA_MAP, &map, 7, w.known->fd);
    assert_true(fetch(&c));
    assert_int_equal(c.h.error, EINVAL);
    uint32_t half[3] = {0};
    assert_int_equal(write_full(c.socket, half, sizeof half), 0);
    leave(&c);

    join(&c, &w, true); /* answers that nobody asked for are nothing; two VERSIONs are an error */
    struct vfu_header stray = {.command = VFU_DMA_READ, .size = 16, .flags = VFU_FLAG_REPLY};
    assert_int_equal(write_full(c.twin, &stray, sizeof stray), 0);
    assert_int_equal(ask(&c, VFU_DEVICE_GET_INFO, &info, sizeof info), 0);
    assert_int_equal(ask(&c, VFU_VERSION, &info, 4), EINVAL);
    assert_false(fetch(&c));
    leave(&c);
    join(&c, &w, true); /* and after all that it still serves */
    assert_int_equal(ask(&c, VFU_DEVICE_GET_INFO, &info, sizeof info), 0);
    leave(&c);
    close_world(&w);
}

static void test_second_client_waits(void **state)
{
    struct world w;
    open_world(new_world(&w));
    static struct client first, second;
    join(&first, &w, false);
    second = (struct client){.socket = dial(w.path), .twin = -1, .fd = -1};
    struct {
        struct vfu_version v;
    } m = {{0, 0}};
    post_fd(&second, VFU_VERSION, &m, sizeof m, -1);
    struct pollfd p = {.fd = second.socket, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60), 0);
    leave(&first);
    assert_true(fetch(&second));
    assert_int_equal(second.h.command, VFU_VERSION);
    leave(&second);
    close_world(&w);
}

static void test_device_gone(void **state)
{
    struct world w;
    open_world(new_world(&w));
    struct client c;
    join(&c, &w, true);
    assert_int_equal(map_fd(&c, 0, 0, MIB, w.known->fd), 0);
    fake_stop(w.f);
    assert_false(fetch(&c)); /* end of file */
    struct pollfd p = {.fd = w.d->ops->gone_fd(w.d), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 3000), 1);
    leave(&c);
    close_world(&w);
}

static void test_listen_path(void **state)
{
    struct world w;
    open_world(new_world(&w));
    /* In use by a living server: refused, and that one is not disturbed. */
    struct fake_server *f = fake_new();
    fake_start(f);
    struct device *d = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    struct vfu_device_options o = {
        .fd = f->client, .listen_path = w.path, .passthrough = &callbacks, .userdata = &w};
    assert_true(vfu_device_new(&d, "nic1", &o, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_EXISTS);
    assert_non_null(strstr(err.message, w.path));
    struct client c;
    join(&c, &w, false);
    leave(&c);
    fake_free(f);
    device_unref(w.d);
    w.d = NULL;

    /* Left behind by one that died: taken over. */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, w.path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof a), 0);
    close_fd(&s);
    f = fake_new();
    fake_start(f);
    o.fd = f->client;
    assert_int_equal(vfu_device_new(&d, "nic1", &o, &err), 0);
    device_unref(d);
    fake_free(f);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_device_itself),
        cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_restless_client),
        cmocka_unit_test(test_closing_while_waiting),
        cmocka_unit_test(test_foreign_twin),
        cmocka_unit_test(test_foreign_main),
        cmocka_unit_test(test_bad_clients),
        cmocka_unit_test(test_second_client_waits),
        cmocka_unit_test(test_device_gone),
        cmocka_unit_test(test_listen_path),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
