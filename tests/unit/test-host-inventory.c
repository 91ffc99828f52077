/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inventories of hosts that are made of files, on a kernel that this file plays: who is listed, who is opened
 * and how, what is asked, and what comes of it. The kernel knows no request that would change a device.
 */
#include "device/device.h"
#include "host-fixture.h"
#include "host/inventory.h"
#include "host/verdict.h"
#include "vfio/device.h"
#include "vfio/iommufd-uapi.h"
#include "vfio/vfio-uapi.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define UUID "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

/* A device that somebody may open. Cdevs are told apart by what their node leads to. */
struct played_device {
    const char *name, *node;
    uint64_t flags, state_bytes; /* flags 0: no migration */
    bool log, no_report, tracks;
    int open_rc, bind_rc, feature_rc;
    unsigned opened;
};

struct played_kernel {
    struct kernel_calls calls;
    struct played_device *devices;
    size_t n;
    bool type1, compat; /* compat: /dev/vfio/vfio is an iommufd */
    uint32_t group_flags;
    struct played_device *by_fd[64];
};

static struct host_tree tree;
static struct played_kernel kernel;

static bool leads_to(int fd, const char *end)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = '\0';
    return n >= (ssize_t)strlen(end) && strcmp(path + n - strlen(end), end) == 0;
}

static int feature(struct played_device *d, struct kvfio_feature *f)
{
    uint64_t *data = (uint64_t *)(f + 1);
    bool probe = f->flags & KVFIO_FEATURE_PROBE, get = f->flags & KVFIO_FEATURE_GET;
    if (d->feature_rc)
        return d->feature_rc;
    switch (f->flags & 0xffff) {
    case KVFIO_FEATURE_MIGRATION:
        assert_true(get);
        *data = d->flags;
        return d->flags ? 0 : -ENOTTY;
    case KVFIO_FEATURE_DEVICE_STATE:
        assert_true(get && !(f->flags & KVFIO_FEATURE_SET)); /* nobody changes it */
        *(struct kvfio_mig_state *)data =
            (struct kvfio_mig_state){.state = DEVICE_STATE_RUNNING, .data_fd = -1};
        return 0;
    case KVFIO_FEATURE_MIG_DATA_SIZE:
        *data = d->state_bytes;
        return d->state_bytes ? 0 : -ENOTTY;
    case KVFIO_FEATURE_LOG_START:
    case KVFIO_FEATURE_LOG_STOP:
        assert_true(probe);
        return d->log ? 0 : -ENOTTY;
    case KVFIO_FEATURE_LOG_REPORT:
        return !d->log ? -ENOTTY : probe ? 0 : d->no_report ? -EOPNOTSUPP : -EINVAL;
    default:
        return -ENOTTY;
    }
}

static int open_device(struct played_kernel *k, const char *name)
{
    for (size_t i = 0; i < k->n; i++) {
        struct played_device *d = &k->devices[i];
        if (strcmp(d->name, name) != 0)
            continue;
        if (d->open_rc)
            return d->open_rc;
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        assert_in_range(fd, 0, ELEMENTS(k->by_fd) - 1);
        k->by_fd[fd] = d;
        d->opened++;
        return fd;
    }
    return -ENODEV;
}

static int bind_device(struct played_kernel *k, int fd, struct kvfio_bind_iommufd *b)
{
    assert_true(leads_to(b->iommufd, "/dev/iommu"));
    for (size_t i = 0; i < k->n; i++) {
        struct played_device *d = &k->devices[i];
        if (!d->node || !leads_to(fd, d->node))
            continue;
        if (d->bind_rc)
            return d->bind_rc;
        k->by_fd[fd] = d;
        d->opened++;
        b->out_devid = (uint32_t)i + 10;
        return 0;
    }
    return -ENODEV;
}

/* kvfio_device_new works on a duplicate. */
static struct played_device *device_of(struct played_kernel *k, int fd)
{
    for (int other = fd; other >= 0; other--)
        if (k->by_fd[other])
            return k->by_fd[other];
    return NULL;
}

