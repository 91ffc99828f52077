/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening VFIO devices on a host that tests/fake/fake-vfio plays: which calls in which order, what is shared,
 * that no failure leaves a descriptor or an HWPT behind, and what an administrator reads.
 */
#include "../fake/fake-vfio.h"
#include "base/finding.h"
#include "vfio/open.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define NIC0 "0000:17:00.0"
#define NIC1 "0000:17:00.1"
#define TTY0 "6d696764-0000-4000-8000-000000000001"

struct rig {
    struct fake_vfio f;
    struct open_space *space;
    struct open_device *devices[4];
    unsigned nfds;
    struct mig_error e;
};

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    fake_vfio_init(&g->f);
    g->nfds = count_fds();
    *state = g;
    return 0;
}

static void drop(struct rig *g)
{
    for (unsigned i = 0; i < ELEMENTS(g->devices); i++)
        g->devices[i] = open_device_unref(g->devices[i]);
    g->space = open_space_unref(g->space);
}

static int teardown(void **state)
{
    struct rig *g = *state;
    drop(g);
    assert_int_equal(count_fds(), g->nfds);
    fake_vfio_done(&g->f);
    free(g);
    return 0;
}

static int open_one(struct rig *g, unsigned n, const char *address, const struct open_device_options *o)
{
    struct open_target t;
    char name[8];
    g->e = MIG_ERROR_INIT;
    snprintf(name, sizeof name, "dev%u", n);
    int r = open_target_find(&t, name, address, &g->f.places, &g->e);
    return r < 0 ? r : open_device_new(&g->devices[n], g->space, name, &t, o, &g->e);
}

static const struct open_device_options as_possible = {OPEN_AS_POSSIBLE, false};

static void good(struct rig *g, int r)
{
    if (r < 0)
        fail_msg("%s (%s)", g->e.message, g->e.hint);
}

/* The sentence, and the code behind the remedy. */
static void refused(struct rig *g, int r, const char *code, const char *words)
{
    char tail[80];
    snprintf(tail, sizeof tail, "(migctl explain %s)", code);
    assert_true(r < 0);
    if (!strstr(g->e.message, words) || !strstr(g->e.hint, tail))
        fail_msg("\"%s\" and %s are not in: %s (%s)", words, tail, g->e.message, g->e.hint);
    assert_int_not_equal(finding_code_from_string(code), FINDING_CODE_MAX);
}

static void new_space(struct rig *g, bool iommufd, bool split)
{
    good(g, open_space_new(&g->space, "dma", iommufd, split, &g->f.places, &g->e));
}

/* ---- the order of calls ---- */

static void by_iommufd(void **state)
{
    struct rig *g = *state;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    new_space(g, true, true);
    good(g, open_one(g, 0, NIC0, &as_possible));
    assert_string_equal(g->f.trace, "open iommu, ioas-alloc, option 1=0, open vfio/devices/vfio0, bind, "
                                    "hw-info, hwpt-alloc, attach 10");
    assert_true(g->devices[0]->tracked);
    assert_int_equal(g->devices[0]->hwpt, 10);
    assert_int_equal(g->devices[0]->devid, 100);
    assert_int_equal(g->space->ioas, 1);
    assert_string_equal(g->devices[0]->target.driver, "vfio-pci");
    assert_string_equal(g->devices[0]->target.bus, "pci");
}

static void by_container(void **state)
{
    struct rig *g = *state;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add(&g->f, NIC1, 7, "vfio-pci");
    fake_vfio_add(&g->f, "0000:18:00.0", 8, "mlx5_vfio_pci");
    new_space(g, false, false);
    assert_string_equal(g->f.trace, "open vfio/vfio, api-version, check-extension");
    fake_vfio_restart(&g->f);
    good(g, open_one(g, 0, NIC0, &as_possible));
    assert_string_equal(g->f.trace, "open vfio/7, status, set-container, set-iommu, get-device " NIC0);
    /* The second of the group uses its descriptor; another group goes into the same container. */
    fake_vfio_restart(&g->f);
    good(g, open_one(g, 1, "17:00.1", &as_possible));
    good(g, open_one(g, 2, "0000:18:00.0", &as_possible));
    assert_string_equal(g->f.trace,
                        "get-device " NIC1 ", open vfio/8, status, set-container, get-device 0000:18:00.0");
    assert_int_equal(g->devices[0]->group_fd, g->devices[1]->group_fd);
    assert_int_equal(g->space->ngroups, 2);
    /* The group goes with the last of its devices. */
    g->devices[0] = open_device_unref(g->devices[0]);
    assert_int_equal(g->space->ngroups, 2);
    g->devices[1] = open_device_unref(g->devices[1]);
    assert_int_equal(g->space->ngroups, 1);
}

