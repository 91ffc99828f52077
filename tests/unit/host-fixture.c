/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host-fixture.h"
#include "base/fds.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct host_tree fixture_new(void)
{
    char *root = strdup("/tmp/test-host-XXXXXX");
    assert_non_null(root);
    assert_non_null(mkdtemp(root));
    return (struct host_tree){.root = root};
}

void fixture_free(struct host_tree *t)
{
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -rf '%s'", t->root);
    assert_int_equal(system(command), 0);
    free((char *)t->root);
    t->root = NULL;
}

/* The folder of path is made. */
static void make_path(char path[static PATH_MAX], const struct host_tree *t, const char *format, va_list ap)
{
    size_t n = strlen(t->root);
    strcpy(path, t->root);
    assert_true((size_t)vsnprintf(path + n, PATH_MAX - n, format, ap) < PATH_MAX - n);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(mkdir_parents(path), 0);
    *slash = '/';
}

#define FIXTURE_PATH(t, format)                                                                              \
    char path[PATH_MAX];                                                                                     \
    va_list ap;                                                                                              \
    va_start(ap, format);                                                                                    \
    make_path(path, t, format, ap);                                                                          \
    va_end(ap)

void fixture_put(const struct host_tree *t, const char *text, const char *format, ...)
{
    FIXTURE_PATH(t, format);
    assert_int_equal(write_file_atomic(path, text, strlen(text)), 0);
}

void fixture_put_bytes(const struct host_tree *t, const void *data, size_t size, const char *file)
{
    char path[PATH_MAX];
    fixture_put(t, "", "%s", file);
    snprintf(path, sizeof path, "%s%s", t->root, file);
    assert_int_equal(write_file_atomic(path, data, size), 0);
}

void fixture_link(const struct host_tree *t, const char *target, const char *format, ...)
{
    FIXTURE_PATH(t, format);
    assert_int_equal(symlink(target, path), 0);
}

void fixture_mkdir(const struct host_tree *t, const char *format, ...)
{
    FIXTURE_PATH(t, format);
    assert_int_equal(mkdir_parents(path), 0);
}

static void join_group(const struct host_tree *t, const char *folder, const char *address, int group)
{
    char target[128];
    if (group < 0)
        return;
    snprintf(target, sizeof target, "../../../kernel/iommu_groups/%d", group);
    fixture_link(t, target, "%s/iommu_group", folder);
    snprintf(target, sizeof target, "../../../../..%s", folder);
    fixture_link(t, target, "/sys/kernel/iommu_groups/%d/devices/%s", group, address);
}

void fixture_function(const struct host_tree *t, const char *address, const char *ids, const char *class,
                      const char *driver, int group)
{
    char folder[128], real[128], text[160];
    snprintf(real, sizeof real, "/sys/devices/pci0000:00/%s", address);
    snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%s", address);
    fixture_mkdir(t, "%s", real);
    snprintf(text, sizeof text, "../../../devices/pci0000:00/%s", address);
    fixture_link(t, text, "%s", folder);
    snprintf(text, sizeof text, "0x%.4s\n", ids);
    fixture_put(t, text, "%s/vendor", folder);
    fixture_put(t, text, "%s/subsystem_vendor", folder);
    snprintf(text, sizeof text, "0x%.4s\n", ids + 5);
    fixture_put(t, text, "%s/device", folder);
    fixture_put(t, "0x0001\n", "%s/subsystem_device", folder);
    snprintf(text, sizeof text, "0x%s\n", class);
    fixture_put(t, text, "%s/class", folder);
    unsigned vendor = (unsigned)strtoul(ids, NULL, 16), device = (unsigned)strtoul(ids + 5, NULL, 16);
    snprintf(text, sizeof text, "pci:v%08Xd%08Xsv%08Xsd00000001bc%.2ssc%.2si%.2s\n", vendor, device, vendor,
             class, class + 2, class + 4);
    fixture_put(t, text, "%s/modalias", folder);
    fixture_put(t, "1\n", "%s/numa_node", folder);
    snprintf(text, sizeof text, "../../../bus/pci/drivers/%s", driver);
    if (*driver)
        fixture_link(t, text, "%s/driver", folder);
    join_group(t, real, address, group);
}

void fixture_mdev(const struct host_tree *t, const char *uuid, const char *parent, const char *driver,
                  int group)
{
    char real[160], text[200];
    snprintf(real, sizeof real, "/sys/devices/virtual/mtty/%s/%s", parent, uuid);
    fixture_mkdir(t, "%s", real);
    snprintf(text, sizeof text, "../../../devices/virtual/mtty/%s/%s", parent, uuid);
    fixture_link(t, text, "/sys/bus/mdev/devices/%s", uuid);
    fixture_mkdir(t, "/sys/devices/virtual/mtty/%s/mdev_supported_types/mtty-2", parent);
    fixture_put(t, "Dual port serial\n", "/sys/devices/virtual/mtty/%s/mdev_supported_types/mtty-2/name",
                parent);
    fixture_link(t, "../mdev_supported_types/mtty-2", "%s/mdev_type", real);
    snprintf(text, sizeof text, "../../../../../bus/mdev/drivers/%s", driver);
    if (*driver)
        fixture_link(t, text, "%s/driver", real);
    join_group(t, real, uuid, group);
}

void fixture_cdev(const struct host_tree *t, const char *folder, const char *name, bool dev)
{
    fixture_mkdir(t, "%s/vfio-dev/%s", folder, name);
    if (dev)
        fixture_put(t, "", "/dev/vfio/devices/%s", name);
}

void fixture_kernel(const struct host_tree *t, bool vfio, bool iommufd)
{
    fixture_put(t, "6.12.9-test\n", "/proc/sys/kernel/osrelease");
    if (vfio)
        fixture_put(t, "", "/dev/vfio/vfio");
    if (iommufd)
        fixture_put(t, "", "/dev/iommu");
}

void fixture_process(const struct host_tree *t, const char *pid, const char *command)
{
    fixture_put(t, command, "/proc/%s/comm", pid);
    fixture_mkdir(t, "/proc/%s/fd", pid);
}
