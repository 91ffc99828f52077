/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's client library with its test driver: the event loop, connections, a check. Skipped without it. */
#include "base/clock.h"
#include "base/fds.h"
#include "libvirt/virt-events.h"
#include "libvirt/virt-link.h"
#include "libvirt/vm-check.h"
#include "libvirt/vm-engine.h"
#include "libvirt/vm-record.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NODE "test:///default"

/* ---- the event loop: through libvirt's own face of it ---- */

static struct {
    __typeof__(&virEventAddHandle) add_handle;
    __typeof__(&virEventUpdateHandle) update_handle;
    __typeof__(&virEventRemoveHandle) remove_handle;
    __typeof__(&virEventAddTimeout) add_timeout;
    __typeof__(&virEventUpdateTimeout) update_timeout;
    __typeof__(&virEventRemoveTimeout) remove_timeout;
} lib;

struct events {
    struct loop *loop;
    int pipe[2], handle, timer;
    unsigned read, fired, freed;
    struct worker *worker;
};

static void on_free(void *opaque)
{
    ((struct events *)opaque)->freed++;
}

static void on_readable(int id, int fd, int events, void *opaque)
{
    struct events *e = opaque;
    char byte;
    assert_int_equal(fd, e->pipe[0]);
    assert_true(events & VIR_EVENT_HANDLE_READABLE);
    assert_int_equal(read(fd, &byte, 1), 1);
    e->read++;
}

static void on_timer(int id, void *opaque)
{
    ((struct events *)opaque)->fired++;
}

/* All from a thread that is not the loop's, as libvirt does it. */
static int use_events(struct worker *w, void *userdata)
{
    struct events *e = userdata;
    e->handle = lib.add_handle(e->pipe[0], 0, on_readable, e, on_free);
    usleep(50000);
    lib.update_handle(e->handle, VIR_EVENT_HANDLE_READABLE);
    e->timer = lib.add_timeout(-1, on_timer, e, on_free);
    write(e->pipe[1], "a", 1);
    usleep(100000);
    lib.update_handle(e->handle, 0);
    write(e->pipe[1], "b", 1);
    usleep(100000);
    lib.update_handle(e->handle, VIR_EVENT_HANDLE_READABLE);
    lib.update_timeout(e->timer, 10);
    usleep(200000);
    lib.remove_timeout(e->timer);
    lib.remove_handle(e->handle);
    assert_int_equal(lib.remove_handle(e->handle), -1);
    usleep(100000);
    return 0;
}

static void used_events(void *userdata, int result)
{
    struct events *e = userdata;
    e->worker = worker_free(e->worker);
    loop_exit(e->loop, 0);
}

static void test_events(void **state)
{
    struct events e = {0};
    assert_int_equal(loop_new(&e.loop), 0);
    assert_int_equal(pipe(e.pipe), 0);
    virt_events_use(e.loop);
    assert_int_equal(virt_events_start(NULL), 0);
    assert_int_equal(worker_start(&e.worker, e.loop, "test", use_events, used_events, &e), 0);
    assert_int_equal(loop_run(e.loop), 0);
    assert_int_equal(e.read, 2); /* "b" came while nobody wanted it, and was not lost */
    assert_true(e.fired >= 5);
    assert_int_equal(e.freed, 2);
    virt_events_use(NULL);
    loop_free(e.loop);
    close(e.pipe[0]);
    close(e.pipe[1]);
}

/* ---- connections ---- */

static void test_link(void **state)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct virt_link *l = NULL;
    virDomainPtr d = NULL;
    assert_int_equal(virt_link_open(&l, NODE, &err), 0);
    assert_true(virt_link_lives(l));
    assert_int_equal(virt_link_domain(l, "test", NULL, &d, &err), 0);
    virt.virDomainFree(d);
    assert_int_equal(virt_link_domain(l, "nobody", NULL, &d, &err), -ENOENT);
    assert_int_equal(err.code, MIG_ERR_NO_SUCH_DOMAIN);
    assert_int_equal(virt_link_renew(l, 0, -1, NULL), 0);
    virt_link_free(l);
    assert_false(virt_link_lives(NULL));

    err = MIG_ERROR_INIT;
    assert_true(virt_link_open(&l, "qemu+unix:///system?socket=/nowhere", &err) < 0);
    assert_int_equal(err.code, MIG_ERR_PEER_UNREACHABLE);
    assert_non_null(strstr(err.hint, "virsh -c"));

    /* A host that does not answer is given up soon, whatever libvirt would do: nobody has this address. */
    uint64_t began = now_usec();
    err = MIG_ERROR_INIT;
    assert_true(virt_link_open(&l, "qemu+tls://user@192.0.2.1/system", &err) < 0);
    assert_int_equal(err.code, MIG_ERR_PEER_UNREACHABLE);
    assert_non_null(strstr(err.message, "192.0.2.1:16514"));
    assert_true(now_usec() - began < 8 * USEC_PER_SEC);
    err = MIG_ERROR_INIT;
    assert_true(virt_link_open(&l, "qemu+tcp://[::1]:9/system", &err) < 0);
    assert_non_null(strstr(err.message, "[::1]:9"));
}

static void test_list(void **state)
{
    struct vm_summary *list;
    size_t n;
    assert_int_equal(vm_list(NODE, &list, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].name, "test");
    assert_string_equal(list[0].state, "running");
    assert_true(list[0].active && list[0].persistent && list[0].memory_bytes > 0);
    free(list);
}

static bool has(const struct findings *f, enum finding_code code, bool destination)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].code == code && f->items[i].destination == destination)
            return true;
    return false;
}

/* ---- the check, of a domain in a driver's memory: each connection to test:///default is a host of its own
 * ---- */

