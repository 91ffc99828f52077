/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client.h"
#include "base/clock.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ARGS_MAX    48u
#define MESSAGE_MAX (4u << 20)
#define READ_BYTES  65536u

int process_start(struct process *p, const char *name, const char *const *args)
{
    const char *argv[ARGS_MAX];
    char program[4096], ready[16];
    unsigned n = 0;
    int pipe_fds[2];
    const char *top = getenv("TOP_BUILDDIR");
    snprintf(program, sizeof program, "%s/simdev", top ? top : ".");
    snprintf(p->socket_path, sizeof p->socket_path, "/tmp/simdev-test-%d-%s", (int)getpid(), name);
    if (pipe(pipe_fds) < 0)
        return -errno;
    snprintf(ready, sizeof ready, "%d", pipe_fds[1]);
    const char *const fixed[] = {program, "--socket", p->socket_path, "--ready-fd", ready};
    for (unsigned i = 0; i < ELEMENTS(fixed); i++)
        argv[n++] = fixed[i];
    for (unsigned i = 0; args[i] && n < ARGS_MAX - 1; i++)
        argv[n++] = args[i];
    argv[n] = NULL;
    p->pid = fork();
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no device behind */
        close(pipe_fds[0]);
        execv(program, (char *const *)argv);
        _exit(127);
    }
    close(pipe_fds[1]);
    char byte;
    struct pollfd poll_fd = {.fd = pipe_fds[0], .events = POLLIN};
    bool ready_now = poll(&poll_fd, 1, CLIENT_TIMEOUT_MSEC * 4) == 1 && read(pipe_fds[0], &byte, 1) == 1;
    close(pipe_fds[0]);
    if (ready_now)
        return 0;
    process_stop(p, SIGKILL);
    return -ECHILD;
}

static int wait_limited(pid_t pid, int msec)
{
    int status;
    for (int waited = 0; waited < msec; waited += 5) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return status;
        usleep(5000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -ETIMEDOUT;
}

int process_stop(struct process *p, int signal_number)
{
    if (p->pid <= 0)
        return 0;
    if (signal_number)
        kill(p->pid, signal_number);
    int status = wait_limited(p->pid, CLIENT_TIMEOUT_MSEC * 4);
    p->pid = 0;
    unlink(p->socket_path);
    return status;
}

int run_program(const char *const *argv)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status = pid < 0 ? -errno : wait_limited(pid, CLIENT_TIMEOUT_MSEC * 8);
    return status < 0 ? status : WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

static int receive_exact(struct client *c, int fd, void *buf, size_t size, bool with_fd, uint64_t deadline)
{
    for (size_t done = 0; done < size;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, deadline_poll_msec(deadline)) <= 0)
            return -ETIMEDOUT;
        char control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = {(char *)buf + done, size - done};
        struct msghdr h = {
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = with_fd ? control : NULL,
            .msg_controllen = with_fd ? sizeof control : 0,
        };
        ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            return n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
        struct cmsghdr *cmsg = with_fd ? CMSG_FIRSTHDR(&h) : NULL;
        if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
            close_fd(&c->reply_fd);
            memcpy(&c->reply_fd, CMSG_DATA(cmsg), sizeof c->reply_fd);
        }
        done += (size_t)n;
    }
    return 0;
}

static uint8_t *find_memory(struct client *c, uint64_t iova, uint64_t size)
{
    for (unsigned i = 0; i < c->n_memories; i++) {
        struct client_memory *m = &c->memories[i];
        if (iova >= m->iova && range_inside(iova - m->iova, size, m->size))
            return m->bytes + (iova - m->iova);
    }
    return NULL;
}

/* A DMA command came on fd: does it, answers there. */
static int serve_dma(struct client *c, int fd, const struct vfu_header *h, uint8_t *payload)
{
    struct vfu_dma_rw rw;
    uint8_t answer[sizeof *h + sizeof rw + 4096];
    size_t data_bytes = 0;
    if (h->size < sizeof *h + sizeof rw)
        return -EPROTO;
    memcpy(&rw, payload, sizeof rw);
    uint8_t *memory = rw.count <= 4096 ? find_memory(c, rw.address, rw.count) : NULL;
    struct vfu_header reply = {.msg_id = h->msg_id, .command = h->command, .flags = VFU_FLAG_REPLY};
    if (!memory) {
        reply.flags |= VFU_FLAG_ERROR;
        reply.error = EFAULT;
    } else if (h->command == VFU_DMA_WRITE) {
        memcpy(memory, payload + sizeof rw, rw.count);
        c->dma_writes++;
    } else {
        data_bytes = rw.count;
        memcpy(answer + sizeof reply + sizeof rw, memory, rw.count);
        c->dma_reads++;
    }
    reply.size = (uint32_t)(sizeof reply + (memory ? sizeof rw + data_bytes : 0));
    memcpy(answer, &reply, sizeof reply);
    memcpy(answer + sizeof reply, &rw, sizeof rw);
    return send(fd, answer, reply.size, MSG_NOSIGNAL) == (ssize_t)reply.size ? 0 : -EPIPE;
}

