/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain files and the options that say the same: what is taken, and what is refused in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/util.h"
#include "domain-fields.h"
#include <stdio.h>
#include <string.h>

#define ADD(member, text) (domain_spec_add_##member(&spec, text, &err))

static void whole_file(void **state)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct domain_spec spec = {0};
    const char *text =
        "{\"name\": \"demo\", \"incoming\": true, \"memory\": ["
        "{\"name\": \"ram0\", \"path\": \"/dev/shm/demo\", \"offset\": 4096, \"size\": \"1.5G\", \"iova\": "
        "[\"0x0\", 4294967296],"
        " \"read-only\": true}, {\"name\": \"ram1\", \"make\": true, \"size\": 536870912, \"hugepages\": "
        "\"2M\","
        " \"numa-node\": 0, \"iova\": [\"0x40000000\"]}],"
        "\"devices\": [{\"name\": \"nic0\", \"type\": \"vfio-user\", \"socket\": \"/s\", \"listen\": \"/l\","
        " \"timeout\": \"5s\", \"tracker\": \"all\", \"log-page-size\": \"4K\", \"precopy\": false, \"map\": "
        "false}],"
        "\"trackers\": [{\"name\": \"cpu\", \"type\": \"cpu-log\", \"memory\": \"ram0\", \"path\": \"/log\", "
        "\"offset\": 8,"
        " \"page-size\": \"64K\"}, {\"name\": \"cpu2\", \"type\": \"uffd\", \"memory\": \"ram1\", \"pid\": "
        "1234, \"fd\": 7,"
        " \"address\": \"0xffff800000000000\"}, {\"type\": \"all\", \"memory\": \"ram0\"}],"
        "\"controller\": {\"type\": \"dbus\", \"bus-name\": \"org.example.Vmm\", \"path\": "
        "\"/org/example/Vmm\","
        " \"timeout\": 250000}}";
    assert_int_equal(domain_spec_read_json(&spec, "f", text, &err), 0);
    assert_int_equal(domain_spec_check(&spec, &err), 0);
    assert_string_equal(spec.name, "demo");
    assert_true(spec.incoming);
    assert_int_equal(spec.n_memory, 2);
    assert_string_equal(spec.memory[0].path, "/dev/shm/demo");
    assert_int_equal(spec.memory[0].offset, 4096);
    assert_int_equal(spec.memory[0].size_bytes, UINT64_C(3) << 29);
    assert_true(spec.memory[0].read_only && !spec.memory[0].make);
    assert_int_equal(spec.memory[0].n_iova, 2);
    assert_int_equal(spec.memory[0].iova[1], UINT64_C(1) << 32);
    assert_true(spec.memory[1].make);
    assert_int_equal(spec.memory[1].hugepages_bytes, 2 << 20);
    assert_true(field_given(&memory_fields, &spec.memory[1], "numa-node"));
    assert_false(field_given(&memory_fields, &spec.memory[0], "numa-node"));
    assert_int_equal(spec.n_devices, 1);
    assert_int_equal(spec.devices[0].timeout_usec, 5000000);
    assert_int_equal(spec.devices[0].log_page_size, 4096);
    assert_true(!spec.devices[0].precopy && !spec.devices[0].map);
    assert_int_equal(spec.n_trackers, 3);
    assert_int_equal(spec.trackers[0].page_size, 65536);
    assert_int_equal(spec.trackers[1].address, UINT64_C(0xffff800000000000));
    assert_int_equal(spec.trackers[1].pid, 1234);
    assert_string_equal(spec.trackers[2].name, "all-ram0");
    assert_string_equal(spec.controller.bus_name, "org.example.Vmm");
    assert_int_equal(spec.controller.timeout_usec, 250000);
    domain_spec_done(&spec);
}

/* The error of a file that must not be taken. */
static const char *refused(const char *text, struct mig_error *err)
{
    struct domain_spec spec = {0};
    *err = MIG_ERROR_INIT;
    int r = domain_spec_read_json(&spec, "f", text, err);
    if (r == 0) {
        if (!spec.name)
            spec.name = strdup("x");
        r = domain_spec_check(&spec, err);
    }
    domain_spec_done(&spec);
    if (r == 0 || !mig_error_is_set(err))
        fail_msg("this was taken: %s", text);
    return err->message;
}

