/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's objects say which backends there are, their size and whether they are shared; `info ramblock` says
 * which RAM there is beside them; /proc says where a backend's file is mapped and which descriptor leads to
 * it.
 */
#include "vmm/qemu-memory.h"
#include "base/fds.h"
#include "base/parse.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define BACKENDS_MAX 64u
#define MAPS_MAX     ((size_t)8 << 20)
#define PAGE         UINT64_C(4096)
/* ROMs, video memory and tables of the firmware stay with QEMU; RAM of a guest is larger. */
#define SMALL_BYTES (UINT64_C(64) << 20)

void qemu_memory_free(struct qemu_memory *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close_fd(&list[i].fd);
    free(list);
}

/* ---- what QEMU says ---- */

static int get_property(struct qmp *q, const char *id, const char *property, uint64_t deadline_usec,
                        struct json_object **ret, struct mig_error *err)
{
    char path[96];
    struct json_object *o = json_object_new_object();
    snprintf(path, sizeof path, "/objects/%s", id);
    if (!o || json_add_string(o, "path", path) < 0 || json_add_string(o, "property", property) < 0) {
        json_object_put(o);
        return mig_error_oom(err);
    }
    return qmp_call(q, "qom-get", o, -1, deadline_usec, ret, err);
}

static int read_backend(struct qmp *q, const char *id, uint64_t deadline_usec, struct qemu_memory *ret,
                        struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *size = NULL, *share = NULL;
    *ret = (struct qemu_memory){.fd = -1};
    if (strlen(id) >= sizeof ret->id)
        return mig_error_set(err, MIG_ERR_LIMIT, ENAMETOOLONG, "the name of memory backend %.80s is too long",
                             id);
    snprintf(ret->id, sizeof ret->id, "%s", id);
    int r = get_property(q, id, "size", deadline_usec, &size, err);
    if (r == 0)
        r = get_property(q, id, "share", deadline_usec, &share, err);
    if (r < 0)
        return r;
    ret->size_bytes = json_object_is_type(size, json_type_int) ? json_object_get_uint64(size) : 0;
    if (ret->size_bytes == 0 || ret->size_bytes % PAGE)
        return mig_error_set(err, MIG_ERR_CONTROLLER, EPROTO,
                             "QEMU says that memory backend %s has %" PRIu64 " bytes", id, ret->size_bytes);
    if (json_object_get_boolean(share))
        return 0;
    r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                      "RAM %s of QEMU at %s is not shared, so nobody else can read it", id, qmp_path(q));
    mig_error_hint(err,
                   "-object memory-backend-file,id=%s,share=on,mem-path=/dev/shm/... ; for libvirt "
                   "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>",
                   id);
    return r;
}

static bool is_backend(const char *type)
{
    return strcmp(type, "child<memory-backend-file>") == 0 ||
           strcmp(type, "child<memory-backend-memfd>") == 0 ||
           strcmp(type, "child<memory-backend-ram>") == 0 || strcmp(type, "child<memory-backend-epc>") == 0;
}

static int list_backends(struct qmp *q, uint64_t deadline_usec, struct qemu_memory *list, size_t *ret_n,
                         struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *objects = NULL;
    struct json_object *o = json_object_new_object();
    if (!o || json_add_string(o, "path", "/objects") < 0) {
        json_object_put(o);
        return mig_error_oom(err);
    }
    int r = qmp_call(q, "qom-list", o, -1, deadline_usec, &objects, err);
    size_t n =
        r == 0 && json_object_is_type(objects, json_type_array) ? json_object_array_length(objects) : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct json_object *one = json_object_array_get_idx(objects, i);
        const char *name = json_text_or_null(one, "name"), *type = json_text_or_null(one, "type");
        if (!name || !type || !is_backend(type))
            continue;
        if (*ret_n == BACKENDS_MAX)
            return mig_error_set(err, MIG_ERR_LIMIT, 0, "QEMU has more than %u memory backends",
                                 BACKENDS_MAX);
        r = read_backend(q, name, deadline_usec, &list[*ret_n], err);
        *ret_n += r == 0;
    }
    return r;
}