static int call(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    struct played_kernel *k = CONTAINER_OF(calls, struct played_kernel, calls);
    struct kvfio_device_info *info = arg;
    struct kiofd_hw_info *hw = arg;
    switch (request) {
    case KVFIO_CHECK_EXTENSION:
        return k->type1;
    case KIOFD_IOAS_ALLOC:
        return k->compat ? 0 : -EINVAL;
    case KVFIO_GROUP_GET_STATUS:
        ((struct kvfio_group_status *)arg)->flags = k->group_flags;
        return 0;
    case KVFIO_GROUP_SET_CONTAINER:
        assert_true(leads_to(*(int *)arg, "/dev/vfio/vfio"));
        return 0;
    case KVFIO_SET_IOMMU:
        return 0;
    case KVFIO_GROUP_GET_DEVICE_FD:
        return open_device(k, arg);
    case KVFIO_DEVICE_BIND_IOMMUFD:
        return bind_device(k, fd, arg);
    case KIOFD_GET_HW_INFO:
        assert_in_range(hw->dev_id, 10, 10 + k->n - 1);
        hw->out_capabilities = k->devices[hw->dev_id - 10].tracks ? KIOFD_HW_CAP_DIRTY_TRACKING : 0;
        return 0;
    case KVFIO_DEVICE_GET_INFO:
        info->flags = info->num_regions = info->num_irqs = 0;
        return device_of(k, fd) ? 0 : -ENODEV;
    case KVFIO_DEVICE_FEATURE:
        return feature(device_of(k, fd), arg);
    default: /* a reset, an attachment, a mapping: not here */
        fail_msg("request 0x%lx", request);
        return -ENOTTY;
    }
}

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int setup(void **state)
{
    tree = fixture_new();
    kernel = (struct played_kernel){.calls.ioctl = call, .type1 = true, .group_flags = KVFIO_GROUP_VIABLE};
    tree.calls = &kernel.calls;
    return 0;
}

static int teardown(void **state)
{
    fixture_free(&tree);
    return 0;
}

static struct inventory *take(const struct inventory_options *wanted)
{
    struct inventory *i = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    struct inventory_options o = *wanted;
    o.tree = tree;
    size_t before = open_descriptors();
    if (inventory_take(&i, &o, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(open_descriptors(), before);
    memset(kernel.by_fd, 0, sizeof kernel.by_fd);
    return i;
}

static struct host_device *find(struct inventory *i, const char *address)
{
    for (size_t n = 0; n < i->count; n++)
        if (strcmp(i->devices[n].address, address) == 0)
            return &i->devices[n];
    return NULL;
}

static bool has(const struct findings *f, enum finding_code code)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].code == code)
            return true;
    return false;
}

static const struct inventory_options asked = {.probe = true}, unasked = {0}, all = {.all = true};

/* ---- hosts ---- */

static void a_host_without_anything(void **state)
{
    struct inventory *i = take(&asked); /* not even /proc or sysfs */
    assert_int_equal(i->count, 0);
    assert_true(has(&i->findings, FINDING_HOST_NO_VFIO));
    assert_true(has(&i->findings, FINDING_HOST_NO_IOMMU));
    assert_false(has(&i->findings, FINDING_HOST_NO_IOMMUFD));
    inventory_free(i);
}

static void a_host_with_an_unloaded_module(void **state)
{
    fixture_kernel(&tree, false, false);
    fixture_put(&tree, "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n",
                "/lib/modules/6.12.9-test/modules.alias");
    struct inventory *i = take(&asked);
    assert_true(has(&i->findings, FINDING_HOST_NO_VFIO));
    assert_string_equal(i->findings.items[0].remedy, "modprobe vfio-pci");
    inventory_free(i);
}

static void stock_debian(void **state)
{
    fixture_kernel(&tree, true, false);
    fixture_put(&tree, "x\n", "/lib/modules/6.12.9-test/modules.alias");
    fixture_mkdir(&tree, "/sys/kernel/iommu_groups/1");
    struct inventory *i = take(&asked);
    assert_true(has(&i->findings, FINDING_HOST_NO_IOMMUFD));
    assert_true(has(&i->findings, FINDING_HOST_NO_DEVICES));
    assert_int_equal(i->findings.count, 2);
    inventory_free(i);
}

/* ---- who is listed ---- */

