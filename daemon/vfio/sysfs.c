/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio/sysfs.h"
#include "base/printable.h"
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char label[] = "vfio-device-syspath:";

int kvfio_sysfs_path_from(FILE *fdinfo, char *buf, size_t size)
{
    char line[PATH_MAX + sizeof label];
    while (fgets(line, sizeof line, fdinfo)) {
        if (strncmp(line, label, strlen(label)) != 0)
            continue;
        const char *path = line + strlen(label) + strspn(line + strlen(label), " \t");
        size_t n = strcspn(path, "\n");
        if (strncmp(path, "/sys/", 5) != 0 || strstr(path, "/../"))
            return -ENODATA;
        if (n >= size)
            return -ENAMETOOLONG;
        memcpy(buf, path, n);
        buf[n] = '\0';
        return 0;
    }
    return -ENODATA;
}

/* What a cdev is of, by its number; for kernels whose fdinfo does not tell. */
static int path_of_cdev(int fd, char *buf, size_t size)
{
    char link[80], path[PATH_MAX];
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
        return -ENODATA;
    snprintf(link, sizeof link, "/sys/dev/char/%u:%u/device", major(st.st_rdev), minor(st.st_rdev));
    if (!realpath(link, path))
        return -ENODATA;
    return (size_t)snprintf(buf, size, "%s", path) < size ? 0 : -ENAMETOOLONG;
}

int kvfio_sysfs_path(int fd, char *buf, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(name, "re");
    if (!f)
        return -ENODATA;
    int r = kvfio_sysfs_path_from(f, buf, size);
    fclose(f);
    return r == -ENODATA ? path_of_cdev(fd, buf, size) : r;
}

/* The last part of what a link in the folder leads to. */
static int link_name(const char *path, const char *which, char *buf, size_t size)
{
    char link[PATH_MAX], target[PATH_MAX];
    if ((size_t)snprintf(link, sizeof link, "%s/%s", path, which) >= sizeof link)
        return -ENAMETOOLONG;
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
    if (!*name)
        return -ENOENT;
    if ((size_t)snprintf(buf, size, "%s", name) >= size) {
        buf[0] = '\0';
        return -ENAMETOOLONG;
    }
    make_printable(buf);
    return 0;
}

int kvfio_sysfs_driver(const char *path, char *buf, size_t size)
{
    return link_name(path, "driver", buf, size);
}

bool kvfio_sysfs_is_mediated(const char *path)
{
    char bus[16];
    return link_name(path, "subsystem", bus, sizeof bus) == 0 && strcmp(bus, "mdev") == 0;
}
