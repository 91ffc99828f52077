/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read of a host: trees that are whole, that lack files, that hold garbage or too much. */
#include "host-fixture.h"
#include "host/group.h"
#include "host/holders.h"
#include "host/pci-function.h"
#include "host/pci-names.h"
#include "host/variants.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define MODULES "/lib/modules/6.12.9-test"
#define UUID    "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

static const char aliases[] = "# Aliases extracted from modules themselves.\n"
                              "alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core\n"
                              "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n"
                              "alias vfio_pci:v000015B3d*sv*sd*bc*sc*i* some_wide_vfio_pci\n"
                              "alias vfio_pci:v00001AF4d00001041sv*sd*bc02sc*i* virtio_vfio_pci\n"
                              "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n";

static int setup(void **state)
{
    static struct host_tree t;
    t = fixture_new();
    *state = &t;
    fixture_kernel(&t, true, true);
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

static struct variants *read_variants(const struct host_tree *t)
{
    struct variants *v = NULL;
    assert_int_equal(variants_read(&v, t), 0);
    return v;
}

static void clear(struct host_device *d)
{
    free(d->members);
    free(d->holders);
}

/* ---- the tree ---- */

static void files_of_all_kinds(void **state)
{
    const struct host_tree *t = *state;
    char text[16];
    int64_t n = -7;
    fixture_put(t, "a\x01\xff z\nsecond\n", "/x/text");
    assert_int_equal(tree_read(t, text, sizeof text, "/x/text"), 0);
    assert_string_equal(text, "a?? z");
    fixture_put(t, "", "/x/empty");
    assert_int_equal(tree_read(t, text, sizeof text, "/x/empty"), 0);
    assert_string_equal(text, "");
    assert_int_equal(tree_read_number(t, &n, "/x/empty"), -EINVAL);
    assert_int_equal(tree_read(t, text, sizeof text, "/x/none"), -ENOENT);
    assert_int_equal(tree_read(t, text, sizeof text, "/x"), -EISDIR);
    fixture_put(t, "0123456789012345678901234567890123456789", "/x/long");
    assert_int_equal(tree_read(t, text, sizeof text, "/x/long"), 0);
    assert_string_equal(text, "012345678901234");
    fixture_put(t, "0x1f\n", "/x/hex");
    assert_int_equal(tree_read_number(t, &n, "/x/hex"), 0);
    assert_int_equal(n, 0x1f);
    static const char *const bad[] = {"12x", "-", "99999999999999999999999", "0x"};
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        fixture_put(t, bad[i], "/x/bad");
        assert_int_equal(tree_read_number(t, &n, "/x/bad"), -EINVAL);
    }
    assert_int_equal(n, 0x1f);
    fixture_link(t, "../../drivers/vfio-pci", "/x/driver");
    assert_int_equal(tree_link_name(t, text, sizeof text, "/x/driver"), 0);
    assert_string_equal(text, "vfio-pci");
    assert_int_equal(tree_link_name(t, text, 4, "/x/driver"), -ENAMETOOLONG);
    assert_int_equal(tree_link_name(t, text, sizeof text, "/x/hex"), -EINVAL);
    assert_true(tree_has(t, "/x/driver")); /* it leads nowhere, and is there */
    char fifo[128];
    snprintf(fifo, sizeof fifo, "%s/x/fifo", t->root);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    tree_read(t, text, sizeof text, "/x/fifo"); /* nobody writes: returns at once */
    assert_int_equal(tree_read(t, text, sizeof text, "/%*d", 5000, 1), -ENAMETOOLONG);
}

static void lists_are_sorted(void **state)
{
    const struct host_tree *t = *state;
    struct tree_names n = {0};
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%03d", i * 37 % 100);
        fixture_put(t, "", "/many/%s", name);
    }
    fixture_put(t, "", "/many/.hidden");
    assert_int_equal(tree_list(t, &n, "/many"), 0);
    assert_int_equal(n.count, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(atoi(n.names[i]), i);
    tree_names_free(&n);
    assert_int_equal(tree_list(t, &n, "/none"), -ENOENT);
    assert_int_equal(tree_list(t, &n, "/many/001"), -ENOTDIR);
    assert_int_equal(n.count, 0);
}

/* ---- variant drivers ---- */