/* One message from fd; DMA commands are served, and 0 returned with *ret_reply NULL. */
static int receive_message(struct client *c, int fd, uint64_t deadline, uint8_t **ret_reply)
{
    struct vfu_header h;
    *ret_reply = NULL;
    int r = receive_exact(c, fd, &h, sizeof h, true, deadline);
    if (r < 0)
        return r;
    if (h.size < sizeof h || h.size > MESSAGE_MAX)
        return -EPROTO;
    _cleanup_free_ uint8_t *payload = malloc(h.size);
    r = receive_exact(c, fd, payload, h.size - sizeof h, false, deadline);
    if (r < 0)
        return r;
    if ((h.flags & VFU_FLAG_TYPE_MASK) == VFU_FLAG_COMMAND)
        return serve_dma(c, fd, &h, payload);
    c->header = h;
    *ret_reply = TAKE_PTR(payload);
    return 0;
}

int client_receive(struct client *c, uint16_t command, uint16_t id, void *reply, size_t *reply_bytes)
{
    uint64_t deadline = deadline_in((uint64_t)c->timeout_msec * USEC_PER_MSEC);
    for (;;) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = c->twin_fd, .events = POLLIN}};
        if (poll(p, 2, deadline_poll_msec(deadline)) <= 0)
            return -ETIMEDOUT;
        _cleanup_free_ uint8_t *payload = NULL;
        int r = receive_message(c, p[0].revents ? c->fd : c->twin_fd, deadline, &payload);
        if (r < 0)
            return r;
        if (!payload)
            continue;
        if (c->header.command != command || c->header.msg_id != id ||
            (c->header.flags & VFU_FLAG_TYPE_MASK) != VFU_FLAG_REPLY)
            return -EPROTO;
        size_t n = c->header.size - sizeof c->header;
        if (c->header.flags & VFU_FLAG_ERROR)
            return c->header.error ? -(int)c->header.error : -EIO;
        if (reply) {
            memcpy(reply, payload, MIN(n, *reply_bytes));
            *reply_bytes = n;
        }
        return 0;
    }
}

int client_send(struct client *c, uint16_t command, const void *payload, size_t payload_bytes, int fd)
{
    _cleanup_free_ uint8_t *data = malloc(sizeof(struct vfu_header) + payload_bytes);
    struct vfu_header h = {
        .msg_id = ++c->next_id,
        .command = command,
        .size = (uint32_t)(sizeof h + payload_bytes),
    };
    memcpy(data, &h, sizeof h);
    if (payload_bytes)
        memcpy(data + sizeof h, payload, payload_bytes);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {};
    struct iovec iov = {data, h.size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&m);
        *cmsg = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
    }
    return sendmsg(c->fd, &m, MSG_NOSIGNAL) == (ssize_t)h.size ? 0 : -EPIPE;
}

int client_command(struct client *c, uint16_t command, const void *payload, size_t payload_bytes, int fd,
                   void *reply, size_t *reply_bytes)
{
    int r = client_send(c, command, payload, payload_bytes, fd);
    return r < 0 ? r : client_receive(c, command, c->next_id, reply, reply_bytes);
}

void client_idle(struct client *c, int msec)
{
    uint64_t deadline = deadline_in((uint64_t)msec * USEC_PER_MSEC);
    while (now_usec() < deadline) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = c->twin_fd, .events = POLLIN}};
        if (poll(p, 2, deadline_poll_msec(deadline)) <= 0)
            return;
        uint8_t *payload;
        if (receive_message(c, p[0].revents ? c->fd : c->twin_fd, deadline, &payload) < 0)
            return;
        free(payload);
    }
}