static void make_mixed_host(void)
{
    fixture_kernel(&tree, true, true);
    fixture_put(&tree, "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n",
                "/lib/modules/6.12.9-test/modules.alias");
    fixture_function(&tree, "0000:00:00.0", "8086:0c00", "060000", "", 0);
    fixture_function(&tree, "0000:00:1f.0", "8086:8c50", "010802", "nvme", 1); /* the host's disk */
    fixture_function(&tree, "0000:01:00.0", "8086:1572", "020000", "vfio-pci", 2);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_core", 3); /* a VF with a variant */
    fixture_link(&tree, "../0000:17:00.0", "/sys/bus/pci/devices/0000:17:00.1/physfn");
    fixture_function(&tree, "0000:18:00.1", "1111:2222", "020000", "", 4); /* a VF */
    fixture_link(&tree, "../0000:18:00.0", "/sys/bus/pci/devices/0000:18:00.1/physfn");
    fixture_function(&tree, "0000:19:00.0", "1111:3333", "020000", "", -1);
    fixture_mdev(&tree, UUID, "mtty", "mtty", 9);
}

static void what_is_listed(void **state)
{
    make_mixed_host();
    struct inventory *i = take(&unasked);
    assert_int_equal(i->count, 4);
    assert_string_equal(i->devices[0].address, "0000:01:00.0");
    assert_string_equal(i->devices[1].address, "0000:17:00.1");
    assert_string_equal(i->devices[2].address, "0000:18:00.1");
    assert_string_equal(i->devices[3].address, UUID);
    inventory_free(i);
    i = take(&all);
    assert_int_equal(i->count, 5);
    assert_non_null(find(i, "0000:00:1f.0"));
    inventory_free(i);
    const char *const named[] = {"0000:19:00.0", UUID};
    i = take(&(struct inventory_options){.only = named, .nonly = 2});
    assert_int_equal(i->count, 2);
    assert_true(has(&find(i, "0000:19:00.0")->findings, FINDING_IOMMU_MISSING));
    inventory_free(i);
    const char *const missing[] = {"0000:19:00.0", "0000:99:00.0"};
    struct mig_error e = MIG_ERROR_INIT;
    struct inventory_options o = {.tree = tree, .only = missing, .nonly = 2};
    assert_true(inventory_take(&i, &o, &e) < 0);
    assert_int_equal(e.code, MIG_ERR_NO_SUCH_OBJECT);
    assert_non_null(strstr(e.message, "0000:99:00.0"));
}

static void verdicts_without_asking(void **state)
{
    make_mixed_host();
    struct inventory *i = take(&all);
    struct host_device *d = find(i, "0000:00:1f.0");
    assert_int_equal(d->verdict, HOST_CANNOT_MIGRATE);
    assert_true(has(&d->findings, FINDING_DEVICE_NOT_VFIO));
    assert_non_null(strstr(d->reason, "nvme, a driver of the host"));
    d = find(i, "0000:17:00.1");
    assert_int_equal(d->verdict, HOST_CANNOT_MIGRATE);
    assert_non_null(strstr(d->reason, "mlx5_core, and the kernel has mlx5_vfio_pci for it"));
    assert_non_null(strstr(d->findings.items[0].remedy, "driverctl set-override 0000:17:00.1 mlx5_vfio_pci"));
    d = find(i, "0000:01:00.0");
    assert_int_equal(d->verdict, HOST_CANNOT_MIGRATE); /* plain vfio-pci cannot, asked or not */
    assert_true(has(&d->findings, FINDING_DEVICE_NO_MIGRATION));
    d = find(i, UUID);
    assert_int_equal(d->verdict, HOST_NOT_KNOWN);
    assert_true(has(&d->findings, FINDING_DEVICE_NOT_PROBED));
    inventory_free(i);
}

/* ---- who is asked ---- */