static void hwpts(void **state)
{
    struct rig *g = *state;
    const struct open_device_options own = {OPEN_AS_POSSIBLE, true};
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add(&g->f, NIC1, 8, "vfio-pci");
    fake_vfio_add(&g->f, "0000:80:00.0", 9, "vfio-pci")->iommu = 1;
    fake_vfio_add(&g->f, "0000:81:00.0", 10, "vfio-pci");
    new_space(g, true, false);
    good(g, open_one(g, 0, NIC0, &as_possible));
    fake_vfio_restart(&g->f);
    good(g, open_one(g, 1, NIC1, &as_possible)); /* shares */
    assert_string_equal(g->f.trace, "open vfio/devices/vfio1, bind, hw-info, attach 10");
    fake_vfio_restart(&g->f);
    good(g, open_one(g, 2, "0000:80:00.0", &as_possible)); /* another IOMMU: the kernel refuses the first */
    assert_string_equal(g->f.trace,
                        "open vfio/devices/vfio2, bind, hw-info, attach 10, hwpt-alloc, attach 11");
    good(g, open_one(g, 3, "0000:81:00.0", &own));
    assert_int_equal(g->devices[3]->hwpt, 12);
    assert_int_equal(fake_vfio_hwpts(&g->f), 3);
    /* An HWPT goes with the last of its devices. */
    g->devices[0] = open_device_unref(g->devices[0]);
    assert_int_equal(fake_vfio_hwpts(&g->f), 3);
    g->devices[1] = open_device_unref(g->devices[1]);
    g->devices[3] = open_device_unref(g->devices[3]);
    assert_int_equal(fake_vfio_hwpts(&g->f), 1);
    assert_int_equal(g->space->nhwpts, 1);
}

static void without_dirty_bits(void **state)
{
    struct rig *g = *state;
    const struct open_device_options must = {OPEN_YES, false}, never = {OPEN_NO, false};
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci")->tracks = false;
    fake_vfio_add(&g->f, NIC1, 8, "vfio-pci");
    fake_vfio_add(&g->f, TTY0, 9, "vfio_mtty");
    new_space(g, true, false);
    good(g, open_one(g, 0, NIC0, &as_possible));
    assert_false(g->devices[0]->tracked);
    assert_int_equal(g->devices[0]->hwpt, 77);
    g->devices[0] = open_device_unref(g->devices[0]);
    refused(g, open_one(g, 0, NIC0, &must), "iommu-no-dirty-tracking", "no dirty bits");
    fake_vfio_restart(&g->f);
    good(g, open_one(g, 1, NIC1, &never));
    assert_string_equal(g->f.trace, "open vfio/devices/vfio1, bind, hw-info, attach 1");
    assert_false(g->devices[1]->tracked);
    /* The IOMMU sees nothing of a mediated device. */
    refused(g, open_one(g, 2, TTY0, &must), "iommu-no-dirty-tracking", "mediated device");
    good(g, open_one(g, 2, TTY0, &as_possible));
    assert_int_equal(g->devices[2]->hwpt, 0);
    assert_false(g->devices[2]->tracked);
    assert_string_equal(g->devices[2]->target.bus, "mdev");
}

/* ---- failures ---- */