static void bad_files(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f, line 1: not JSON: it ends too early"},
        {"{\"name\": \"a\"\n\n", "f, line 3: not JSON: it ends too early"},
        {"{\n\"name\" 1}", "f, line 2: not JSON: "},
        {"{\"name\": \"a\",}", "f, line 1: not JSON: "},
        {"{} x", "f, line 1: not JSON: "},
        {"[]", "f: must be a JSON object"},
        {"{\"name\": 1}", "f: name: must be a text"},
        {"{\"incoming\": \"yes\"}", "f: incoming: must be true or false"},
        {"{\"memroy\": []}", "f: memroy: unknown key, did you mean \"memory\"?"},
        {"{\"colour\": []}", "f: colour: unknown key"},
        {"{\"memory\": {}}", "f: memory: must be a list of objects"},
        {"{\"memory\": [1]}", "f: memory[0]: must be an object"},
        {"{\"memory\": [null]}", "f: memory[0]: must be an object"},
        {"{\"memory\": [{\"ofset\": 1}]}", "f: memory[0].ofset: unknown key, did you mean \"offset\"?"},
        {"{\"memory\": [{}, {\"zzzzzz\": 1}]}", "f: memory[1].zzzzzz: unknown key"},
        {"{\"memory\": [{\"name\": 7}]}", "f: memory[0].name: must be a text"},
        {"{\"memory\": [{\"name\": \"\"}]}", "f: memory[0].name: must be a text"},
        {"{\"memory\": [{\"size\": -1}]}", "f: memory[0].size: must be a size: bytes, or a text like \"1G\""},
        {"{\"memory\": [{\"size\": 1.5}]}",
         "f: memory[0].size: must be a size: bytes, or a text like \"1G\""},
        {"{\"memory\": [{\"size\": \"-1G\"}]}",
         "f: memory[0].size: must be a size: bytes, or a text like \"1G\""},
        {"{\"memory\": [{\"size\": \"99999999999999999999\"}]}", "f: memory[0].size: the value is too large"},
        {"{\"memory\": [{\"size\": \"17000000T\"}]}", "f: memory[0].size: the value is too large"},
        {"{\"memory\": [{\"size\": 99999999999999999999}]}", "f: memory[0].size: the value is too large"},
        {"{\"memory\": [{\"make\": 1}]}", "f: memory[0].make: must be true or false"},
        {"{\"memory\": [{\"iova\": \"0x0\"}]}",
         "f: memory[0].iova: must be a list of addresses like [\"0x0\", \"0x100000000\"]"},
        {"{\"memory\": [{\"iova\": [\"here\"]}]}",
         "f: memory[0].iova: must be a list of addresses like [\"0x0\", \"0x100000000\"]"},
        {"{\"memory\": [{\"numa-node\": 3000000000}]}", "f: memory[0].numa-node: the value is too large"},
        {"{\"memory\": [{\"numa-node\": \"0\"}]}", "f: memory[0].numa-node: must be a whole number"},
        {"{\"devices\": [{\"timeout\": \"5\"}]}",
         "f: devices[0].timeout: must be a time: microseconds, or a text like \"5s\" or \"300ms\""},
        {"{\"controller\": []}", "f: controller: must be an object"},
        {"{\"controller\": {\"bus\": \"x\"}}", "f: controller.bus: unknown key"},
        /* What only the whole shows. */
        {"{\"memory\": [{\"path\": \"/x\"}]}", "memory[0]: name is missing"},
        {"{\"memory\": [{\"name\": \"a\"}]}", "memory \"a\": path is missing"},
        {"{\"memory\": [{\"name\": \"a\", \"make\": true}]}", "memory \"a\": size is missing"},
        {"{\"memory\": [{\"name\": \"a\", \"path\": \"/x\", \"hugepages\": \"2M\"}]}",
         "memory \"a\": hugepages belongs to memory that migd makes (make)"},
        {"{\"memory\": [{\"name\": \"a\", \"make\": true, \"size\": 4096, \"path\": \"/x\"}]}",
         "memory \"a\": path belongs to memory with a path, not to memory that migd makes"},
        {"{\"memory\": [{\"name\": \"a\", \"path\": \"/x\", \"size\": 100}]}",
         "memory \"a\": offset and size must be multiples of 4096"},
        {"{\"memory\": [{\"name\": \"a\", \"path\": \"/x\", \"size\": 8192, \"iova\": "
         "[\"0xfffffffffffff000\"]}]}",
         "memory \"a\": iova 0xfffffffffffff000 is not a multiple of 4096, or the memory does not fit above "
         "it"},
        {"{\"memory\": [{\"name\": \"a\", \"path\": \"/x\"}, {\"name\": \"a\", \"path\": \"/y\"}]}",
         "two pieces of memory are named \"a\""},
        {"{\"devices\": [{\"name\": \"n\"}]}", "device \"n\": socket is missing"},
        {"{\"devices\": [{\"name\": \"n\", \"socket\": \"/s\", \"type\": \"vdpa\"}]}",
         "device \"n\": type \"vdpa\" is not known: vfio-user and vfio are"},
        {"{\"devices\": [{\"name\": \"n\", \"type\": \"vfio\", \"pid\": 1}]}", "device \"n\": fd is missing"},
        {"{\"devices\": [{\"name\": \"n\", \"type\": \"vfio\", \"address\": \"0000:17:00.1\", \"fd\": 2}]}",
         "device \"n\": fd belongs to a device of a process (pid and fd), not to one that migd opens"},
        {"{\"devices\": [{\"name\": \"n\", \"type\": \"vfio\", \"pid\": 1, \"fd\": 2, \"split\": true}]}",
         "device \"n\": split belongs to a device that migd opens (address)"},
        {"{\"devices\": [{\"name\": \"n\", \"socket\": \"/s\", \"address\": \"0000:17:00.1\"}]}",
         "device \"n\": address belongs to a device of type vfio"},
        {"{\"devices\": [{\"name\": \"n\", \"type\": \"vfio\", \"pid\": 1, \"fd\": 2, \"socket\": \"/s\"}]}",
         "device \"n\": socket belongs to a device of type vfio-user"},
        {"{\"devices\": [{\"name\": \"n\", \"socket\": \"/s\", \"pid\": 1}]}",
         "device \"n\": pid belongs to a device of type vfio"},
        {"{\"containers\": [{\"name\": \"c\", \"pid\": 1}]}", "container \"c\": fd is missing"},
        {"{\"containers\": [{\"name\": \"c\", \"pid\": 1, \"fd\": 2}, {\"name\": \"c\", \"pid\": 1, \"fd\": "
         "3}]}",
         "two containers are named \"c\""},
        {"{\"devices\": [{\"name\": \"n\", \"socket\": \"/s\", \"tracker\": \"none\"}]}",
         "device \"n\": tracker \"none\" is not known: device and all are"},
        {"{\"trackers\": [{\"name\": \"t\"}]}", "tracker \"t\": type is missing"},
        {"{\"trackers\": [{\"type\": \"magic\"}]}",
         "tracker \"magic\": type \"magic\" is not known: cpu-log, uffd, soft-dirty, digests and all are"},
        {"{\"trackers\": [{\"type\": \"cpu-log\", \"memory\": \"m\"}]}",
         "tracker \"cpu-log\": path is missing"},
        {"{\"trackers\": [{\"type\": \"uffd\", \"memory\": \"m\", \"pid\": 1, \"fd\": 2}]}",
         "tracker \"uffd\": address is missing"},
        {"{\"trackers\": [{\"type\": \"all\", \"pid\": 1}]}",
         "tracker \"all\": pid belongs to another type of tracker"},
        {"{\"trackers\": [{\"type\": \"all\", \"memory\": \"m\"}]}",
         "tracker \"all\": there is no memory \"m\""},
        {"{\"controller\": {\"timeout\": 1}}", "controller: type is missing"},
        {"{\"controller\": {\"type\": \"dbus\", \"path\": \"/x\"}}", "controller: bus-name is missing"},
        {"{\"controller\": {\"type\": \"none\", \"path\": \"/x\"}}",
         "controller: type none has no other keys"},
    };
    struct mig_error err;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        /* What ends in ": " goes on in words of json-c, which differ between its versions. */
        const char *message = refused(cases[i].text, &err), *wanted = cases[i].message;
        size_t n = strlen(wanted);
        bool open = strcmp(wanted + n - 2, ": ") == 0;
        if (!open || strncmp(message, wanted, n) != 0)
            assert_string_equal(message, wanted);
        assert_true(err.code == MIG_ERR_INVALID_ARGUMENT);
    }
    refused("{\"colour\": []}", &err);
    assert_string_equal(err.hint,
                        "The keys are: name, incoming, memory, containers, devices, trackers, controller");
    refused("{\"controller\": {\"bus\": 1}}", &err);
    assert_string_equal(err.hint, "The keys of a controller are: type, bus-name, path, timeout");
}