int client_connect(struct client *c, const char *path, bool twin)
{
    *c = (struct client){.twin_fd = -1, .reply_fd = -1, .timeout_msec = CLIENT_TIMEOUT_MSEC};
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        return -errno;
    struct {
        struct vfu_version version;
        char json[256];
    } request = {}, reply = {};
    snprintf(request.json, sizeof request.json,
             "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576%s}}",
             twin ? ",\"twin_socket\":{\"supported\":true}" : "");
    size_t n = sizeof reply;
    int r = client_command(c, VFU_VERSION, &request, sizeof request.version + strlen(request.json) + 1, -1,
                           &reply, &n);
    if (r < 0)
        return r;
    if (n <= sizeof reply.version || n > sizeof reply || ((char *)&reply)[n - 1] != '\0')
        return -EPROTO;
    snprintf(c->version_json, sizeof c->version_json, "%s", reply.json);
    c->twin_fd = TAKE_FD(c->reply_fd);
    return 0;
}

void client_close(struct client *c)
{
    close_fd(&c->fd);
    close_fd(&c->twin_fd);
    close_fd(&c->reply_fd);
}

int client_map(struct client *c, uint64_t iova, uint64_t size, int fd, uint64_t offset, uint8_t *bytes)
{
    struct vfu_dma_map m = {
        .argsz = sizeof m,
        .flags = VFU_DMA_MAP_READ | VFU_DMA_MAP_WRITE,
        .offset = offset,
        .address = iova,
        .size = size,
    };
    c->memories[c->n_memories++] = (struct client_memory){iova, size, bytes};
    int r = client_command(c, VFU_DMA_MAP, &m, sizeof m, fd, NULL, NULL);
    if (r < 0)
        c->n_memories--;
    return r;
}

static void forget(struct client *c, uint64_t iova)
{
    for (unsigned i = 0; i < c->n_memories; i++) {
        if (c->memories[i].iova == iova) {
            c->memories[i] = c->memories[--c->n_memories];
            return;
        }
    }
}

int client_unmap(struct client *c, uint64_t iova, uint64_t size)
{
    struct vfu_dma_unmap m = {.argsz = sizeof m, .address = iova, .size = size}, back;
    size_t n = sizeof back;
    int r = client_command(c, VFU_DMA_UNMAP, &m, sizeof m, -1, &back, &n);
    if (r == 0)
        forget(c, iova);
    return r == 0 && (n != sizeof back || memcmp(&m, &back, sizeof m) != 0) ? -EPROTO : r;
}

int client_unmap_bitmap(struct client *c, uint64_t iova, uint64_t size, uint64_t *bitmap,
                        uint64_t bitmap_bytes)
{
    struct {
        struct vfu_dma_unmap unmap;
        struct vfu_bitmap_desc desc;
    } m = {{(uint32_t)(sizeof m + bitmap_bytes), VFU_DMA_UNMAP_BITMAP, iova, size}, {4096, bitmap_bytes}};
    size_t n = sizeof m + bitmap_bytes;
    _cleanup_free_ uint8_t *reply = malloc(n);
    int r = client_command(c, VFU_DMA_UNMAP, &m, sizeof m, -1, reply, &n);
    if (r < 0)
        return r;
    forget(c, iova);
    if (n != sizeof m + bitmap_bytes)
        return -EPROTO;
    memcpy(bitmap, reply + sizeof m, bitmap_bytes);
    return 0;
}

struct state_message {
    struct vfu_feature_header head;
    struct vfu_mig_state state;
};

int client_set_state(struct client *c, uint32_t state)
{
    struct state_message m = {{sizeof m, VFU_FEATURE_SET | VFU_FEATURE_MIG_DEVICE_STATE}, {state, -1}}, back;
    size_t n = sizeof back;
    int r = client_command(c, VFU_DEVICE_FEATURE, &m, sizeof m, -1, &back, &n);
    return r == 0 && (n != sizeof back || back.state.state != state) ? -EPROTO : r;
}

int client_get_state(struct client *c, uint32_t *ret)
{
    struct state_message m = {{sizeof m, VFU_FEATURE_GET | VFU_FEATURE_MIG_DEVICE_STATE}, {}};
    size_t n = sizeof m;
    int r = client_command(c, VFU_DEVICE_FEATURE, &m, sizeof m.head, -1, &m, &n);
    *ret = m.state.state;
    return r == 0 && n != sizeof m ? -EPROTO : r;
}

