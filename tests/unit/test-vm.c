/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Libvirt domains without libvirt: what their XML says, the plan, the policy, the record. */
#include "base/clock.h"
#include "libvirt/vm-plan.h"
#include "libvirt/vm-policy.h"
#include "libvirt/vm-record.h"
#include "libvirt/vm-sides.h"
#include <libvirt/libvirt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static const char xml[] =
    "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>vm</name>"
    "<uuid>0f0ba8a8-5a5e-4f5e-8d07-000000000001</uuid><memory unit='MiB'>1024</memory>"
    "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking><vcpu "
    "placement='static'>4</vcpu>"
    "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><cpu mode='host-passthrough'/>"
    "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
    "<disk type='file' device='disk'><driver name='qemu' cache='none'/><source file='/a/b'/><target "
    "dev='vda'/></disk>"
    "<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>"
    "<disk type='network' device='disk'><source protocol='rbd' name='x'/><target dev='vdb'/></disk>"
    "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x17' "
    "slot='0x00' "
    "function='0x1'/></source></hostdev>"
    "<hostdev mode='subsystem' type='mdev'><source><address "
    "uuid='83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'/></source>"
    "</hostdev>"
    "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/></source></hostdev>"
    "<interface type='hostdev'><source><address type='pci' bus='0x18' slot='0x1f' "
    "function='7'/></source></interface>"
    "<interface type='network'><source network='default'/></interface></devices>"
    "<qemu:commandline><qemu:arg value='-name'/><qemu:arg value='x'/><qemu:arg value='-qmp'/>"
    "<qemu:arg value='unix:/run/vm.qmp,server=on,wait=off'/></qemu:commandline></domain>";

static struct vm_xml *parsed(const char *text)
{
    struct vm_xml *x = calloc(1, sizeof *x);
    struct mig_error err = MIG_ERROR_INIT;
    if (vm_xml_parse(x, text, &err) < 0)
        fail_msg("%s", err.message);
    return x;
}

