/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which device takes the place of another one, and who has reserved it. */
#include "libvirt/match.h"
#include "libvirt/reservation.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct match_device device(const char *address, uint16_t vendor, uint16_t id, const char *driver,
                                  int node)
{
    struct match_device d = MATCH_DEVICE_INIT;
    snprintf(d.address, sizeof d.address, "%s", address);
    snprintf(d.driver, sizeof d.driver, "%s", driver);
    d.vendor = vendor;
    d.device = id;
    d.numa_node = node;
    return d;
}

static void put(char to[MATCH_TEXT_MAX], const char *text)
{
    snprintf(to, MATCH_TEXT_MAX, "%s", text);
}

/* The address of the best one, or what is said when there is none. */
static const char *best(const struct match_device *wish, const struct match_device *devices, size_t n,
                        unsigned rules)
{
    static char text[1000];
    struct mig_error e = MIG_ERROR_INIT;
    size_t found = 12345;
    int r = match_find(wish, devices, n, rules, &found, &e);
    if (r == 0)
        return devices[found].address;
    assert_int_equal(e.code, MIG_ERR_NO_SUCH_OBJECT);
    assert_int_equal(found, 12345);
    snprintf(text, sizeof text, "%s. %s", e.message, e.hint);
    return text;
}

#define ALL (MATCH_VENDOR | MATCH_DEVICE | MATCH_SUBSYSTEM | MATCH_DRIVER | MATCH_NUMA_NODE)

static void what_must_be_the_same(void **state)
{
    const struct match_device wish = device("0000:17:00.1", 0x15b3, 0x101e, "mlx5_vfio_pci", 0);
    struct match_device d = device("0000:31:00.2", 0x15b3, 0x101e, "mlx5_vfio_pci", 0);
    assert_string_equal(best(&wish, &d, 1, ALL), "0000:31:00.2");
    d.vendor = 0x8086;
    assert_non_null(strstr(best(&wish, &d, 1, MATCH_VENDOR), "1 of another vendor or model"));
    assert_string_equal(best(&wish, &d, 1, MATCH_DEVICE), "0000:31:00.2");
    d = device("0000:31:00.2", 0x15b3, 0x101c, "mlx5_vfio_pci", 0);
    assert_non_null(strstr(best(&wish, &d, 1, MATCH_DEVICE), "1 of another vendor or model"));
    d = device("0000:31:00.2", 0x15b3, 0x101e, "vfio-pci", 0);
    assert_non_null(strstr(best(&wish, &d, 1, MATCH_DRIVER), "1 on another driver"));
    assert_string_equal(best(&wish, &d, 1, MATCH_VENDOR | MATCH_DEVICE), "0000:31:00.2");
    d = device("0000:31:00.2", 0x15b3, 0x101e, "mlx5_vfio_pci", 1);
    assert_non_null(strstr(best(&wish, &d, 1, MATCH_NUMA_NODE), "1 on another NUMA node"));
    d = device("0000:31:00.2", 0x15b3, 0x101e, "mlx5_vfio_pci", 0);
    put(d.taken_by, "qemu, process 7");
    assert_non_null(strstr(best(&wish, &d, 1, ALL), "qemu, process 7 has one"));
    assert_non_null(strstr(best(&wish, NULL, 0, ALL), "of 0 devices here"));
}

static void what_is_not_known_of_a_wish_does_not_count(void **state)
{
    const struct match_device wish = device("0000:17:00.1", 0x15b3, 0x101e, "", -1);
    struct match_device d = device("0000:31:00.2", 0x15b3, 0x101e, "vfio-pci", 1);
    d.subvendor = 0x1234;
    assert_string_equal(best(&wish, &d, 1, ALL), "0000:31:00.2");
    assert_true(match_is_known(&wish));
    assert_false(match_is_known(&(struct match_device)MATCH_DEVICE_INIT));
}

static void the_best_of_many(void **state)
{
    const struct match_device wish = device("0000:17:00.1", 0x15b3, 0x101e, "vfio-pci", 1);
    struct match_device devices[] = {
        device("0000:31:00.3", 0x15b3, 0x101e, "vfio-pci", 1),
        device("0000:31:00.2", 0x15b3, 0x101e, "vfio-pci", 1),
        device("0000:05:00.0", 0x15b3, 0x101e, "vfio-pci", 0),
        device("0000:17:00.1", 0x15b3, 0x101e, "vfio-pci", 0),
        device("0000:01:00.0", 0x8086, 0x101e, "vfio-pci", 1),
    };
    unsigned rules = MATCH_VENDOR | MATCH_DEVICE;
    assert_string_equal(best(&wish, devices, ELEMENTS(devices), rules), "0000:17:00.1");
    put(devices[3].taken_by, "x");
    assert_string_equal(best(&wish, devices, ELEMENTS(devices), rules), "0000:31:00.2");
    put(devices[1].taken_by, "x");
    assert_string_equal(best(&wish, devices, ELEMENTS(devices), rules), "0000:31:00.3");
    put(devices[0].taken_by, "x");
    assert_string_equal(best(&wish, devices, ELEMENTS(devices), rules), "0000:05:00.0");
}

