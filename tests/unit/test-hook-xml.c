/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The domain XML of a hook: what is read from it, and that nothing changes but what is swapped. */
#include "libvirt/hook-xml.h"
#include "libvirt/xml-walk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define UUID_A "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
#define UUID_B "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"

/* As libvirt writes it, with things in it that a filter must not lose. %s: bus and slot of the NIC, UUID of
 * the mdev, each twice. */
static const char sample[] =
    "<domain xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\" type=\"kvm\">\n"
    "  <name>vm \xc3\xa4 &amp; b</name>\n"
    "  <uuid>0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e</uuid>\n"
    "  <metadata>\n"
    "    <other:thing xmlns:other=\"urn:other\" address=\"0000:17:00.1\">&lt;kept&gt;</other:thing>\n"
    "    <migd:devices xmlns:migd=\"https://migd.org/libvirt/1\">\n"
    "      <migd:device address=\"%s\" vendor=\"0x15b3\" device=\"0x101e\" driver=\"vfio-pci\" "
    "numa-node=\"1\" "
    "label=\"blue\"/>\n"
    "      <migd:device address=\"%s\" type=\"mtty-2\"/>\n"
    "    </migd:devices>\n"
    "  </metadata>\n"
    "  <!-- a comment -- no, - one with dashes -->\n"
    "  <devices>\n"
    "    <hostdev mode=\"subsystem\" type=\"pci\" managed=\"yes\">\n"
    "      <driver name=\"vfio\"/>\n"
    "      <source>\n"
    "        <address domain=\"0x0000\" bus=\"%s\" slot=\"0x00\" function=\"0x1\"/>\n"
    "      </source>\n"
    "      <address type=\"pci\" domain=\"0x0000\" bus=\"0x00\" slot=\"0x05\" function=\"0x0\"/>\n"
    "    </hostdev>\n"
    "    <hostdev mode=\"subsystem\" type=\"mdev\" managed=\"no\" model=\"vfio-pci\">\n"
    "      <source>\n"
    "        <address uuid=\"%s\"/>\n"
    "      </source>\n"
    "    </hostdev>\n"
    "    <hostdev mode=\"subsystem\" type=\"usb\"><source><address bus=\"1\" "
    "device=\"2\"/></source></hostdev>\n"
    "    <interface type=\"hostdev\"><source><address type=\"pci\" bus=\"0x18\" "
    "slot=\"0x02\"/></source></interface>\n"
    "  </devices>\n"
    "  <qemu:commandline>\n"
    "    <qemu:arg value=\"-qmp\"/>\n"
    "  </qemu:commandline>\n"
    "</domain>\n";

/* The comment above would be ill-formed with two dashes in a row. */
static char *make(const char *pci, const char *bus, const char *uuid)
{
    char *text = NULL, *dashes;
    assert_true(asprintf(&text, sample, pci, uuid, bus, uuid) > 0);
    while ((dashes = strstr(text, " -- no,")))
        memmove(dashes + 1, dashes + 3, strlen(dashes + 3) + 1);
    return text;
}

static struct hook_xml *parse(const char *text)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct hook_xml *x = NULL;
    if (hook_xml_parse(&x, text, &e) < 0)
        fail_msg("%s", e.message);
    return x;
}

static void what_is_read(void **state)
{
    _cleanup_free_ char *text = make("0000:17:00.1", "0x17", UUID_A);
    _cleanup_(hook_xml_freep) struct hook_xml *x = parse(text);
    assert_string_equal(hook_xml_name(x), "vm \xc3\xa4 & b");
    assert_string_equal(hook_xml_uuid(x), "0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e");
    assert_int_equal(hook_xml_count(x), 3);
    const struct match_device *nic = hook_xml_device(x, 0), *mdev = hook_xml_device(x, 1),
                              *vf = hook_xml_device(x, 2);
    assert_string_equal(nic->address, "0000:17:00.1");
    assert_true(nic->may_bind && !nic->mediated);
    assert_int_equal(nic->vendor, 0x15b3);
    assert_int_equal(nic->device, 0x101e);
    assert_int_equal(nic->numa_node, 1);
    assert_string_equal(nic->driver, "vfio-pci");
    assert_string_equal(nic->label, "blue");
    assert_true(mdev->mediated && !mdev->may_bind);
    assert_string_equal(mdev->address, UUID_A);
    assert_string_equal(mdev->type, "mtty-2");
    assert_string_equal(vf->address, "0000:18:02.0");
    assert_false(match_is_known(vf));
}