static void by_cdev_with_everything(void **state)
{
    struct played_device devices[] = {{.name = "0000:17:00.1",
                                       .node = "/dev/zero",
                                       .flags = 7,
                                       .state_bytes = 1 << 20,
                                       .log = true,
                                       .tracks = true},
                                      {.name = UUID, .node = "/dev/full", .flags = 1, .state_bytes = 96}};
    kernel.devices = devices;
    kernel.n = 2;
    fixture_kernel(&tree, true, true);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_cdev(&tree, "/sys/bus/pci/devices/0000:17:00.1", "vfio0", false);
    fixture_link(&tree, "/dev/zero", "/dev/vfio/devices/vfio0");
    fixture_mdev(&tree, UUID, "mtty", "mtty", 9);
    fixture_cdev(&tree, "/sys/bus/mdev/devices/" UUID, "vfio1", false);
    fixture_link(&tree, "/dev/full", "/dev/vfio/devices/vfio1");
    struct inventory *i = take(&asked);
    struct host_device *d = find(i, "0000:17:00.1");
    assert_int_equal(d->probe, HOST_PROBE_CDEV);
    assert_int_equal(d->migration, FACT_YES);
    assert_int_equal(d->migration_flags, 7);
    assert_int_equal(d->state_bytes, 1 << 20);
    assert_int_equal(d->device_log, FACT_YES);
    assert_int_equal(d->container_log, FACT_YES);
    assert_int_equal(d->verdict, HOST_CAN_MIGRATE);
    assert_int_equal(findings_count(&d->findings, FINDING_ERROR), 0);
    assert_int_equal(devices[0].opened, 1);
    d = find(i, UUID);
    assert_int_equal(d->verdict, HOST_CAN_MIGRATE);
    assert_int_equal(d->container_log, FACT_YES); /* by a type1 container */
    assert_true(has(&d->findings, FINDING_DEVICE_SINGLE_ONLY));
    assert_true(has(&d->findings, FINDING_DEVICE_NO_PRECOPY));
    inventory_free(i);

    kernel.compat = true; /* only an iommufd that plays a container: nobody sees an mdev's writes */
    i = take(&asked);
    d = find(i, UUID);
    assert_int_equal(d->verdict, HOST_CANNOT_CONVERGE);
    assert_true(has(&d->findings, FINDING_DEVICE_NO_DIRTY_TRACKING));
    inventory_free(i);

    i = take(&unasked);
    assert_int_equal(devices[0].opened, 2);
    inventory_free(i);
}

static void by_group_and_what_it_lacks(void **state)
{
    struct played_device devices[] = {{.name = "0000:17:00.1", .flags = 3, .log = true, .no_report = true}};
    kernel.devices = devices;
    kernel.n = 1;
    fixture_kernel(&tree, true, false);
    fixture_put(&tree, "x\n", "/lib/modules/6.12.9-test/modules.alias");
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_put(&tree, "ffffffffffffff\n", "/sys/bus/pci/devices/0000:17:00.1/iommu/intel-iommu/ecap");
    fixture_put(&tree, "", "/dev/vfio/3");
    struct inventory *i = take(&asked);
    struct host_device *d = &i->devices[0];
    assert_int_equal(d->probe, HOST_PROBE_GROUP);
    assert_int_equal(d->device_log, FACT_NO);
    assert_true(d->log_unserved);
    assert_int_equal(d->container_log, FACT_NO);
    assert_int_equal(d->verdict, HOST_CANNOT_CONVERGE);
    assert_true(has(&d->findings, FINDING_DEVICE_LOG_UNSERVED));
    assert_non_null(strstr(d->reason, "its IOMMU has dirty bits, but reading them takes iommufd"));
    inventory_free(i);

    devices[0].no_report = false; /* a log of its own is enough */
    i = take(&asked);
    assert_int_equal(i->devices[0].verdict, HOST_CAN_MIGRATE);
    inventory_free(i);
    devices[0].flags = 0;
    i = take(&asked);
    assert_int_equal(i->devices[0].verdict, HOST_CANNOT_MIGRATE);
    assert_true(has(&i->devices[0].findings, FINDING_DEVICE_NO_MIGRATION));
    inventory_free(i);
    /* The kernel's word on the group counts more than what sysfs shows. */
    kernel.group_flags = 0;
    unsigned opened = devices[0].opened;
    i = take(&asked);
    assert_int_equal(i->devices[0].probe, HOST_PROBE_IMPOSSIBLE);
    assert_true(has(&i->devices[0].findings, FINDING_GROUP_NOT_VIABLE));
    assert_int_equal(devices[0].opened, opened);
    inventory_free(i);
}

static void an_iommu_that_does_not_track(void **state)
{
    struct played_device devices[] = {{.name = "0000:17:00.1", .node = "/dev/zero", .flags = 7}};
    kernel.devices = devices;
    kernel.n = 1;
    fixture_kernel(&tree, true, true);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_cdev(&tree, "/sys/bus/pci/devices/0000:17:00.1", "vfio0", false);
    fixture_link(&tree, "/dev/zero", "/dev/vfio/devices/vfio0");
    struct inventory *i = take(&asked);
    assert_int_equal(i->devices[0].verdict, HOST_CANNOT_CONVERGE);
    assert_non_null(strstr(i->devices[0].reason, "its IOMMU has no dirty bits"));
    inventory_free(i);
    devices[0].tracks = true;
    i = take(&asked);
    assert_int_equal(i->devices[0].verdict, HOST_CAN_MIGRATE);
    inventory_free(i);
}