int client_log_start(struct client *c, uint64_t page_size, const struct vfu_log_range *range,
                     uint64_t *ret_page_size)
{
    struct {
        struct vfu_feature_header head;
        struct vfu_log_control control;
        struct vfu_log_range range;
    } m = {.head.flags = VFU_FEATURE_SET | VFU_FEATURE_DMA_LOGGING_START, .control.page_size = page_size};
    size_t n = sizeof m - (range ? 0 : sizeof m.range);
    m.head.argsz = (uint32_t)n;
    if (range) {
        m.range = *range;
        m.control.num_ranges = 1;
    }
    int r = client_command(c, VFU_DEVICE_FEATURE, &m, n, -1, &m, &n);
    if (ret_page_size)
        *ret_page_size = m.control.page_size;
    return r;
}

int client_log_stop(struct client *c)
{
    struct vfu_feature_header m = {sizeof m, VFU_FEATURE_SET | VFU_FEATURE_DMA_LOGGING_STOP};
    return client_command(c, VFU_DEVICE_FEATURE, &m, sizeof m, -1, NULL, NULL);
}

int client_report(struct client *c, uint64_t iova, uint64_t size, uint64_t page_size, uint64_t *bitmap)
{
    uint64_t bitmap_bytes = vfu_bitmap_bytes(size, page_size);
    struct {
        struct vfu_feature_header head;
        struct vfu_log_report report;
    } m = {{(uint32_t)(sizeof m + bitmap_bytes), VFU_FEATURE_GET | VFU_FEATURE_DMA_LOGGING_REPORT},
           {iova, size, page_size}};
    size_t n = sizeof m + bitmap_bytes;
    _cleanup_free_ uint8_t *reply = malloc(n);
    int r = client_command(c, VFU_DEVICE_FEATURE, &m, sizeof m, -1, reply, &n);
    if (r < 0)
        return r;
    if (n != sizeof m + bitmap_bytes)
        return -EPROTO;
    memcpy(bitmap, reply + sizeof m, bitmap_bytes);
    return 0;
}

int client_read_register(struct client *c, uint64_t offset, uint32_t *ret)
{
    struct {
        struct vfu_region_rw rw;
        uint32_t value;
    } __attribute__((packed)) m = {{offset, 0, sizeof(uint32_t)}, 0};
    size_t n = sizeof m;
    int r = client_command(c, VFU_REGION_READ, &m, sizeof m.rw, -1, &m, &n);
    *ret = m.value;
    return r == 0 && (n != sizeof m || m.rw.count != sizeof m.value) ? -EPROTO : r;
}

int client_write_register(struct client *c, uint64_t offset, uint32_t value)
{
    struct {
        struct vfu_region_rw rw;
        uint32_t value;
    } __attribute__((packed)) m = {{offset, 0, sizeof value}, value};
    return client_command(c, VFU_REGION_WRITE, &m, sizeof m, -1, NULL, NULL);
}

int client_save(struct client *c, uint8_t **state, size_t *size)
{
    for (;;) {
        struct vfu_mig_data m = {sizeof m + READ_BYTES, READ_BYTES};
        _cleanup_free_ uint8_t *reply = malloc(sizeof m + READ_BYTES);
        size_t n = sizeof m + READ_BYTES;
        int r = client_command(c, VFU_MIG_DATA_READ, &m, sizeof m, -1, reply, &n);
        if (r < 0)
            return r;
        if (n != sizeof m + READ_BYTES)
            return -EPROTO;
        memcpy(&m, reply, sizeof m);
        if (m.size > READ_BYTES)
            return -EPROTO;
        if (m.size == 0)
            return 0;
        uint8_t *more = realloc(*state, *size + m.size);
        memcpy(more + *size, reply + sizeof m, m.size);
        *state = more;
        *size += m.size;
    }
}

int client_load(struct client *c, const uint8_t *state, size_t size)
{
    uint8_t message[sizeof(struct vfu_mig_data) + 30000];
    for (size_t at = 0; at < size;) {
        uint32_t n = (uint32_t)MIN(size - at, (size_t)30000);
        struct vfu_mig_data m = {(uint32_t)sizeof m + n, n};
        memcpy(message, &m, sizeof m);
        memcpy(message + sizeof m, state + at, n);
        int r = client_command(c, VFU_MIG_DATA_WRITE, message, sizeof m + n, -1, NULL, NULL);
        if (r < 0)
            return r;
        at += n;
    }
    return 0;
}