static void only_what_is_swapped_changes(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_free_ char *before = make("0000:17:00.1", "0x17", UUID_A),
                        *after = make("0000:3b:00.1", "0x3b", UUID_B);
    _cleanup_(hook_xml_freep) struct hook_xml *x = parse(before);
    _cleanup_free_ char *same = NULL, *swapped = NULL;
    assert_int_equal(hook_xml_swap(x, 0, "0000:17:00.1", &e), 0);
    assert_int_equal(hook_xml_write(x, &same, &e), 0);
    assert_string_equal(same, "");
    assert_int_equal(hook_xml_swap(x, 0, "0000:3b:00.1", &e), 0);
    assert_int_equal(hook_xml_swap(x, 1, UUID_B, &e), 0);
    assert_int_equal(hook_xml_write(x, &swapped, &e), 0);
    assert_string_equal(swapped, after);
    assert_string_equal(hook_xml_device(x, 0)->address, "0000:3b:00.1");
}

static void a_declaration_stays(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(hook_xml_freep) struct hook_xml *x = parse(
        "<?xml version='1.0' encoding='UTF-8'?><domain><devices><hostdev mode='subsystem' type='pci'><source>"
        "<address bus='1' slot='2'/></source></hostdev></devices></domain>");
    _cleanup_free_ char *text = NULL;
    assert_string_equal(hook_xml_device(x, 0)->address, "0000:01:02.0");
    assert_int_equal(hook_xml_swap(x, 0, "0001:ff:1f.7", &e), 0);
    assert_int_equal(hook_xml_write(x, &text, &e), 0);
    assert_int_equal(strncmp(text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>", 38), 0);
    assert_non_null(strstr(text, "<address bus=\"0xff\" slot=\"0x1f\" domain=\"0x0001\" function=\"0x7\"/>"));
}

static void hostile_text(void **state)
{
    static const char *const texts[] = {
        "",
        "no xml",
        "<domain>",
        "<network><name>n</name></network>",
        "<!DOCTYPE domain [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><domain><name>&b;</name></domain>",
        "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
        "<domain><name>&nothing;</name></domain>",
        "<domain><name>\xff\xfe</name></domain>",
    };
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        struct mig_error e = MIG_ERROR_INIT;
        struct hook_xml *x = NULL;
        assert_int_equal(hook_xml_parse(&x, texts[i], &e), -EINVAL);
        assert_null(x);
        assert_int_equal(e.code, MIG_ERR_INVALID_ARGUMENT);
    }
    /* Well-formed, and of no use: left alone. */
    static const char *const odd[] = {
        "<domain/>",
        "<domain><devices><hostdev/><hostdev mode='subsystem' type='pci'/><hostdev mode='subsystem' "
        "type='pci'>"
        "<source/></hostdev></devices></domain>",
        "<domain><devices><hostdev mode='subsystem' type='pci'><source><address bus='0x100' "
        "slot='0'/></source></hostdev>"
        "<hostdev mode='subsystem' type='pci'><source><address bus='-1' slot='0'/></source></hostdev>"
        "<hostdev mode='subsystem' type='mdev'><source><address/></source></hostdev></devices></domain>",
    };
    for (size_t i = 0; i < ELEMENTS(odd); i++) {
        _cleanup_(hook_xml_freep) struct hook_xml *x = parse(odd[i]);
        assert_int_equal(hook_xml_count(x), 0);
    }
}

static void there_are_limits(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct hook_xml *x = NULL;
    size_t size = XML_DOMAIN_MAX + 100;
    _cleanup_free_ char *text = malloc(size);
    memset(text, ' ', size);
    memcpy(text, "<domain>", 8);
    text[size - 1] = '\0';
    assert_int_equal(hook_xml_parse(&x, text, &e), -E2BIG);
    static const char one[] =
        "<hostdev mode='subsystem' type='pci'><source><address bus='1' slot='2'/></source></hostdev>";
    size_t at = (size_t)sprintf(text, "<domain><devices>");
    for (unsigned i = 0; i <= HOOK_XML_DEVICES_MAX; i++)
        at += (size_t)sprintf(text + at, "%s", one);
    sprintf(text + at, "</devices></domain>");
    assert_int_equal(hook_xml_parse(&x, text, &e), -E2BIG);
    assert_null(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),        cmocka_unit_test(only_what_is_swapped_changes),
        cmocka_unit_test(a_declaration_stays), cmocka_unit_test(hostile_text),
        cmocka_unit_test(there_are_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