static void check(struct vm_request *q, struct findings *f, struct vm_plan *p)
{
    struct mig_error err = MIG_ERROR_INIT;
    snprintf(q->uri, sizeof q->uri, NODE);
    snprintf(q->name, sizeof q->name, "test");
    if (vm_check(q, p, f, &err) < 0)
        fail_msg("%s", err.message);
}

static void test_check(void **state)
{
    struct vm_request q = {.host = "hostb", .destination_uri = NODE};
    struct findings f = {0};
    struct vm_plan p;
    migration_options_init(&q.options);
    migration_options_init(&q.defaults);
    q.options.verify = VERIFY_STRICT;
    check(&q, &f, &p);
    assert_string_equal(p.name, "test");
    assert_true(has(&f, FINDING_VM_EXISTS, true)); /* the other one has it as well */
    assert_true(has(&f, FINDING_VM_OPTION_UNSUPPORTED, false));
    assert_true(has(&f, FINDING_VM_DEFINITION_STAYS, false));
    assert_true(has(&f, FINDING_TRANSPORT_PLAIN, false));
    assert_false(has(&f, FINDING_VM_DESTINATION_UNREACHABLE, true));
    findings_clear(&f);

    snprintf(q.destination_uri, sizeof q.destination_uri, "qemu+unix:///system?socket=/nowhere/%%h");
    q.options.verify = VERIFY_OFF;
    q.persistent = q.undefine_source = q.tls = true;
    check(&q, &f, &p);
    assert_int_equal(f.count, 2);
    assert_true(has(&f, FINDING_VM_DISK_LOCAL, false)); /* that of the test driver */
    assert_true(has(&f, FINDING_VM_DESTINATION_UNREACHABLE, true));
    findings_clear(&f);

    struct mig_error err = MIG_ERROR_INIT;
    snprintf(q.name, sizeof q.name, "nobody");
    assert_true(vm_check(&q, &p, &f, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_NO_SUCH_DOMAIN);
}

/* ---- a migration that the driver refuses, and one that a daemon before us began: the guest runs here ----
 */

static void on_ended(struct migration *m, void *userdata)
{
    loop_exit(userdata, 0);
}

static struct migration *taken;

static void on_taken_up(struct migration *m, void *userdata)
{
    taken = migration_ref(m);
}

static void ends_here(struct loop *loop, struct migration *m, const char *runtime_dir)
{
    struct migration_status st;
    struct vm_record *records;
    size_t n;
    loop_run(loop);
    migration_get_status(m, &st);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    assert_int_equal(st.phase, MIG_PHASE_DONE);
    assert_string_equal(st.engine, "libvirt");
    assert_non_null(strstr(st.verdict, "runs on here"));
    assert_false(st.paused);
    assert_true(mig_error_is_set(&st.error));
    migration_unref(m);
    assert_int_equal(vm_record_list(runtime_dir, &records, &n), 0);
    assert_int_equal(n, 0);
    free(records);
}

static void test_engine(void **state)
{
    char dir[] = "/tmp/test-virt.XXXXXX", path[100], empty[100];
    struct vm_request q = {.host = "hostb"};
    struct findings f = {0};
    struct vm_plan p;
    struct loop *loop;
    struct migration *m;
    assert_non_null(mkdtemp(dir));
    snprintf(empty, sizeof empty, "%s/empty.xml", dir); /* a host without a domain */
    snprintf(q.destination_uri, sizeof q.destination_uri, "test://%s", empty);
    assert_int_equal(write_file_atomic(empty, "<node/>", 7), 0);
    assert_int_equal(loop_new(&loop), 0);
    virt_events_use(loop);
    migration_options_init(&q.options);
    check(&q, &f, &p);
    findings_clear(&f);
    const struct vm_context context = {.loop = loop, .runtime_dir = dir};
    const struct migration_observer observer = {.ended = on_ended, .userdata = loop};
    assert_int_equal(vm_engine_start(&m, &context, &p, &observer, NULL), 0);
    ends_here(loop, m, dir);

    const struct vm_record record = {.id = "0123456789abcdef0123456789abcdef", .plan = p};
    assert_int_equal(vm_record_write(dir, &record, NULL), 0);
    vm_engine_recover(&context, &observer, on_taken_up, NULL);
    assert_non_null(taken);
    assert_string_equal(migration_id(taken), record.id);
    ends_here(loop, taken, dir);

    virt_events_use(NULL);
    loop_free(loop);
    unlink(empty);
    snprintf(path, sizeof path, "%s/vm-migrations", dir);
    rmdir(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events), cmocka_unit_test(test_link),   cmocka_unit_test(test_list),
        cmocka_unit_test(test_check),  cmocka_unit_test(test_engine),
    };
    struct mig_error err = MIG_ERROR_INIT;
    void *handle = dlopen("libvirt.so.0", RTLD_NOW);
    if (!handle || virt_library_load(&err) < 0) {
        printf("1..0 # SKIP %s\n", handle ? err.message : dlerror());
        return 77;
    }
    lib.add_handle = (__typeof__(lib.add_handle))dlsym(handle, "virEventAddHandle");
    lib.update_handle = (__typeof__(lib.update_handle))dlsym(handle, "virEventUpdateHandle");
    lib.remove_handle = (__typeof__(lib.remove_handle))dlsym(handle, "virEventRemoveHandle");
    lib.add_timeout = (__typeof__(lib.add_timeout))dlsym(handle, "virEventAddTimeout");
    lib.update_timeout = (__typeof__(lib.update_timeout))dlsym(handle, "virEventUpdateTimeout");
    lib.remove_timeout = (__typeof__(lib.remove_timeout))dlsym(handle, "virEventRemoveTimeout");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