/* The first device into a fresh space, then a second: every call fails once, and what was there stays. */
static void every_call_fails(struct rig *g, bool iommufd)
{
    const struct open_device_options own = {OPEN_AS_POSSIBLE, true};
    unsigned n, failures = 0;
    for (n = 1;; n++) {
        fake_vfio_restart(&g->f);
        g->f.fail_at = n;
        g->f.fail_with = n % 2 ? -EIO : -ENOMEM;
        g->e = MIG_ERROR_INIT;
        int r = open_space_new(&g->space, "dma", iommufd, iommufd, &g->f.places, &g->e);
        if (r == 0)
            r = open_one(g, 0, NIC0, &as_possible);
        if (r == 0)
            break;
        failures++;
        assert_true(mig_error_is_set(&g->e) && g->e.message[0] && g->e.hint[0]);
        drop(g);
        assert_int_equal(count_fds(), g->nfds);
        assert_int_equal(fake_vfio_hwpts(&g->f), 0);
    }
    assert_true(n > g->f.ncalls && failures == n - 1 && failures >= 8);
    unsigned nfds = count_fds();
    for (n = 1;; n++) {
        fake_vfio_restart(&g->f);
        g->f.fail_at = n;
        if (open_one(g, 1, NIC1, &own) == 0)
            break;
        fake_vfio_restart(&g->f);
        assert_int_equal(count_fds(), nfds);
        assert_int_equal(fake_vfio_hwpts(&g->f), iommufd);
        assert_int_equal(g->space->nhwpts, iommufd);
        assert_int_equal(g->space->ngroups, !iommufd);
    }
    assert_true(n > g->f.ncalls && n > 3);
    g->f.fail_at = 0;
}

static void iommufd_failures(void **state)
{
    struct rig *g = *state;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add(&g->f, NIC1, 8, "vfio-pci");
    every_call_fails(g, true);
}

static void container_failures(void **state)
{
    struct rig *g = *state;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add(&g->f, NIC1, 8, "vfio-pci");
    every_call_fails(g, false);
}

static void in_use(void **state)
{
    struct rig *g = *state;
    char path[300], link[300];
    struct open_space *other = NULL;
    struct open_device *theirs = NULL;
    struct open_target t;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    /* Process 4711 has the group. */
    snprintf(path, sizeof path, "%s/vfio/7", g->f.dev);
    snprintf(link, sizeof link, "%s/4711/fd", g->f.proc);
    assert_int_equal(mkdir(link, 0700), 0);
    snprintf(link, sizeof link, "%s/4711/fd/12", g->f.proc);
    assert_int_equal(symlink(path, link), 0);
    good(g, open_space_new(&other, "theirs", false, false, &g->f.places, &g->e));
    good(g, open_target_find(&t, "theirs", NIC0, &g->f.places, &g->e));
    good(g, open_device_new(&theirs, other, "theirs", &t, &as_possible, &g->e));
    new_space(g, false, false);
    int r = open_one(g, 0, NIC0, &as_possible);
    refused(g, r, "device-busy",
            NIC0 " (vfio-pci, IOMMU group 7) is in use by process 4711 (qemu-system-x86)");
    assert_int_equal(g->e.code, MIG_ERR_BUSY);
    drop(g);
    new_space(g, true, false);
    r = open_one(g, 0, NIC0, &as_possible);
    refused(g, r, "device-busy", "in use by process 4711 (qemu-system-x86)");
    drop(g);
    open_device_unref(theirs);
    open_space_unref(other);
    /* By the cdev: the kernel says EINVAL. */
    assert_int_equal(unlink(link), 0);
    snprintf(path, sizeof path, "%s/vfio/devices/vfio0", g->f.dev);
    assert_int_equal(symlink(path, link), 0);
    good(g, open_space_new(&other, "theirs", true, false, &g->f.places, &g->e));
    good(g, open_device_new(&theirs, other, "theirs", &t, &as_possible, &g->e));
    new_space(g, true, false);
    r = open_one(g, 0, NIC0, &as_possible);
    refused(g, r, "device-busy", "in use by process 4711 (qemu-system-x86)");
    open_device_unref(theirs);
    open_space_unref(other);
}

static void not_viable(void **state)
{
    struct rig *g = *state;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add_neighbour(&g->f, "0000:17:00.2", 7, "nvme");
    fake_vfio_add_neighbour(&g->f, "0000:17:00.3", 7, "");
    fake_vfio_add_neighbour(&g->f, "0000:16:00.0", 7, "pcieport");
    g->f.group_not_viable = true;
    new_space(g, false, false);
    refused(g, open_one(g, 0, NIC0, &as_possible), "group-not-viable",
            "have others of it: 0000:17:00.2 (nvme)");
    assert_null(strstr(g->e.message, "pcieport"));
    drop(g);
    /* An iommufd says only that it is busy. */
    new_space(g, true, false);
    g->f.fail_at = g->f.ncalls + 2;
    g->f.fail_with = -EBUSY;
    refused(g, open_one(g, 0, NIC0, &as_possible), "group-not-viable", "0000:17:00.2 (nvme)");
}