static void test_xml(void **state)
{
    _cleanup_free_ struct vm_xml *x = parsed(xml);
    assert_string_equal(x->name, "vm");
    assert_string_equal(x->type, "kvm");
    assert_string_equal(x->machine, "pc-q35-7.2");
    assert_string_equal(x->cpu_mode, "host-passthrough");
    assert_int_equal(x->memory_bytes, 1024 * MIB);
    assert_int_equal(x->vcpus, 4);
    assert_true(vm_xml_memory_is_shared_file(x));
    assert_int_equal(x->ndisks, 3);
    assert_true(x->disks[0].file && strcmp(x->disks[0].cache, "none") == 0);
    assert_true(x->disks[1].readonly && !x->disks[1].source[0]);
    assert_true(!x->disks[2].file && !x->disks[2].block);
    assert_int_equal(x->ndevices, 4);
    assert_string_equal(x->devices[0].address, "0000:17:00.1");
    assert_string_equal(x->devices[1].address, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    assert_string_equal(x->devices[2].type, "usb");
    assert_string_equal(x->devices[3].address, "0000:18:1f.7");
    assert_int_equal(x->nmonitors, 1);
    assert_string_equal(x->monitors[0], "/run/vm.qmp");
    _cleanup_free_ struct vm_xml *plain = parsed("<domain><name>a</name><memory>2048</memory></domain>");
    assert_int_equal(plain->memory_bytes, 2 * MIB);
    assert_false(vm_xml_memory_is_shared_file(plain));
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(vm_xml_parse(plain, "<network/>", &err), -EINVAL);
    assert_int_equal(vm_xml_parse(plain, "<domain", NULL), -EINVAL);
}

static struct vm_request request(void)
{
    struct vm_request q = {
        .name = "vm", .host = "hostb", .uri = "qemu:///system", .destination_uri = "qemu+tls://%h/system"};
    migration_options_init(&q.options);
    migration_options_init(&q.defaults);
    return q;
}

static struct vm_plan planned(const struct vm_request *q, const struct vm_xml *x, bool persistent)
{
    struct vm_plan p;
    struct mig_error err = MIG_ERROR_INIT;
    if (vm_plan_make(&p, q, x, persistent, &err) < 0)
        fail_msg("%s", err.message);
    return p;
}

static bool has_flag(const struct vm_plan *p, const char *wanted)
{
    const char *word;
    for (size_t i = 0; (word = vm_plan_flag(p, i)); i++)
        if (strcmp(word, wanted) == 0)
            return true;
    return false;
}

static void test_plan(void **state)
{
    _cleanup_free_ struct vm_xml *x = parsed(xml);
    struct vm_request q = request();
    struct vm_plan p = planned(&q, x, true);
    assert_string_equal(p.engine, "libvirt");
    assert_string_equal(p.destination_uri, "qemu+tls://hostb/system");
    assert_string_equal(p.data_uri, "tcp://hostb");
    assert_true(has_flag(&p, "live") && has_flag(&p, "p2p") && has_flag(&p, "suspend"));
    assert_true(p.resume);
    assert_false(has_flag(&p, "auto-converge") || has_flag(&p, "persistent") || has_flag(&p, "tls") ||
                 has_flag(&p, "unsafe") || has_flag(&p, "parallel"));
    assert_int_equal(p.bandwidth_mib, 0);
    assert_int_equal(p.max_downtime_msec, 300);

    snprintf(q.host, sizeof q.host, "[fe80::1]:16509");
    q.persistent = q.undefine_source = q.tls = q.auto_converge = true;
    q.options.connections = 4;
    q.options.bandwidth_bytes_per_sec = 10 * MIB + 1;
    q.options.allow[FINDING_VM_DISK_LOCAL] = true;
    snprintf(q.options.peer_domain, sizeof q.options.peer_domain, "other");
    p = planned(&q, x, true);
    assert_string_equal(p.destination_uri, "qemu+tls://[fe80::1]/system");
    assert_string_equal(p.data_uri, "tcp://[fe80::1]");
    assert_true(has_flag(&p, "persistent") && has_flag(&p, "undefinesource") && has_flag(&p, "tls") &&
                has_flag(&p, "unsafe") && has_flag(&p, "parallel") && has_flag(&p, "auto-converge"));
    assert_int_equal(p.bandwidth_mib, 11); /* libvirt's unit, never less than was asked for */
    assert_int_equal(vm_plan_cap_mib(&p, &q.options), 11);
    q.total_bytes_per_sec = 2 * MIB;
    p = planned(&q, x, true);
    assert_int_equal(p.bandwidth_mib, 2);
    q.options.bandwidth_bytes_per_sec = 0; /* taken off while it runs: the cap over all stays */
    assert_int_equal(vm_plan_cap_mib(&p, &q.options), 2);
    q.options.bandwidth_bytes_per_sec = 10 * MIB + 1;
    q.total_bytes_per_sec = 0;
    p = planned(&q, x, true);
    char command[600];
    vm_plan_command(&p, command, sizeof command);
    assert_non_null(strstr(command, "migrate --live --p2p --persistent --undefinesource --suspend "));
    assert_non_null(strstr(command,
                           " vm qemu+tls://[fe80::1]/system tcp://[fe80::1] --dname other --bandwidth 11 "
                           "--parallel-connections 4 && virsh -c qemu+tls://[fe80::1]/system resume other"));
    assert_false(has_flag(&(struct vm_plan){.flags = planned(&q, x, false).flags}, "undefinesource"));
}

/* Nobody chose: migd's own where everything is there, else QEMU, and the reason. */
static void test_plan_chooses(void **state)
{
    _cleanup_free_ struct vm_xml *x = parsed(xml);
    struct vm_request q = request();
    q.native_ready = true;
    struct vm_plan p = planned(&q, x, true);
    assert_true(p.native);
    assert_string_equal(p.engine, "native");
    assert_non_null(strstr(p.why, "the destination waits"));
    q.auto_converge = true;
    p = planned(&q, x, true);
    assert_true(!p.native && has_flag(&p, "auto-converge"));
    q.auto_converge = q.native_ready = false;
    snprintf(q.not_native, sizeof q.not_native, "hostb does not wait");
    p = planned(&q, x, true);
    assert_string_equal(p.engine, "libvirt");
    assert_string_equal(p.why, "hostb does not wait");
    q.native_ready = q.paused = true;
    p = planned(&q, x, true);
    assert_string_equal(p.why, "it is paused");
    assert_true(has_flag(&p, "suspend") && !p.resume);
    q.paused = false;
    x->nmonitors = 0;
    p = planned(&q, x, true);
    assert_non_null(strstr(p.why, "second monitor"));
    x->memory_shared = false;
    p = planned(&q, x, true);
    assert_non_null(strstr(p.why, "shared files"));
    assert_false(p.native);
}

static void test_plan_refuses(void **state)
{
    _cleanup_free_ struct vm_xml *x = parsed(xml);
    struct vm_request q = request();
    struct vm_plan p;
    struct mig_error err = MIG_ERROR_INIT;
    q.engine = VM_ENGINE_NATIVE;
    q.options.connections = 4; /* those are migd's then, and not QEMU's */
    q.options.bandwidth_bytes_per_sec = 10 * MIB;
    assert_int_equal(vm_plan_make(&p, &q, x, true, &err), 0);
    assert_true(has_flag(&p, "suspend") && p.resume);
    assert_true(p.native && p.connections == 1 && p.bandwidth_mib == 0 && !has_flag(&p, "parallel"));
    q.paused = true;
    assert_true(vm_plan_make(&p, &q, x, true, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_WRONG_STATE);
    assert_non_null(strstr(err.message, "is paused"));
    q.paused = false;
    x->memory_shared = false;
    assert_true(vm_plan_make(&p, &q, x, true, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_NOT_SUPPORTED);
    assert_non_null(strstr(err.message, "not in shared files"));
    x->memory_shared = true;
    x->nmonitors = 0;
    assert_true(vm_plan_make(&p, &q, x, true, NULL) < 0);
    q.engine = VM_ENGINE_LIBVIRT;
    snprintf(q.host, sizeof q.host, "unix:/run/x");
    assert_int_equal(vm_plan_make(&p, &q, x, true, NULL), -EINVAL);
    enum vm_engine e;
    assert_int_equal(vm_engine_from_string("quick", &e, NULL), -EINVAL);
    assert_int_equal(vm_engine_from_string("auto", &e, NULL), 0);
}

/* A pass of one second over a link of `link` bytes per second, after which `dirty` bytes are left. */
static bool pass(struct vm_policy *p, struct vm_figures *f, uint64_t *now, uint64_t link, uint64_t dirty,
                 struct vm_round *ret)
{
    *now += USEC_PER_SEC;
    f->active = true;
    f->iteration++;
    f->processed_bytes += link;
    f->remaining_bytes = dirty;
    return vm_policy_feed(p, f, *now, 300 * USEC_PER_MSEC, 0, ret);
}

static void test_policy_stalls(void **state)
{
    struct vm_policy p = {0};
    struct vm_figures f = {0};
    struct vm_round r;
    uint64_t now = 1;
    unsigned rounds = 0;
    assert_false(pass(&p, &f, &now, 0, 100 * MIB, &r)); /* the first one has begun */
    do {
        assert_true(pass(&p, &f, &now, 10 * MIB, 50 * MIB, &r));
        rounds++;
    } while (!r.stalled && rounds < 10);
    assert_int_equal(rounds, 3);
    assert_int_equal(r.result.expected_downtime_usec, 5 * USEC_PER_SEC);
    assert_int_equal(r.result.dirty_rate, 50 * MIB);
    assert_false(vm_policy_feed(&p, &f, now + 1, 300 * USEC_PER_MSEC, 0, &r)); /* no pass has ended */
    f.active = false;
    f.iteration++;
    assert_false(vm_policy_feed(&p, &f, now + 2, 300 * USEC_PER_MSEC, 0, &r));
}

static void test_policy_converges(void **state)
{
    struct vm_policy p = {0};
    struct vm_figures f = {0};
    struct vm_round r;
    uint64_t now = 1;
    pass(&p, &f, &now, 0, 800 * MIB, &r);
    for (uint64_t dirty = 400 * MIB; dirty > 20 * MIB; dirty /= 2) {
        assert_true(pass(&p, &f, &now, 100 * MIB, dirty, &r));
        assert_false(r.stalled);
    }
    assert_int_equal(r.result.decision, CONVERGENCE_SWITCH_OVER);
    /* QEMU thinks otherwise, for ever. */
    unsigned more = 0;
    while (!r.stalled && more < 20) {
        pass(&p, &f, &now, 100 * MIB, 20 * MIB, &r);
        more++;
    }
    assert_true(r.stalled && more >= 3 && more <= VM_DISAGREE_MAX);
}

static void test_many_passes(void **state)
{
    struct vm_policy p = {0};
    struct vm_figures f = {0};
    struct vm_round r;
    uint64_t now = 1;
    for (unsigned i = 0; i < 3 * VM_ROUNDS_MAX; i++)
        pass(&p, &f, &now, 10 * MIB, 50 * MIB, &r);
    assert_int_equal(p.passes, 3 * VM_ROUNDS_MAX - 1);
    assert_true(p.nrounds <= VM_ROUNDS_MAX && r.stalled);
}

/* ---- who runs it ---- */

static const enum vm_here_state here_known[] = {VM_HERE_RUNS, VM_HERE_LEFT, VM_HERE_GONE};

/* What libvirt leaves standing still there: the source's as long as its QEMU is there, then the
 * destination's. */
static void test_sides(void **state)
{
    const struct vm_plan p = {.flags = VIR_MIGRATE_PAUSED, .resume = true};
    for (int there = 0; there < VM_THERE_MAX; there++) {
        assert_int_equal(vm_sides_decide(&p, VM_HERE_UNKNOWN, there), VM_WAIT);
        assert_int_equal(vm_sides_decide(&p, VM_HERE_BUSY, there), VM_WAIT);
        assert_int_not_equal(vm_sides_decide(&p, VM_HERE_RUNS, there), VM_RESUME_THERE);
        assert_int_not_equal(vm_sides_decide(&p, VM_HERE_LEFT, there), VM_RESUME_THERE);
        assert_int_not_equal(vm_sides_decide(&p, VM_HERE_GONE, there), VM_END_THERE);
    }
    /* Nothing that runs is ended, and nothing is let run where another runs. */
    for (size_t i = 0; i < ELEMENTS(here_known); i++)
        assert_int_equal(vm_sides_decide(&p, here_known[i], VM_THERE_RUNS),
                         here_known[i] == VM_HERE_GONE ? VM_IS_THERE : VM_WAIT);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_GONE, VM_THERE_READY), VM_RESUME_THERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_GONE, VM_THERE_ARRIVES), VM_WAIT);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_GONE, VM_THERE_UNKNOWN), VM_WAIT);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_GONE, VM_THERE_GONE), VM_IS_NOWHERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_RUNS, VM_THERE_UNKNOWN), VM_WAIT);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_RUNS, VM_THERE_READY), VM_END_THERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_RUNS, VM_THERE_ARRIVES), VM_END_THERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_RUNS, VM_THERE_DEFINED), VM_END_THERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_RUNS, VM_THERE_GONE), VM_IS_HERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_LEFT, VM_THERE_UNKNOWN), VM_RESUME_HERE);
    assert_int_equal(vm_sides_decide(&p, VM_HERE_LEFT, VM_THERE_READY), VM_RESUME_HERE);
}

