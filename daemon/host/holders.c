/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/holders.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DEVICE_LINK  "anon_inode:[vfio-device]"
#define FDINFO_KEY   "vfio-device-syspath:"
#define FDINFO_BYTES 65536u

static int add_holder(struct host_device *d, const struct host_tree *t, const char *pid, const char *by)
{
    pid_t number = (pid_t)strtol(pid, NULL, 10);
    for (size_t i = 0; i < d->nholders; i++)
        if (d->holders[i].pid == number)
            return 0;
    if (d->nholders >= HOLDERS_MAX)
        return 0;
    struct host_holder *holders = reallocarray(d->holders, d->nholders + 1, sizeof *holders);
    if (!holders)
        return -ENOMEM;
    d->holders = holders;
    struct host_holder *h = &holders[d->nholders++];
    *h = (struct host_holder){.pid = number, .by = by};
    tree_read(t, h->command, sizeof h->command, "/proc/%s/comm", pid);
    return 0;
}

static int read_syspath(const struct host_tree *t, const char *pid, const char *fd, char *ret, size_t size)
{
    _cleanup_free_ char *text = NULL;
    int r = tree_read_whole(t, FDINFO_BYTES, &text, NULL, "/proc/%s/fdinfo/%s", pid, fd);
    if (r < 0)
        return r;
    for (char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, FDINFO_KEY, sizeof FDINFO_KEY - 1) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        const char *name = strrchr(line, '/');
        if (!name || !name[1] || strlen(name + 1) >= size)
            return -EINVAL;
        strcpy(ret, name + 1);
        return 0;
    }
    return -ENODATA;
}

int holders_device_of(const struct host_tree *t, const char *pid, int fd, char *ret, size_t size)
{
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    int r = read_syspath(t, pid, number, ret, size);
    return r == -ENOMEM ? r : r < 0 ? -ENODATA : 0;
}

/* Processes in other mount namespaces show other beginnings, so only the end counts: ".../vfio/17",
 * ".../vfio/noiommu-17", ".../vfio/devices/vfio3". */
static bool is_group(const char *target, const char *group)
{
    const char *last = strrchr(target, '/');
    if (!last || !*group || last - target < 5 || strncmp(last - 5, "/vfio", 5) != 0)
        return false;
    last++;
    if (strncmp(last, "noiommu-", 8) == 0)
        last += 8;
    return strcmp(last, group) == 0;
}

static bool is_cdev(const char *target, const char *cdev)
{
    const char *last = strrchr(target, '/');
    return last && *cdev && last - target >= 13 && strncmp(last - 13, "/vfio/devices", 13) == 0 &&
           strcmp(last + 1, cdev) == 0;
}

static int look_at_descriptor(struct host_device *devices, size_t n, const struct host_tree *t,
                              const char *pid, const char *fd)
{
    char target[256], address[HOST_NAME_MAX_BYTES] = "";
    if (tree_read_link(t, target, sizeof target, "/proc/%s/fd/%s", pid, fd) < 0 || !strstr(target, "vfio"))
        return 0;
    if (strcmp(target, DEVICE_LINK) == 0 && read_syspath(t, pid, fd, address, sizeof address) < 0)
        return 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const char *by = *address && strcmp(devices[i].address, address) == 0 ? "device"
                         : is_cdev(target, devices[i].cdev)                   ? "cdev"
                         : is_group(target, devices[i].group)                 ? "group"
                                                                              : NULL;
        if (by)
            r = add_holder(&devices[i], t, pid, by);
    }
    return r;
}

int holders_find(struct host_device *devices, size_t n, const struct host_tree *t, size_t *ret_hidden)
{
    struct tree_names processes = {0};
    size_t hidden = 0;
    int r = n ? tree_list(t, &processes, "/proc") : 0;
    if (r < 0 && r != -ENOMEM)
        r = 0;
    for (size_t i = 0; r == 0 && i < processes.count; i++) {
        const char *pid = processes.names[i];
        struct tree_names fds = {0};
        if (!isdigit((unsigned char)pid[0]))
            continue;
        int seen = tree_list(t, &fds, "/proc/%s/fd", pid);
        hidden += seen == -EACCES || seen == -EPERM || seen == -E2BIG;
        for (size_t k = 0; r == 0 && k < fds.count; k++)
            r = look_at_descriptor(devices, n, t, pid, fds.names[k]);
        tree_names_free(&fds);
    }
    tree_names_free(&processes);
    if (r == 0)
        *ret_hidden = hidden;
    return r;
}