static void kernel_words(void **state)
{
    struct rig *g = *state;
    static const struct {
        bool iommufd;
        unsigned call;
        int error;
        const char *code, *words;
    } cases[] = {
        {true, 1, -EACCES, "vfio-not-allowed", "may not open"},
        {true, 1, -ENOENT, "vfio-missing", "vfio/devices/vfio0: No such file"},
        {true, 2, -EPERM, "iommu-no-isolation", "does not bind it"},
        {true, 2, -EINVAL, "device-open-failed", "driver vfio-pci refuses"},
        {true, 3, -EIO, "device-open-failed", "properties of its IOMMU"},
        {true, 5, -EADDRINUSE, "container-refused", "does not attach it to container dma (IOAS 1)"},
        {false, 1, -EPERM, "vfio-not-allowed", "may not open"},
        {false, 3, -EPERM, "iommu-no-isolation", "IOMMU group 7 into container dma"},
        {false, 3, -EINVAL, "container-refused", "IOMMU group 7 cannot be put into container dma"},
        {false, 5, -EINVAL, "device-open-failed", "driver vfio-pci refuses"},
    };
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        g->f.fail_at = 0;
        new_space(g, cases[i].iommufd, false);
        g->f.fail_at = g->f.ncalls + cases[i].call;
        g->f.fail_with = cases[i].error;
        refused(g, open_one(g, 0, NIC0, &as_possible), cases[i].code, cases[i].words);
        drop(g);
    }
    g->f.fail_at = g->f.ncalls + 1;
    g->f.fail_with = -ENOENT;
    refused(g, open_space_new(&g->space, "dma", true, false, &g->f.places, &g->e), "iommufd-missing",
            "opening");
    g->f.fail_at = g->f.ncalls + 1;
    refused(g, open_space_new(&g->space, "dma", false, false, &g->f.places, &g->e), "vfio-missing",
            "/dev/vfio/vfio");
    g->f.fail_at = g->f.ncalls + 3;
    g->f.fail_with = -EBUSY; /* something is attached */
    refused(g, open_space_new(&g->space, "dma", true, true, &g->f.places, &g->e), "container-no-split",
            "4 KiB");
    g->f.fail_at = 0;
    refused(g, open_space_new(&g->space, "dma", false, true, &g->f.places, &g->e), "container-no-split",
            "type1 container cannot");
}

static void played_container(void **state)
{
    struct rig *g = *state;
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    g->f.compat = true;
    new_space(g, false, false);
    refused(g, open_one(g, 0, NIC0, &as_possible), "vfio-missing", "plays a container");
}

/* A second device does not fit into the one that is there by an attach of its own. */
static void same_group_own_hwpt(void **state)
{
    struct rig *g = *state;
    const struct open_device_options own = {OPEN_AS_POSSIBLE, true};
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add(&g->f, NIC1, 7, "vfio-pci");
    new_space(g, true, false);
    good(g, open_one(g, 0, NIC0, &as_possible));
    g->f.fail_at = g->f.ncalls + 5; /* the attach to the fresh one */
    g->f.fail_with = -EINVAL;
    refused(g, open_one(g, 1, NIC1, &own), "container-refused", NIC1);
    assert_int_equal(fake_vfio_hwpts(&g->f), 1);
}

/* ---- addresses ---- */

static void find(struct rig *g, const char *address, struct open_target *t)
{
    g->e = MIG_ERROR_INIT;
    good(g, open_target_find(t, "nic0", address, &g->f.places, &g->e));
}