/* "  pc.ram    4 KiB  0x0000000000000000 0x0000000004000000 0x0000000004000000 ..." */
static bool parse_ramblock(const char *line, char name[static 128], uint64_t *ret_used_bytes)
{
    unsigned page;
    char unit[8];
    uint64_t offset;
    return sscanf(line, " %127s %u %7s 0x%" SCNx64 " 0x%" SCNx64, name, &page, unit, &offset,
                  ret_used_bytes) == 5;
}

static bool is_listed(const struct qemu_memory *list, size_t n, const char *block)
{
    const char *id = strncmp(block, "/objects/", 9) == 0 ? block + 9 : block;
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].id, id) == 0)
            return true;
    return false;
}

/* RAM that no backend stands for is private to QEMU: what -m alone makes. */
static int check_blocks(struct qmp *q, uint64_t deadline_usec, const struct qemu_memory *list, size_t n,
                        struct mig_error *err)
{
    _cleanup_free_ char *text = NULL;
    char *state = NULL, name[128];
    int r = qmp_human(q, "info ramblock", deadline_usec, &text, err);
    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\r\n", &state); line; line = strtok_r(NULL, "\r\n", &state)) {
        uint64_t used;
        if (!parse_ramblock(line, name, &used) || used < SMALL_BYTES || is_listed(list, n, name))
            continue;
        r = mig_error_set(
            err, MIG_ERR_NOT_SUPPORTED, 0,
            "RAM block %.80s of QEMU at %s has no shared memory backend, so nobody else can read it", name,
            qmp_path(q));
        mig_error_hint(err,
                       "-machine memory-backend=ram0 -object memory-backend-file,id=ram0,share=on,size=...,"
                       "mem-path=/dev/shm/... ; for libvirt <memoryBacking><source type='file'/><access "
                       "mode='shared'/></memoryBacking>");
        return r;
    }
    if (n > 0)
        return 0;
    r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "QEMU at %s has no shared memory backend", qmp_path(q));
    mig_error_hint(err, "start it with -machine memory-backend=ram0 -object "
                        "memory-backend-file,id=ram0,share=on,size=...,mem-path=/dev/shm/...");
    return r;
}

/* ---- what the kernel says ---- */

static int mapped_path(struct qmp *q, const struct qemu_memory *m, uint64_t deadline_usec, char *path,
                       size_t size, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    path[0] = '\0';
    struct mig_error none = MIG_ERROR_INIT;
    /* A memfd has no such property. */
    if (get_property(q, m->id, "mem-path", deadline_usec, &o, &none) < 0)
        return none.code == MIG_ERR_CONTROLLER_TIMEOUT ? (*err = none, -none.err) : 0;
    if (json_object_is_type(o, json_type_string))
        snprintf(path, size, "%s", json_object_get_string(o));
    return 0;
}

/* The shared mapping of exactly this size: of this path, or of a memfd. An inode that is taken belongs to
 * another backend. */
static int find_mapping(char *maps, const struct qemu_memory *m, const char *path, const uint64_t *taken,
                        size_t ntaken, uint64_t *ret_address, uint64_t *ret_inode)
{
    unsigned found = 0;
    char *state = NULL;
    for (char *line = strtok_r(maps, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        uint64_t start, end, offset, inode;
        unsigned major_number, minor_number;
        char permissions[5];
        int at = -1;
        bool other = false;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n", &start, &end,
                   permissions, &offset, &major_number, &minor_number, &inode, &at) != 7 ||
            permissions[3] != 's' || permissions[1] != 'w' || offset != 0 || end - start != m->size_bytes)
            continue;
        for (size_t i = 0; i < ntaken; i++)
            other |= taken[i] == inode;
        const char *name = line + at + strspn(line + at, " ");
        bool fits = path[0] ? strncmp(name, path, strlen(path)) == 0 : strncmp(name, "/memfd:", 7) == 0;
        if (other || !fits || (found && inode == *ret_inode))
            continue;
        if (found == 0) {
            *ret_address = start;
            *ret_inode = inode;
        }
        found++;
    }
    /* Two memfds of one size are told apart by nothing, and one taken for the other would be the end of a
     * guest. */
    return found == 1 ? 0 : found ? -ENOTUNIQ : -ENOENT;
}

