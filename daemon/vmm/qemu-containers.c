/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm/qemu-containers.h"
#include "base/fds.h"
#include "base/parse.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static int explain(const struct qmp *q, int r, const char *what, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_CONTROLLER, -r, "QEMU at %s (process %d): %s: %s", qmp_path(q),
                  (int)qmp_pid(q), what, strerror(-r));
    if (r == -EPERM || r == -EACCES)
        mig_error_hint(err, "migd must be able to trace that process: it needs CAP_SYS_PTRACE, and the same "
                            "pid namespace or one above");
    return r;
}

static int refuse_iommufd(const struct qmp *q, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                          "QEMU at %s has its devices on an iommufd, and which of its page tables are theirs "
                          "nobody can ask",
                          qmp_path(q));
    mig_error_hint(err, "leave iommufd= out of -device vfio-pci; or leave the containers out "
                        "(--no-containers) and add what says what the devices write");
    return r;
}

/* The numbers of the descriptors that are containers, sorted. */
static int list_descriptors(const struct qmp *q, int *fds, size_t *ret_n, struct mig_error *err)
{
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)qmp_pid(q));
    DIR *dir = opendir(path);
    if (!dir)
        return explain(q, -errno, "its descriptors", err);
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        uint64_t number;
        ssize_t n = parse_unsigned(e->d_name, INT_MAX, &number) == 0
                        ? readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1)
                        : -1;
        link[MAX(n, 0)] = '\0';
        if (strcmp(link, "/dev/iommu") == 0)
            r = refuse_iommufd(q, err);
        else if (strcmp(link, "/dev/vfio/vfio") != 0)
            continue;
        else if (*ret_n == QEMU_CONTAINERS_MAX)
            r = mig_error_set(err, MIG_ERR_LIMIT, 0, "QEMU at %s has more than %u VFIO containers",
                              qmp_path(q), QEMU_CONTAINERS_MAX);
        else
            fds[(*ret_n)++] = (int)number;
    }
    closedir(dir);
    for (size_t i = 1; i < *ret_n; i++)
        for (size_t k = i; k > 0 && fds[k] < fds[k - 1]; k--) {
            int higher = fds[k - 1];
            fds[k - 1] = fds[k];
            fds[k] = higher;
        }
    return r;
}

static int take(const struct qmp *q, int pidfd, int number, size_t i, struct container **ret,
                struct mig_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "container%zu", i);
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (fd < 0)
        return explain(q, -errno, "its VFIO container", err);
    int r = container_new(ret, name, fd, NULL, 0, 0, NULL, err);
    return r < 0 ? r : container_set_holder(*ret, pidfd, err);
}

int qemu_containers_take(const struct qmp *q, struct container **list, size_t *ret_n, struct mig_error *err)
{
    int fds[QEMU_CONTAINERS_MAX];
    size_t n = 0;
    int r = list_descriptors(q, fds, &n, err);
    if (r < 0 || n == 0)
        return r;
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, qmp_pid(q), 0);
    if (pidfd < 0)
        return explain(q, -errno, "its process", err);
    for (; r == 0 && *ret_n < n; (*ret_n)++) {
        list[*ret_n] = NULL;
        r = take(q, pidfd, fds[*ret_n], *ret_n, &list[*ret_n], err);
    }
    return r;
}