static void plain_vfio_pci(void **state)
{
    struct played_device devices[] = {{.name = "0000:17:00.1", .node = "/dev/zero", .tracks = true}};
    kernel.devices = devices;
    kernel.n = 1;
    fixture_kernel(&tree, true, true);
    fixture_put(&tree, "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n",
                "/lib/modules/6.12.9-test/modules.alias");
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "vfio-pci", 3);
    fixture_cdev(&tree, "/sys/bus/pci/devices/0000:17:00.1", "vfio0", false);
    fixture_link(&tree, "/dev/zero", "/dev/vfio/devices/vfio0");
    struct inventory *i = take(&asked);
    struct host_device *d = &i->devices[0];
    assert_int_equal(d->container_log, FACT_YES);
    assert_int_equal(d->verdict, HOST_CANNOT_MIGRATE);
    assert_true(has(&d->findings, FINDING_DEVICE_PLAIN_DRIVER));
    assert_false(has(&d->findings, FINDING_DEVICE_NO_MIGRATION)); /* once is enough */
    assert_string_equal(d->findings.items[0].remedy,
                        "driverctl set-override 0000:17:00.1 mlx5_vfio_pci, when nobody uses it");
    inventory_free(i);
}

static void held_by_somebody(void **state)
{
    struct played_device devices[] = {{.name = "0000:17:00.1", .node = "/dev/zero", .flags = 7, .log = true}};
    kernel.devices = devices;
    kernel.n = 1;
    fixture_kernel(&tree, true, true);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_cdev(&tree, "/sys/bus/pci/devices/0000:17:00.1", "vfio0", false);
    fixture_link(&tree, "/dev/zero", "/dev/vfio/devices/vfio0");
    fixture_process(&tree, "123", "qemu-system-x86\n");
    fixture_link(&tree, "/dev/vfio/3", "/proc/123/fd/9");
    struct inventory *i = take(&asked);
    struct host_device *d = &i->devices[0];
    assert_int_equal(d->probe, HOST_PROBE_HELD);
    assert_int_equal(d->verdict, HOST_NOT_KNOWN);
    assert_string_equal(d->reason,
                        "Device 0000:17:00.1 is held by qemu-system-x86 (pid 123), and was not asked");
    assert_int_equal(devices[0].opened, 0);
    inventory_free(i);

    /* Somebody whom /proc does not show. */
    char path[128];
    snprintf(path, sizeof path, "%s/proc/123/fd/9", tree.root);
    assert_int_equal(unlink(path), 0);
    devices[0].bind_rc = -EBUSY;
    i = take(&asked);
    assert_int_equal(i->devices[0].probe, HOST_PROBE_HELD);
    assert_non_null(strstr(i->devices[0].reason, "somebody whom /proc does not show"));
    inventory_free(i);

    devices[0].bind_rc = -EACCES;
    i = take(&asked);
    assert_int_equal(i->devices[0].probe, HOST_PROBE_FAILED);
    assert_int_equal(i->devices[0].verdict, HOST_NOT_KNOWN);
    assert_true(has(&i->devices[0].findings, FINDING_DEVICE_PROBE_FAILED));
    inventory_free(i);
    devices[0].bind_rc = 0;
    devices[0].feature_rc = -EIO; /* a device that answers nothing */
    i = take(&asked);
    assert_int_equal(i->devices[0].migration, FACT_NO);
    inventory_free(i);
}

static void a_group_with_a_driver_of_the_host(void **state)
{
    fixture_kernel(&tree, true, true);
    fixture_function(&tree, "0000:17:00.0", "15b3:1018", "020000", "mlx5_core", 3);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_put(&tree, "", "/dev/vfio/3");
    kernel.group_flags = 0;
    struct inventory *i = take(&asked);
    struct host_device *d = find(i, "0000:17:00.1");
    assert_int_equal(d->probe, HOST_PROBE_IMPOSSIBLE);
    assert_int_equal(d->verdict, HOST_CANNOT_MIGRATE);
    assert_string_equal(d->reason,
                        "IOMMU group 3 of 0000:17:00.1 cannot be used: it has 0000:17:00.0 (mlx5_core), "
                        "bound to a driver of the host");
    inventory_free(i);
}