static int find_descriptor(pid_t pid, uint64_t inode, int pidfd, struct qemu_memory *m)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    int r = -ENOENT;
    for (struct dirent *e; r == -ENOENT && (e = readdir(dir));) {
        struct stat st;
        uint64_t number;
        if (parse_unsigned(e->d_name, INT32_MAX, &number) < 0 || fstatat(dirfd(dir), e->d_name, &st, 0) < 0 ||
            st.st_ino != inode || !S_ISREG(st.st_mode))
            continue;
        int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)number, 0);
        if (fd < 0) {
            r = -errno;
        } else if (fstat(fd, &st) < 0 || st.st_ino != inode || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
            close(fd); /* another one has its number by now, or it may not write */
        } else {
            m->fd = fd;
            snprintf(m->origin, sizeof m->origin, "/proc/%d/fd/%d", (int)pid, (int)number);
            r = 0;
        }
    }
    closedir(dir);
    return r;
}

static int explain(const struct qmp *q, const struct qemu_memory *m, int r, const char *what,
                   struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_CONTROLLER, -r, "RAM %s of QEMU at %s (process %d): %s: %s", m->id,
                  qmp_path(q), (int)qmp_pid(q), what, strerror(-r));
    if (r == -EPERM || r == -EACCES)
        mig_error_hint(err,
                       "migd must be able to trace that process: it needs CAP_SYS_PTRACE, and the same pid "
                       "namespace or one above");
    else if (r == -ENOTUNIQ)
        mig_error_hint(err, "use memory-backend-file with a path for each of several backends of one size");
    else
        mig_error_hint(err,
                       "is it this QEMU that listens there? A monitor that libvirt opened names libvirtd");
    return r;
}

static int find_in_process(struct qmp *q, uint64_t deadline_usec, struct qemu_memory *list, size_t n,
                           struct mig_error *err)
{
    char path[64], file[512];
    uint64_t inodes[BACKENDS_MAX];
    pid_t pid = qmp_pid(q);
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return explain(q, &list[0], -errno, "its process", err);
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *maps = NULL;
        uint64_t inode = 0;
        int r = mapped_path(q, &list[i], deadline_usec, file, sizeof file, err);
        if (r < 0)
            return r;
        snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
        r = read_file(path, MAPS_MAX, &maps, NULL);
        if (r < 0)
            return explain(q, &list[i], r, "what it has mapped", err);
        r = find_mapping(maps, &list[i], file, inodes, i, &list[i].address, &inode);
        if (r < 0)
            return explain(q, &list[i], r, "its mapping", err);
        inodes[i] = inode;
        r = find_descriptor(pid, inode, pidfd, &list[i]);
        if (r < 0)
            return explain(q, &list[i], r, "its descriptor", err);
    }
    return 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct qemu_memory *)a)->id, ((const struct qemu_memory *)b)->id);
}

int qemu_memory_list(struct qmp *q, uint64_t deadline_usec, struct qemu_memory **ret, size_t *ret_n,
                     struct mig_error *err)
{
    size_t n = 0;
    struct qemu_memory *list = calloc(BACKENDS_MAX, sizeof *list);
    if (!list)
        return mig_error_oom(err);
    int r = list_backends(q, deadline_usec, list, &n, err);
    if (r == 0)
        r = check_blocks(q, deadline_usec, list, n, err);
    if (r == 0) {
        qsort(list, n, sizeof *list, by_id);
        r = find_in_process(q, deadline_usec, list, n, err);
    }
    if (r < 0) {
        qemu_memory_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}