static void deep_and_long(void **state)
{
    struct mig_error err;
    char text[256];
    memset(text, '[', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_non_null(strstr(refused(text, &err), "not JSON"));
    size_t size = 2 << 20;
    char *file = malloc(size);
    memset(file, ' ', size);
    file[size - 1] = '\0';
    refused(file, &err);
    assert_int_equal(err.code, MIG_ERR_LIMIT);
    free(file);
    /* One IOVA more than there is room for. */
    char many[4096] = "{\"memory\": [{\"iova\": [0";
    for (unsigned i = 0; i < SPEC_IOVAS_MAX; i++)
        strcat(many, ", 0");
    strcat(many, "]}]}");
    assert_string_equal(refused(many, &err), "f: memory[0].iova: the value is too large");
}

static void options(void **state)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct domain_spec spec = {.name = strdup("x")};
    assert_int_equal(ADD(memory, "name=ram0,path=/a,,b,size=1M,iova=0x0,iova=4096,read-only"), 0);
    assert_int_equal(ADD(memory, "name=ram1,make=yes,size=2M"), 0);
    assert_int_equal(ADD(device, "name=nic0,socket=/s,no-precopy,map"), 0);
    assert_int_equal(ADD(tracker, "type=uffd,memory=ram1,pid=12,fd=3,address=0x7f0000000000"), 0);
    assert_int_equal(domain_spec_set_controller(&spec, "dbus::1.42:/org/x", &err), 0);
    assert_int_equal(domain_spec_check(&spec, &err), 0);
    assert_string_equal(spec.memory[0].path, "/a,b");
    assert_int_equal(spec.memory[0].n_iova, 2);
    assert_true(spec.memory[0].read_only && spec.memory[1].make);
    assert_true(!spec.devices[0].precopy && spec.devices[0].map);
    assert_string_equal(spec.trackers[0].name, "uffd-ram1");
    assert_string_equal(spec.controller.bus_name, ":1.42");
    assert_string_equal(spec.controller.path, "/org/x");
    domain_spec_done(&spec);
}

