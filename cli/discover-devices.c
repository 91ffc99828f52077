/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which device a descriptor is. New kernels name it in fdinfo; a cdev by its number in sysfs. A device of a
 * group on an older kernel is known when its group is the only one of the process and has one device; else
 * it stays without an address, and the members of the groups are all that can be told.
 */
#include "base/fds.h"
#include "discover.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SMALL_FILE_MAX 65536u
#define MEMBERS_MAX    256u

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The last part of where a link leads. */
static char *link_end(const char *path)
{
    char target[4096];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0)
        return NULL;
    target[n] = '\0';
    return strdup(last_part(target));
}

static bool is_mediated(const char *device)
{
    char path[1200];
    if ((size_t)snprintf(path, sizeof path, "%s/subsystem", device) >= sizeof path)
        return false;
    _cleanup_free_ char *bus = link_end(path);
    return bus && strcmp(bus, "mdev") == 0;
}

/* "vfio-device-syspath: /sys/devices/pci0000:00/0000:00:04.0" */
static void address_by_fdinfo(const struct discovery *d, const struct discovery_world *world,
                              struct discovery_item *item)
{
    static const char key[] = "vfio-device-syspath:";
    char path[1200];
    _cleanup_free_ char *info = NULL;
    snprintf(path, sizeof path, "%s/%" PRIu64 "/fdinfo/%d", world->proc, d->pid, item->fd);
    if (read_file(path, SMALL_FILE_MAX, &info, NULL) < 0)
        return;
    char *line = strncmp(info, key, strlen(key)) == 0 ? info : strstr(info, "\nvfio-device-syspath:");
    if (!line)
        return;
    line = strchr(line, ':') + 1;
    line += strspn(line, " \t");
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "/sys/", 5) != 0 || !last_part(line)[0] ||
        (size_t)snprintf(path, sizeof path, "%s/%s", world->sys, line + 5) >= sizeof path)
        return;
    item->address = strdup(last_part(line));
    item->mediated = is_mediated(path);
    item->how = "fdinfo";
}

static void address_by_cdev(const struct discovery_world *world, struct discovery_item *item)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/class/vfio-dev/vfio%u/device", world->sys, item->number);
    item->address = link_end(path);
    item->mediated = is_mediated(path);
    item->how = "sysfs";
}

/* Bridges belong to a group without being devices that VFIO hands out. */
static bool is_handed_out(const struct discovery_world *world, unsigned group, const char *member)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/kernel/iommu_groups/%u/devices/%.255s/driver", world->sys, group, member);
    _cleanup_free_ char *driver = link_end(path);
    return driver && strcmp(driver, "pcieport") != 0 && strcmp(driver, "pci-stub") != 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int members_of_group(const struct discovery_world *world, struct discovery_item *item)
{
    char path[1000], *names[MEMBERS_MAX];
    size_t n = 0, length = 1;
    snprintf(path, sizeof path, "%s/kernel/iommu_groups/%u/devices", world->sys, item->number);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && n < MEMBERS_MAX && (e = readdir(dir));)
        if (e->d_name[0] != '.' && is_handed_out(world, item->number, e->d_name) &&
            (names[n] = strdup(e->d_name)))
            length += strlen(names[n++]) + 1;
    if (dir)
        closedir(dir);
    if (n == 0)
        return 0;
    qsort(names, n, sizeof *names, compare_names);
    char *all = calloc(1, length), *to = all;
    for (size_t i = 0; i < n; i++) {
        if (all)
            to = stpcpy(i ? stpcpy(to, " ") : to, names[i]);
        free(names[i]);
    }
    item->members = all;
    item->n_members = n;
    return all ? 0 : -ENOMEM;
}

/* Without more than one candidate on either side there is nothing to guess. */
static void address_by_group(struct discovery *d, const struct discovery_world *world)
{
    struct discovery_item *group = NULL, *device = NULL;
    size_t groups = 0, devices = 0;
    char path[1200];
    for (size_t i = 0; i < d->n_items; i++) {
        struct discovery_item *item = &d->items[i];
        if (item->kind == DISCOVERY_GROUP && ++groups)
            group = item;
        if (item->kind == DISCOVERY_DEVICE && !item->address && ++devices)
            device = item;
    }
    if (groups != 1 || devices != 1 || group->n_members != 1)
        return;
    snprintf(path, sizeof path, "%s/kernel/iommu_groups/%u/devices/%.255s", world->sys, group->number,
             group->members);
    device->address = strdup(group->members);
    device->mediated = is_mediated(path);
    device->how = "the only device of its group";
}

int discover_devices(struct discovery *d, const struct discovery_world *world, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < d->n_items; i++) {
        struct discovery_item *item = &d->items[i];
        if (item->kind == DISCOVERY_GROUP)
            r = members_of_group(world, item);
        if (item->kind == DISCOVERY_DEVICE || item->kind == DISCOVERY_CDEV)
            address_by_fdinfo(d, world, item);
        if (item->kind == DISCOVERY_CDEV && !item->address)
            address_by_cdev(world, item);
    }
    address_by_group(d, world);
    return r < 0 ? mig_error_oom(err) : 0;
}