static void the_most_specific_variant(void **state)
{
    const struct host_tree *t = *state;
    fixture_put(t, aliases, MODULES "/modules.alias");
    static const char builtin[] = "qat_vfio_pci.license=GPL\0"
                                  "qat_vfio_pci.alias=vfio_pci:v00008086d00004941sv*sd*bc*sc*i*\0"
                                  "other.alias=pci:v00008086d00004942sv*sd*bc*sc*i*";
    fixture_put_bytes(t, builtin, sizeof builtin, MODULES "/modules.builtin.modinfo");
    struct variants *v = read_variants(t);
    assert_true(variants_known(v) && variants_have_plain(v));
    const struct {
        const char *modalias, *module;
    } cases[] = {
        {"pci:v000015B3d0000101Esv000015B3sd00000001bc02sc00i00", "mlx5_vfio_pci"},
        {"pci:v000015B3d0000101Fsv000015B3sd00000001bc02sc00i00", "some_wide_vfio_pci"},
        {"pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", "virtio_vfio_pci"},
        {"pci:v00001AF4d00001041sv00001AF4sd00001100bc01sc00i00", NULL}, /* another class */
        {"pci:v00008086d00004941sv00000000sd00000000bc0Bsc40i00", "qat_vfio_pci"},
        {"pci:v00008086d00004942sv00000000sd00000000bc0Bsc40i00", NULL}, /* not a VFIO alias */
        {"pci:v000010DEd00000001sv00000000sd00000000bc03sc00i00", NULL}, /* plain vfio-pci does not count */
        {"", NULL},
        {"virtio:d00000001v00001AF4", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        const char *found = variants_find(v, cases[i].modalias);
        if (cases[i].module)
            assert_string_equal(found, cases[i].module);
        else
            assert_null(found);
    }
    variants_free(v);
}

static void no_list_of_modules(void **state)
{
    const struct host_tree *t = *state;
    struct variants *v = read_variants(t);
    assert_false(variants_known(v));
    assert_null(variants_find(v, "pci:v000015B3d0000101Esv000015B3sd00000001bc02sc00i00"));
    variants_free(v);
    fixture_put(t, "../../../etc\n", "/proc/sys/kernel/osrelease");
    v = read_variants(t);
    assert_false(variants_known(v));
    variants_free(v);
}

static void a_list_of_garbage(void **state)
{
    const struct host_tree *t = *state;
    size_t size = 3 << 20, n = 0;
    char *text = malloc(size + 512);
    assert_non_null(text);
    n += (size_t)sprintf(
        text + n, "alias vfio_pci:\nalias vfio_pci: \nalias vfio_pci:x\nalias  vfio_pci:v* m\nalias\n");
    n += (size_t)sprintf(text + n, "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* good_vfio_pci  \r\n");
    n += (size_t)sprintf(text + n, "alias vfio_pci:v000015B3d0000101Fsv*sd*bc*sc*i* b\xff\x1b[d trailing\n");
    /* Lines of stars, which must not cost more than their length, and one that has no end. */
    while (n < size / 2) {
        memset(text + n, '*', 190);
        memcpy(text + n, "alias vfio_pci:v", 16);
        memcpy(text + n + 180, "Q evil\n", 8);
        n += 187;
    }
    memset(text + n, 'v', size - n);
    memcpy(text + n, "alias vfio_pci:", 15);
    fixture_put_bytes(t, text, size, MODULES "/modules.alias");
    free(text);
    struct variants *v = read_variants(t);
    assert_true(variants_known(v));
    assert_string_equal(variants_find(v, "pci:v000015B3d0000101Esv000015B3sd00000001bc02sc00i00"),
                        "good_vfio_pci");
    assert_string_equal(variants_find(v, "pci:v000015B3d0000101Fsv000015B3sd00000001bc02sc00i00"), "b??[d");
    assert_null(variants_find(v, "pci:v00001111d00002222sv000015B3sd00000001bc02sc00i00"));
    variants_free(v);
}

/* ---- functions ---- */

static void a_virtual_function(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d;
    fixture_put(t, aliases, MODULES "/modules.alias");
    fixture_function(t, "0000:17:00.1", "15b3:101e", "020000", "vfio-pci", 42);
    fixture_link(t, "../0000:17:00.0", "/sys/bus/pci/devices/0000:17:00.1/physfn");
    fixture_cdev(t, "/sys/bus/pci/devices/0000:17:00.1", "vfio3", true);
    fixture_put(t, "d2008c40660462\n", "/sys/class/iommu/dmar0/intel-iommu/ecap");
    fixture_link(t, "../../../class/iommu/dmar0", "/sys/bus/pci/devices/0000:17:00.1/iommu");
    struct variants *v = read_variants(t);
    assert_int_equal(pci_function_learn(&d, t, v, "0000:17:00.1"), 0);
    assert_int_equal(d.vendor, 0x15b3);
    assert_int_equal(d.device, 0x101e);
    assert_int_equal(d.class, 0x020000);
    assert_int_equal(d.numa_node, 1);
    assert_true(d.on_vfio);
    assert_string_equal(d.driver, "vfio-pci");
    assert_string_equal(d.variant, "mlx5_vfio_pci");
    assert_string_equal(d.group, "42");
    assert_string_equal(d.cdev, "vfio3");
    assert_string_equal(d.physical, "0000:17:00.0");
    assert_string_equal(d.unit, "dmar0");
    assert_int_equal(d.dirty_bits, FACT_NO);
    assert_false(pci_function_is_bridge(&d));
    variants_free(v);
}

static void a_physical_function(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d;
    fixture_put(t, aliases, MODULES "/modules.alias");
    fixture_function(t, "0000:17:00.0", "15b3:1018", "020000", "mlx5_core", 42);
    fixture_put(t, "2\n", "/sys/bus/pci/devices/0000:17:00.0/sriov_numvfs");
    fixture_put(t, "8\n", "/sys/bus/pci/devices/0000:17:00.0/sriov_totalvfs");
    fixture_put(t, "101e\n", "/sys/bus/pci/devices/0000:17:00.0/sriov_vf_device");
    struct variants *v = read_variants(t);
    assert_int_equal(pci_function_learn(&d, t, v, "0000:17:00.0"), 0);
    assert_false(d.on_vfio);
    assert_int_equal(d.vfs, 2);
    assert_int_equal(d.vfs_max, 8);
    assert_string_equal(d.vf_variant, "mlx5_vfio_pci");
    assert_int_equal(d.dirty_bits, FACT_UNKNOWN);
    variants_free(v);
}

static void a_driver_that_speaks_vfio_by_itself(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d;
    fixture_function(t, "0000:17:00.4", "10de:2000", "030200", "nvidia", 43);
    struct variants *v = read_variants(t);
    assert_int_equal(pci_function_learn(&d, t, v, "0000:17:00.4"), 0);
    assert_false(d.on_vfio);
    fixture_cdev(t, "/sys/bus/pci/devices/0000:17:00.4", "vfio0", false);
    assert_int_equal(pci_function_learn(&d, t, v, "0000:17:00.4"), 0);
    assert_true(d.on_vfio);
    assert_string_equal(d.cdev, ""); /* no node: a kernel without cdevs */
    variants_free(v);
}

static void dirty_bits_of_amd(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d;
    struct variants *v = read_variants(t);
    fixture_function(t, "0000:01:00.0", "1022:1000", "020000", "", 1);
    fixture_put(t, "12000000000000:0\n", "/sys/bus/pci/devices/0000:01:00.0/iommu/amd-iommu/features");
    assert_int_equal(pci_function_learn(&d, t, v, "0000:01:00.0"), 0);
    assert_int_equal(d.dirty_bits, FACT_YES);
    fixture_put(t, "2000000000000\n", "/sys/bus/pci/devices/0000:01:00.0/iommu/amd-iommu/features");
    assert_int_equal(pci_function_learn(&d, t, v, "0000:01:00.0"), 0);
    assert_int_equal(d.dirty_bits, FACT_NO);
    fixture_put(t, "what\n", "/sys/bus/pci/devices/0000:01:00.0/iommu/amd-iommu/features");
    assert_int_equal(pci_function_learn(&d, t, v, "0000:01:00.0"), 0);
    assert_int_equal(d.dirty_bits, FACT_UNKNOWN);
    variants_free(v);
}

static void a_function_with_nothing(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d;
    char name[200];
    struct variants *v = read_variants(t);
    fixture_mkdir(t, "/sys/bus/pci/devices/0000:00:02.0");
    assert_int_equal(pci_function_learn(&d, t, v, "0000:00:02.0"), 0);
    assert_int_equal(d.vendor, 0);
    assert_int_equal(d.numa_node, -1);
    assert_string_equal(d.driver, "");
    /* Garbage in every file. */
    static const char *const files[] = {
        "vendor",       "device",         "class",           "numa_node", "modalias",
        "sriov_numvfs", "sriov_totalvfs", "sriov_vf_device", "driver",    "iommu_group",
        "physfn",       "vfio-dev",       "subsystem_vendor"};
    for (size_t i = 0; i < ELEMENTS(files); i++)
        fixture_put(t, "-0xffffffffffff \x01\xfe*", "/sys/bus/pci/devices/0000:00:02.0/%s", files[i]);
    assert_int_equal(pci_function_learn(&d, t, v, "0000:00:02.0"), 0);
    assert_int_equal(d.vendor, 0);
    assert_int_equal(d.class, 0);
    assert_false(d.on_vfio);
    assert_int_equal(pci_function_learn(&d, t, v, "0000:00:99.0"), -ENOENT);
    assert_int_equal(pci_function_learn(&d, t, v, "../../../etc"), -ENOENT);
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    fixture_mkdir(t, "/sys/bus/pci/devices/%s", name);
    assert_int_equal(pci_function_learn(&d, t, v, name), -ENOENT);
    variants_free(v);
}

static void a_mediated_device(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d;
    fixture_mdev(t, UUID, "mtty", "mtty", 7);
    fixture_cdev(t, "/sys/bus/mdev/devices/" UUID, "vfio1", true);
    assert_int_equal(mdev_learn(&d, t, UUID), 0);
    assert_true(d.on_vfio);
    assert_string_equal(d.driver, "mtty");
    assert_string_equal(d.parent, "mtty");
    assert_string_equal(d.type, "mtty-2 (Dual port serial)");
    assert_string_equal(d.group, "7");
    assert_string_equal(d.cdev, "vfio1");
    assert_int_equal(mdev_learn(&d, t, "83b8f4f2-0000-382f-3c1e-e6bfe0fa1001"), -ENOENT);
    fixture_mkdir(t, "/sys/bus/mdev/devices/odd");
    assert_int_equal(mdev_learn(&d, t, "odd"), 0);
    assert_false(d.on_vfio);
    assert_string_equal(d.type, "");
}

static void addresses_that_people_type(void **state)
{
    char address[HOST_NAME_MAX_BYTES];
    assert_true(pci_address_complete(address, "17:00.1"));
    assert_string_equal(address, "0000:17:00.1");
    assert_true(pci_address_complete(address, "0000:AF:00.1"));
    assert_string_equal(address, "0000:af:00.1");
    assert_true(pci_address_complete(address, "10000:01:00.0"));
    assert_true(pci_address_complete(address, "83B8F4F2-509f-382f-3c1e-e6bfe0fa1001"));
    assert_string_equal(address, UUID);
    static const char *const bad[] = {"",        "17:00",    "17:00.", "0000:17:00.1 ",
                                      "17:00.g", "../../..", UUID "0", "000:17:00.1"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_false(pci_address_complete(address, bad[i]));
}

/* ---- groups ---- */

static struct host_device in_group(const struct host_tree *t, const char *address)
{
    struct host_device d;
    struct variants *v = read_variants(t);
    assert_int_equal(pci_function_learn(&d, t, v, address), 0);
    variants_free(v);
    assert_int_equal(group_learn(&d, t, false), 0);
    return d;
}

static void groups_that_can_be_used(void **state)
{
    const struct host_tree *t = *state;
    fixture_function(t, "0000:01:00.0", "8086:1572", "020000", "vfio-pci", 5);
    fixture_function(t, "0000:01:00.1", "8086:1572", "020000", "", 5);
    fixture_function(t, "0000:00:1c.0", "8086:a110", "060400", "pcieport", 5);
    fixture_function(t, "0000:00:1d.0", "8086:a111", "060400", "some_bridge_driver", 5);
    fixture_function(t, "0000:01:00.2", "8086:1572", "020000", "pci-stub", 5);
    struct host_device d = in_group(t, "0000:01:00.0");
    assert_int_equal(d.nmembers, 5);
    assert_int_equal(d.viable, FACT_YES);
    clear(&d);
    fixture_function(t, "0000:01:00.3", "8086:1572", "020000", "i40e", 5);
    d = in_group(t, "0000:01:00.0");
    assert_int_equal(d.nmembers, 6);
    assert_int_equal(d.viable, FACT_NO);
    for (size_t i = 0; i < d.nmembers; i++)
        assert_int_equal(d.members[i].viable, strcmp(d.members[i].address, "0000:01:00.3") != 0);
    clear(&d);
    fixture_cdev(t, "/sys/bus/pci/devices/0000:01:00.3", "vfio9", false);
    d = in_group(t, "0000:01:00.0");
    assert_int_equal(d.viable, FACT_YES); /* it speaks VFIO, whatever its name */
    clear(&d);
}

static void groups_that_are_odd(void **state)
{
    const struct host_tree *t = *state;
    fixture_function(t, "0000:02:00.0", "8086:1572", "020000", "vfio-pci", -1);
    struct host_device d = in_group(t, "0000:02:00.0");
    assert_int_equal(d.viable, FACT_UNKNOWN);
    assert_string_equal(d.group, "");
    fixture_link(t, "../../../kernel/iommu_groups/99", "/sys/bus/pci/devices/0000:02:00.0/iommu_group");
    d = in_group(t, "0000:02:00.0");
    assert_int_equal(d.viable, FACT_UNKNOWN); /* a group without a folder */
    fixture_mkdir(t, "/sys/kernel/iommu_groups/99/devices");
    d = in_group(t, "0000:02:00.0");
    assert_int_equal(d.viable, FACT_UNKNOWN);
    clear(&d);
    fixture_put(t, "", "/dev/vfio/noiommu-99");
    d = in_group(t, "0000:02:00.0");
    assert_true(d.no_iommu);
    clear(&d);
}

/* ---- holders ---- */

static void who_has_it(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d[3] = {{.address = "0000:01:00.0", .group = "5", .cdev = "vfio0"},
                               {.address = "0000:01:00.1", .group = "5", .cdev = "vfio1"},
                               {.address = UUID, .group = "15", .cdev = ""}};
    size_t hidden = 99;
    fixture_process(t, "100", "qemu-system-x86\n");
    fixture_link(t, "/dev/vfio/5", "/proc/100/fd/12");
    fixture_link(t, "/dev/vfio/vfio", "/proc/100/fd/13");
    fixture_link(t, "anon_inode:[vfio-device]", "/proc/100/fd/14"); /* an old kernel: it tells nothing */
    fixture_put(t, "pos:\t0\nflags:\t02\n", "/proc/100/fdinfo/14");
    fixture_process(t, "200", "dpdk\x1b[1m\n");
    fixture_link(t, "/vfio/devices/vfio1", "/proc/200/fd/3"); /* in a container */
    fixture_process(t, "300", "spdk\n");
    fixture_link(t, "anon_inode:[vfio-device]", "/proc/300/fd/4");
    fixture_put(t, "pos:\t0\nvfio-device-syspath: /sys/devices/virtual/mtty/mtty/" UUID "\nx\n",
                "/proc/300/fdinfo/4");
    fixture_link(t, "anon_inode:[vfio-device]", "/proc/300/fd/5"); /* gone meanwhile: no fdinfo */
    fixture_link(t, "anon_inode:[vfio-device]", "/proc/300/fd/6");
    fixture_put(t, "vfio-device-syspath:", "/proc/300/fdinfo/6");
    fixture_process(t, "400", "cat\n");
    fixture_link(t, "/home/vfio/notes/5", "/proc/400/fd/3");
    fixture_link(t, "/5", "/proc/400/fd/4");
    fixture_link(t, "/dev/vfio/55", "/proc/400/fd/5");
    fixture_link(t, "vfio", "/proc/400/fd/6");
    fixture_process(t, "500", "kthread\n");
    fixture_put(t, "", "/proc/not-a-process/fd");
    fixture_process(t, "self", "never\n");
    fixture_link(t, "/dev/vfio/5", "/proc/self/fd/3");
    assert_int_equal(holders_find(d, ELEMENTS(d), t, &hidden), 0);
    assert_int_equal(hidden, 0);
    assert_int_equal(d[0].nholders, 1);
    assert_int_equal(d[0].holders[0].pid, 100);
    assert_string_equal(d[0].holders[0].command, "qemu-system-x86");
    assert_string_equal(d[0].holders[0].by, "group");
    assert_int_equal(d[1].nholders, 2);
    assert_string_equal(d[1].holders[1].command, "dpdk?[1m");
    assert_string_equal(d[1].holders[1].by, "cdev");
    assert_int_equal(d[2].nholders, 1);
    assert_int_equal(d[2].holders[0].pid, 300);
    assert_string_equal(d[2].holders[0].by, "device");
    for (size_t i = 0; i < ELEMENTS(d); i++)
        clear(&d[i]);
}

static void whose_descriptor(void **state)
{
    const struct host_tree *t = *state;
    char address[HOST_NAME_MAX_BYTES];
    fixture_put(t, "flags: 1\nvfio-device-syspath: /sys/devices/pci0000:00/0000:00:04.0\n",
                "/proc/self/fdinfo/7");
    assert_int_equal(holders_device_of(t, "self", 7, address, sizeof address), 0);
    assert_string_equal(address, "0000:00:04.0");
    assert_int_equal(holders_device_of(t, "self", 8, address, sizeof address), -ENODATA);
    assert_int_equal(holders_device_of(t, "self", 7, address, 5), -ENODATA);
}

static void many_holders_and_none_to_ask(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d = {.address = "0000:01:00.0", .group = "5"};
    size_t hidden = 0;
    char pid[16];
    for (unsigned i = 1; i <= HOLDERS_MAX + 10; i++) {
        snprintf(pid, sizeof pid, "%u", i);
        fixture_process(t, pid, "");
        fixture_link(t, "/dev/vfio/5", "/proc/%s/fd/3", pid);
        fixture_link(t, "/dev/vfio/5", "/proc/%s/fd/4", pid);
    }
    assert_int_equal(holders_find(&d, 1, t, &hidden), 0);
    assert_int_equal(d.nholders, HOLDERS_MAX);
    clear(&d);
    assert_int_equal(holders_find(NULL, 0, t, &hidden), 0);
}

/* ---- names ---- */

static void names_from_the_list(void **state)
{
    const struct host_tree *t = *state;
    struct host_device d[3] = {{.vendor = 0x15b3, .device = 0x101e, .class = 0x020000},
                               {.vendor = 0x15b3, .device = 0xffff, .class = 0x03ff00},
                               {.kind = HOST_MDEV}};
    assert_int_equal(pci_names_find(d, ELEMENTS(d), t), 0);
    assert_string_equal(d[0].vendor_name, "");
    fixture_put(
        t,
        "# comment\n\t101e  An orphan\n\n0000  Nobody\n15b3  Mellanox Technologies\n\t1018  Another\n"
        "\t101e  ConnectX Virtual Function\n\t\t15b3 0001  A subsystem\n15b4\nzzzz  Garbage\n\t101e  Below "
        "garbage\n"
        "C 00  Unclassified\nC 02  Network controller\n\t00  Ethernet controller\nC 03  Display controller\n"
        "\t00  VGA\n\t0",
        "/usr/share/hwdata/pci.ids");
    assert_int_equal(pci_names_find(d, ELEMENTS(d), t), 0);
    assert_string_equal(d[0].vendor_name, "Mellanox Technologies");
    assert_string_equal(d[0].device_name, "ConnectX Virtual Function");
    assert_string_equal(d[0].class_name, "Ethernet controller");
    assert_string_equal(d[1].device_name, "");
    assert_string_equal(d[1].class_name, "Display controller");
    assert_string_equal(d[2].class_name, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(files_of_all_kinds),
        TEST(lists_are_sorted),
        TEST(the_most_specific_variant),
        TEST(no_list_of_modules),
        TEST(a_list_of_garbage),
        TEST(a_virtual_function),
        TEST(a_physical_function),
        TEST(a_driver_that_speaks_vfio_by_itself),
        TEST(dirty_bits_of_amd),
        TEST(a_function_with_nothing),
        TEST(a_mediated_device),
        TEST(addresses_that_people_type),
        TEST(groups_that_can_be_used),
        TEST(groups_that_are_odd),
        TEST(who_has_it),
        TEST(whose_descriptor),
        TEST(many_holders_and_none_to_ask),
        TEST(names_from_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