static void bad_options(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "--memory.: unknown key"},
        {"name=a,name=b", "--memory.name: given twice"},
        {"name=", "--memory.name: \"\" is not a name"},
        {"sze=1", "--memory.sze: unknown key, did you mean \"size\"?"},
        {"size", "--memory.size: needs a value: size=..."},
        {"size=-1", "--memory.size: \"-1\" is not a size like 4096, 64K or 1G"},
        {"size=99999999999999999999", "--memory.size: the value is too large"},
        {"iova=0x", "--memory.iova: \"0x\" is not an address like 0x100000"},
        {"make=perhaps", "--memory.make: \"perhaps\" is not yes or no"},
        {"numa-node=0x1", "--memory.numa-node: \"0x1\" is not a whole number"},
        {"no-size", "--memory.size: needs a value: size=..."},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        struct domain_spec spec = {0};
        assert_int_not_equal(ADD(memory, cases[i].text), 0);
        assert_string_equal(err.message, cases[i].message);
        domain_spec_done(&spec);
    }
    static const char *const controllers[] = {"", "dbus", "dbus:", "dbus:x", "dbus:x:y", "dbus::/x", "None"};
    for (size_t i = 0; i < ELEMENTS(controllers); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        struct domain_spec spec = {0};
        assert_int_not_equal(domain_spec_set_controller(&spec, controllers[i], &err), 0);
        domain_spec_done(&spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_file), cmocka_unit_test(bad_files),   cmocka_unit_test(deep_and_long),
        cmocka_unit_test(options),    cmocka_unit_test(bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