/* One that its user had paused stays so; what a migd before this one began was started by libvirt alone. */
static void test_sides_of_others(void **state)
{
    const struct vm_plan paused = {.flags = VIR_MIGRATE_PAUSED}, old = {.resume = false};
    const struct vm_plan native = {.flags = VIR_MIGRATE_PAUSED, .native = true, .resume = true};
    assert_int_equal(vm_sides_decide(&paused, VM_HERE_GONE, VM_THERE_READY), VM_IS_THERE);
    assert_int_equal(vm_sides_decide(&paused, VM_HERE_RUNS, VM_THERE_READY), VM_END_THERE);
    assert_int_equal(vm_sides_decide(&old, VM_HERE_GONE, VM_THERE_READY), VM_IS_THERE);
    assert_int_equal(vm_sides_decide(&old, VM_HERE_GONE, VM_THERE_GONE), VM_IS_NOWHERE);
    assert_int_equal(vm_sides_decide(&native, VM_HERE_GONE, VM_THERE_READY), VM_RESUME_THERE);
    assert_int_equal(vm_sides_decide(&native, VM_HERE_RUNS, VM_THERE_READY), VM_END_THERE);
    for (int there = 0; there < VM_THERE_MAX; there++) {
        assert_int_equal(vm_sides_decide(&native, VM_HERE_LEFT, there), VM_WAIT); /* migd stopped it itself */
        assert_int_equal(vm_sides_decide(&old, VM_HERE_RUNS, there), VM_IS_HERE);
        assert_int_equal(vm_sides_decide(&old, VM_HERE_LEFT, there), VM_WAIT);
    }
}