static void labels_and_kinds(void **state)
{
    struct match_device wish = device("0000:17:00.1", 0x15b3, 0x101e, "", -1);
    struct match_device d = device("0000:31:00.2", 0x15b3, 0x101e, "", -1);
    put(wish.label, "blue");
    assert_non_null(strstr(best(&wish, &d, 1, 0), "1 with another label"));
    put(d.label, "blue");
    assert_string_equal(best(&wish, &d, 1, 0), "0000:31:00.2");

    /* One that the host itself may be using: only from a pool, and only where libvirt binds it. */
    d.unbound = true;
    assert_non_null(strstr(best(&wish, &d, 1, 0), "1 not bound to VFIO"));
    wish.may_bind = true;
    assert_string_equal(best(&wish, &d, 1, MATCH_DRIVER), "0000:31:00.2");
    wish.label[0] = d.label[0] = '\0';
    assert_non_null(strstr(best(&wish, &d, 1, 0), "1 not bound to VFIO"));
    put(wish.address, d.address);
    assert_string_equal(best(&wish, &d, 1, 0), "0000:31:00.2");

    struct match_device mdev = MATCH_DEVICE_INIT, other = MATCH_DEVICE_INIT;
    mdev.mediated = other.mediated = true;
    put(mdev.type, "mtty-2");
    put(other.type, "mtty-1");
    put(other.address, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    assert_true(match_is_known(&mdev));
    assert_non_null(strstr(best(&mdev, &other, 1, 0), "1 of another kind or type"));
    assert_non_null(strstr(best(&mdev, &d, 1, 0), "1 of another kind or type"));
    put(other.type, "mtty-2");
    assert_string_equal(best(&mdev, &other, 1, ALL), other.address);
}

static void words(void **state)
{
    unsigned rules = 77;
    char label[MATCH_TEXT_MAX] = "untouched";
    assert_int_equal(match_rules_parse("vendor  numa-node", &rules), 0);
    assert_int_equal(rules, MATCH_VENDOR | MATCH_NUMA_NODE);
    assert_int_equal(match_rules_parse("off", &rules), 0);
    assert_int_equal(rules, 0);
    assert_int_equal(match_rules_parse("vendor vend", &rules), -EINVAL);
    assert_int_equal(match_rules_parse("off vendor", &rules), -EINVAL);

    const char *labels = " 0000:17:00.*=blue  0000:17:01.0=green 0000:*=rest";
    assert_int_equal(match_label(labels, "0000:17:00.3", label), 0);
    assert_string_equal(label, "blue");
    assert_int_equal(match_label(labels, "0000:17:01.0", label), 0);
    assert_string_equal(label, "green");
    assert_int_equal(match_label(labels, "0001:17:01.0", label), 0);
    assert_string_equal(label, "");
    assert_int_equal(match_label("=x", "0001:17:01.0", label), -EINVAL);
    assert_int_equal(match_label("a=b c", "a", label), -EINVAL);
    assert_int_equal(match_label("a=", "a", label), -EINVAL);
    assert_string_equal(label, "");
}

static void reservations(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(reservations_freep) struct reservations *r = NULL;
    assert_int_equal(reservations_new(&r), 0);
    assert_int_equal(reservations_add(r, "a", "uuid-1", "vm1", 100, 200, &e), 0);
    assert_int_equal(reservations_add(r, "b", "uuid-1", "vm1", 100, 200, &e), 0);
    assert_string_equal(reservations_holder(r, "a", "uuid-2", 150), "vm1");
    assert_null(reservations_holder(r, "a", "uuid-1", 150)); /* it is its own */
    assert_null(reservations_holder(r, "c", "uuid-2", 150));
    assert_int_equal(reservations_add(r, "a", "uuid-2", "vm2", 150, 300, &e), -EBUSY);
    assert_non_null(strstr(e.message, "reserved for vm1"));

    /* It did not come. */
    assert_null(reservations_holder(r, "a", "uuid-2", 200));
    assert_int_equal(reservations_add(r, "a", "uuid-2", "vm2", 200, 300, &e), 0);
    assert_int_equal(reservations_take(r, "uuid-1", 200), 0);
    /* It did. */
    assert_int_equal(reservations_take(r, "uuid-2", 250), 1);
    assert_string_equal(reservations_holder(r, "a", "uuid-1", 1000000), "vm2");
    assert_int_equal(reservations_release(r, "uuid-2"), 1);
    assert_int_equal(reservations_release(r, "uuid-2"), 0);
    assert_null(reservations_holder(r, "a", "uuid-1", 260));
}

static void there_is_a_limit(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(reservations_freep) struct reservations *r = NULL;
    char address[32];
    assert_int_equal(reservations_new(&r), 0);
    for (unsigned i = 0; i < RESERVATIONS_MAX; i++) {
        snprintf(address, sizeof address, "device %u", i);
        assert_int_equal(reservations_add(r, address, "uuid-1", "vm1", 0, 100, &e), 0);
    }
    assert_int_equal(reservations_add(r, "one more", "uuid-1", "vm1", 0, 100, &e), -E2BIG);
    assert_int_equal(reservations_add(r, "one more", "uuid-1", "vm1", 100, 200, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_must_be_the_same),
        cmocka_unit_test(what_is_not_known_of_a_wish_does_not_count),
        cmocka_unit_test(the_best_of_many),
        cmocka_unit_test(labels_and_kinds),
        cmocka_unit_test(words),
        cmocka_unit_test(reservations),
        cmocka_unit_test(there_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