static void addresses(void **state)
{
    struct rig *g = *state;
    struct open_target t;
    char path[300];
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    fake_vfio_add(&g->f, TTY0, 9, "vfio_mtty");
    fake_vfio_add(&g->f, "0000:1a:00.0", 11, "vfio-pci");
    find(g, "0000:17:00.0", &t);
    assert_int_equal(t.group, 7);
    assert_string_equal(t.cdev, "vfio0");
    find(g, "17:00.0", &t);
    assert_string_equal(t.address, NIC0);
    find(g, "1A:00.0", &t);
    assert_string_equal(t.address, "0000:1a:00.0");
    find(g, "6D696764-0000-4000-8000-000000000001", &t);
    assert_string_equal(t.address, TTY0);
    snprintf(path, sizeof path, "%s/bus/pci/devices/" NIC0, g->f.sys);
    find(g, path, &t);
    assert_string_equal(t.address, NIC0);
    snprintf(path, sizeof path, "%s/devices/pci0000:00/" NIC0 "/", g->f.sys);
    find(g, path, &t);
    assert_string_equal(t.address, NIC0);
}

static void bad_addresses(void **state)
{
    struct rig *g = *state;
    struct open_target t;
    static const char *const bad[] = {
        "",
        "0",
        "nic0",
        "17:00",
        "0000:17:00.00",
        "0000:17:00.0 ",
        "g000:17:00.0",
        "000000000:17:00.0",
        "..",
        "../0000:17:00.0",
        "6d696764-0000-4000-8000-00000000000",
        "/etc/passwd",
        "/sys",
        "/sysx/devices/x",
        "/proc/self",
        "0000:17:00.0/../../..",
    };
    static const char *const below[] = {
        "/devices/../../etc",  "/devices/pci0000:00/..", "/../sys/devices", "/devices",
        "/devices/pci0000:00", "/kernel/iommu_groups/7", "/evil",           "/devices/escape"};
    char path[300], link[300];
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci");
    /* Links that lead out of the tree of devices. */
    snprintf(link, sizeof link, "%s/evil", g->f.sys);
    assert_int_equal(symlink("/etc", link), 0);
    snprintf(link, sizeof link, "%s/devices/escape", g->f.sys);
    assert_int_equal(symlink("/etc", link), 0);
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        g->e = MIG_ERROR_INIT;
        refused(g, open_target_find(&t, "nic0", bad[i], &g->f.places, &g->e), "device-address-invalid",
                "not the address");
    }
    for (size_t i = 0; i < ELEMENTS(below); i++) {
        g->e = MIG_ERROR_INIT;
        snprintf(path, sizeof path, "%s%s", g->f.sys, below[i]);
        refused(g, open_target_find(&t, "nic0", path, &g->f.places, &g->e), "device-address-invalid",
                "not the address");
    }
    refused(g, open_target_find(&t, "nic0", "0000:99:00.0", &g->f.places, &g->e), "device-not-found",
            "no device 0000:99:00.0");
    refused(g, open_target_find(&t, "nic0", "6d696764-0000-4000-8000-000000000009", &g->f.places, &g->e),
            "device-not-found", "no device");
}

static void unfit_devices(void **state)
{
    struct rig *g = *state;
    struct open_target t;
    char path[300];
    fake_vfio_add_neighbour(&g->f, NIC0, 7, "mlx5_core");
    fake_vfio_add_neighbour(&g->f, NIC1, 7, "");
    fake_vfio_add_neighbour(&g->f, "0000:17:00.2", -1, "mlx5_core");
    fake_vfio_add(&g->f, "0000:18:00.0", 12, "vfio-pci");
    refused(g, open_target_find(&t, "nic0", NIC0, &g->f.places, &g->e), "device-not-vfio",
            "bound to driver mlx5_core");
    assert_non_null(strstr(g->e.hint, "driverctl set-override " NIC0 " vfio-pci"));
    refused(g, open_target_find(&t, "nic0", NIC1, &g->f.places, &g->e), "device-not-vfio", "no driver");
    refused(g, open_target_find(&t, "nic0", "0000:17:00.2", &g->f.places, &g->e), "iommu-missing",
            "no IOMMU group");
    snprintf(path, sizeof path, "%s/kernel/iommu_groups/12/name", g->f.sys);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "vfio-noiommu\n", 13), 13);
    close(fd);
    refused(g, open_target_find(&t, "nic0", "0000:18:00.0", &g->f.places, &g->e), "iommu-missing",
            "without an IOMMU");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(by_iommufd),       T(by_container),        T(hwpts),     T(without_dirty_bits),
        T(iommufd_failures), T(container_failures),  T(in_use),    T(not_viable),
        T(kernel_words),     T(same_group_own_hwpt), T(addresses), T(bad_addresses),
        T(unfit_devices),    T(played_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