static void no_time_left(void **state)
{
    struct played_device devices[] = {{.name = "0000:17:00.1", .node = "/dev/zero", .flags = 7}};
    kernel.devices = devices;
    kernel.n = 1;
    fixture_kernel(&tree, true, true);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_cdev(&tree, "/sys/bus/pci/devices/0000:17:00.1", "vfio0", false);
    fixture_link(&tree, "/dev/zero", "/dev/vfio/devices/vfio0");
    /* Enough other functions to look at that a microsecond is over before the first is opened. */
    struct inventory *i = take(&(struct inventory_options){.probe = true, .probe_usec = 1});
    assert_int_equal(i->devices[0].probe, HOST_PROBE_LATE);
    assert_int_equal(i->devices[0].verdict, HOST_NOT_KNOWN);
    assert_int_equal(devices[0].opened, 0);
    inventory_free(i);
}

static void a_device_of_our_own(void **state)
{
    struct played_device devices[] = {
        {.name = "0000:17:00.1", .node = "/dev/zero", .flags = 7, .state_bytes = 4096, .log = true}};
    struct device *device = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    kernel.devices = devices;
    kernel.n = 1;
    fixture_kernel(&tree, true, true);
    fixture_function(&tree, "0000:17:00.1", "15b3:101e", "020000", "mlx5_vfio_pci", 3);
    fixture_cdev(&tree, "/sys/bus/pci/devices/0000:17:00.1", "vfio0", false);
    fixture_link(&tree, "/dev/zero", "/dev/vfio/devices/vfio0");
    int fd = open_device(&kernel, "0000:17:00.1");
    const struct kvfio_device_options o = {.fd = fd, .gone_fd = -1, .calls = &kernel.calls};
    assert_int_equal(kvfio_device_new(&device, "nic0", &o, &e), 0);
    fixture_process(&tree, "77", "migd\n");
    fixture_link(&tree, "anon_inode:[vfio-device]", "/proc/77/fd/5");
    fixture_put(&tree, "vfio-device-syspath: /sys/devices/pci0000:00/0000:17:00.1\n", "/proc/77/fdinfo/5");
    fixture_put(&tree, "vfio-device-syspath: /sys/devices/pci0000:00/0000:17:00.1\n", "/proc/self/fdinfo/%d",
                kvfio_device_fd(device));
    struct inventory_known known = {.domain = "demo", .name = "nic0", .device = device};
    struct inventory *i = take(&(struct inventory_options){.probe = true, .known = &known, .nknown = 1});
    struct host_device *d = &i->devices[0];
    assert_int_equal(d->probe, HOST_PROBE_DOMAIN);
    assert_string_equal(d->domain, "demo");
    assert_string_equal(d->domain_device, "nic0");
    assert_int_equal(d->nholders, 1);
    assert_int_equal(d->migration_flags, 7);
    assert_true(d->has_state_bytes);
    assert_int_equal(d->verdict, HOST_CAN_MIGRATE);
    assert_int_equal(devices[0].opened, 1); /* by this test */
    inventory_free(i);
    kernel.by_fd[fd] = &devices[0];
    known.busy = true; /* it migrates: hands off */
    devices[0].feature_rc = -EIO;
    i = take(&(struct inventory_options){.probe = true, .known = &known, .nknown = 1});
    assert_int_equal(i->devices[0].migration_flags, 7);
    assert_false(i->devices[0].has_state_bytes);
    inventory_free(i);
    device_unref(device);
    close(fd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_host_without_anything),
        TEST(a_host_with_an_unloaded_module),
        TEST(stock_debian),
        TEST(what_is_listed),
        TEST(verdicts_without_asking),
        TEST(by_cdev_with_everything),
        TEST(by_group_and_what_it_lacks),
        TEST(an_iommu_that_does_not_track),
        TEST(plain_vfio_pci),
        TEST(held_by_somebody),
        TEST(a_group_with_a_driver_of_the_host),
        TEST(no_time_left),
        TEST(a_device_of_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