static void test_record(void **state)
{
    char dir[] = "/tmp/test-vm.XXXXXX", path[200];
    assert_non_null(mkdtemp(dir));
    _cleanup_free_ struct vm_xml *x = parsed(xml);
    struct vm_request q = request();
    q.options.on_stall = STALL_FORCE;
    q.options.timeout_usec = 7;
    struct vm_record r = {.id = "0123456789abcdef0123456789abcdef", .plan = planned(&q, x, true)};
    struct vm_record *list;
    size_t n;
    r.plan.defined_there = true;
    assert_int_equal(vm_record_list(dir, &list, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(vm_record_write(dir, &r, NULL), 0);
    snprintf(path, sizeof path, "%s/vm-migrations/00000000000000000000000000000000", dir);
    FILE *f = fopen(path, "w");
    fputs("{\"uuid\": 1}", f);
    fclose(f);
    assert_int_equal(vm_record_list(dir, &list, &n), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].id, r.id);
    assert_string_equal(list[0].plan.uuid, x->uuid);
    assert_string_equal(list[0].plan.destination_uri, r.plan.destination_uri);
    assert_int_equal(list[0].plan.flags, r.plan.flags);
    assert_true(list[0].plan.resume && list[0].plan.defined_there);
    assert_int_equal(list[0].plan.options.on_stall, STALL_FORCE);
    assert_int_equal(list[0].plan.options.timeout_usec, 7);
    free(list);
    vm_record_remove(dir, r.id);
    unlink(path);
    assert_int_equal(vm_record_list(dir, &list, &n), 0);
    assert_int_equal(n, 0);
    free(list);
    snprintf(path, sizeof path, "%s/vm-migrations", dir);
    rmdir(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml),           cmocka_unit_test(test_plan),
        cmocka_unit_test(test_plan_chooses),  cmocka_unit_test(test_plan_refuses),
        cmocka_unit_test(test_policy_stalls), cmocka_unit_test(test_policy_converges),
        cmocka_unit_test(test_many_passes),   cmocka_unit_test(test_record),
        cmocka_unit_test(test_sides),         cmocka_unit_test(test_sides_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
