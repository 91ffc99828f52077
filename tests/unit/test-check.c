/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The check of this side. Everything that makes start refuse is found by check before, in the same words:
 * each error is provoked, start must answer with it before anything was touched, and check must find it.
 * (That no code is left out here is seen by tests/lint/check-findings.) Then the warnings and notes.
 */
#include "../fake/fake-parts.h"
#include "../fake/two-sides.h"
#include "base/ratelimit.h"
#include "base/clock.h"
#include "config/config.h"
#include "migration/record.h"
#include "transport/security.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* ---- the two ways ---- */

struct stage {
    struct scene s;
    struct domain *domain; /* the source's */
    struct migration_options options;
    const char *destination;
    size_t whole; /* entries of memory that were hidden */
    struct rlimit limit;
};

static void set_up(struct stage *t, size_t ndevices)
{
    *t = (struct stage){0};
    make_scene(&t->s, ndevices);
    snprintf(t->s.source_dir, sizeof t->s.source_dir, "%s/s", t->s.dir);
    t->s.context =
        (struct outgoing_context){.loop = t->s.loop, .runtime_dir = t->s.source_dir, .decision_address = ""};
    t->domain = t->s.source.domain;
    t->destination = t->s.address; /* nobody listens there: who asks it anything is found out */
    migration_options_init(&t->options);
}

static void tear_down(struct stage *t)
{
    fault_only = NULL;
    atomic_store(&fault_countdown, 0);
    end_scene(&t->s);
}

static void check(struct stage *t, struct findings *f)
{
    struct check_request q;
    *f = (struct findings){0};
    outgoing_make_request(&q, &t->s.context, t->destination, &t->options);
    check_waive(f, &t->options);
    assert_int_equal(check_facts(t->domain, &q, f), 0);
    if (check_may_ask(t->domain))
        assert_int_equal(check_asks(t->domain, &q, false, f), 0);
}

static void ended(struct migration *m, void *userdata)
{
    loop_exit(((struct stage *)userdata)->s.loop, 0);
}

static void start(struct stage *t, struct mig_error *err)
{
    const struct migration_observer observer = {.ended = ended, .userdata = t};
    struct migration_status st;
    *err = MIG_ERROR_INIT;
    if (outgoing_start(&t->s.source.migration, &t->s.context, t->domain, t->destination, &t->options,
                       &observer, err) < 0)
        return;
    loop_timer_arm(t->s.patience, UINT64_C(10000000));
    loop_run(t->s.loop);
    assert_false(t->s.late);
    migration_get_status(t->s.source.migration, &st);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    *err = st.error;
}

static void nothing_was_touched(struct stage *t)
{
    struct record *records;
    size_t n;
    for (size_t i = 0; i < t->domain->ntrackers; i++)
        assert_false(t->domain->trackers[i]->started);
    for (size_t i = 0; i < 2; i++)
        if (t->s.source.device[i])
            assert_false(t->s.source.device[i]->logging);
    assert_true(t->s.source.controller->runs);
    if (record_list(t->s.source_dir, &records, &n) == 0) {
        assert_int_equal(n, 0);
        free(records);
    }
}

/* ---- provoking errors ---- */

static void eventfd_that_is_readable(int *ret)
{
    *ret = eventfd(1, EFD_CLOEXEC);
    assert_true(*ret > 0);
}

static void blind(struct stage *t)
{
    struct fake_container *c = fake_container_new("type1", "dma");
    c->says_everything = true;
    fake_container_add(t->domain, c, true);
    container_unref(&c->base);
}

static void tracking_refused(struct stage *t)
{
    struct fake_container *c = fake_container_new("iommufd", "dma");
    c->track_rc = -EOPNOTSUPP;
    fake_container_add(t->domain, c, true);
    container_unref(&c->base);
}

static void controller_gone(struct stage *t)
{
    fault_only = "alive";
}

static struct {
    struct controller_ops ops;
    const struct domain *domain;
    unsigned starts, stops;
    bool on, refuses;
} vmm;

static bool something_tracks(void)
{
    bool any = false;
    for (size_t i = 0; i < vmm.domain->ntrackers; i++)
        any |= vmm.domain->trackers[i]->started;
    return any;
}

static int start_log(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    vmm.starts++;
    assert_false(something_tracks()); /* what it writes until it logs must be in the first copy */
    if (vmm.refuses)
        return mig_error_set(err, MIG_ERR_CONTROLLER, 0, "no memory for a log");
    vmm.on = true;
    return 0;
}

static int stop_log(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    vmm.stops++;
    vmm.on = false;
    return 0;
}

static void vmm_with_a_log(struct stage *t)
{
    struct tracker *cpu;
    int fd = memfd_create("log", MFD_CLOEXEC);
    memset(&vmm, 0, sizeof vmm);
    vmm.domain = t->domain;
    vmm.ops = *t->s.source.controller->base.ops;
    vmm.ops.start_log = start_log;
    vmm.ops.stop_log = stop_log;
    t->s.source.controller->base.ops = &vmm.ops;
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_int_equal(tracker_new_cpu_log(&cpu, "cpu", t->s.source.region, fd, 0, REGION_PAGE_SIZE, NULL), 0);
    assert_int_equal(domain_add_tracker(t->domain, cpu, NULL, NULL), 0);
    close(fd);
}

static void vmm_log_refused(struct stage *t)
{
    vmm_with_a_log(t);
    vmm.refuses = true;
}

static void untracked_memory(struct stage *t)
{
    struct tracker *all;
    assert_int_equal(tracker_new_all(&all, "vhost", "vhost", &t->s.source.region, 1, NULL), 0);
    assert_int_equal(domain_add_tracker(t->domain, all, NULL, NULL), 0);
    t->options.bandwidth_bytes_per_sec = 1 << 20;
}

static void bad_address(struct stage *t)
{
    t->destination = "host:99999999";
}

/* A host that takes TLS, with nothing to show. */
static void no_certificate(struct stage *t)
{
    static struct security *security;
    struct config c;
    config_init(&c);
    assert_int_equal(config_set(&c, "Peer", "CertificateFolder", "/nonexistent", "test", NULL), 0);
    security_free(security);
    assert_int_equal(security_new(&security), 0);
    assert_int_equal(security_configure(security, &c, NULL), -ENOKEY);
    t->s.context.security = security;
    t->destination = "host:16509";
}

static void error_state(struct stage *t)
{
    t->s.source.device[0]->state = DEVICE_STATE_ERROR;
}

static void device_gone(struct stage *t)
{
    eventfd_that_is_readable(&t->s.source.device[0]->gone_fd);
}

static void log_refused(struct stage *t)
{
    fault_only = "log_start";
}

static void add_device(struct stage *t, struct device *device)
{
    const struct domain_device dd = {
        .device = device, .log_page_bytes = 4096, .automap = true, .tracker_container = true};
    assert_int_equal(domain_add_device(t->domain, &dd, NULL), 0);
    device_unref(device);
}

static void mediated(struct stage *t)
{
    struct fake_container *c = fake_container_new("iommufd", "dma");
    fake_container_add(t->domain, c, true);
    container_unref(&c->base);
    add_device(t, fake_mdev_new("mdev0", t->s.dir));
}

static void no_migration(struct stage *t)
{
    t->s.source.device[0]->info.migration_flags = 0;
}

static void no_p2p(struct stage *t)
{
    t->s.source.device[1]->info.migration_flags = DEVICE_MIGRATION_STOP_COPY;
}

static void silent(struct stage *t)
{
    fault_only = "get_state";
}

static void untracked_device(struct stage *t)
{
    struct fake_container *c = fake_container_new("type1", "dma");
    fake_container_add(t->domain, c, false);
    container_unref(&c->base);
    t->domain->devices[0].tracker_container = true;
}

static void broken(struct stage *t)
{
    domain_set_state(t->domain, DOMAIN_STATE_BROKEN, "device dev0 fell out");
}

static void busy(struct stage *t)
{
    assert_int_equal(domain_begin_job(t->domain, "AddUserDevice nic0", NULL), 0);
}

static void departed(struct stage *t)
{
    domain_set_state(t->domain, DOMAIN_STATE_DEPARTED, NULL);
}

static void in_doubt(struct stage *t)
{
    domain_set_state(t->domain, DOMAIN_STATE_IN_DOUBT, NULL);
}

static void incoming(struct stage *t)
{
    t->domain->incoming = true;
    domain_set_state(t->domain, DOMAIN_STATE_WAITING, NULL);
}

static void migrating(struct stage *t)
{
    if (!t->domain->borrowed)
        assert_int_equal(domain_borrow(t->domain, "0123", NULL), 0);
}

static void holder_gone(struct stage *t)
{
    struct fake_container *c = fake_container_new("type1", "dma");
    int fd;
    eventfd_that_is_readable(&fd);
    assert_int_equal(container_set_holder(&c->base, fd, NULL), 0);
    close(fd);
    fake_container_add(t->domain, c, true);
    container_unref(&c->base);
}

static void no_memory(struct stage *t)
{
    t->whole = t->domain->nmemory;
    t->domain->nmemory = 0;
}

static void memory_back(struct stage *t)
{
    t->domain->nmemory = t->whole;
}

/* Memory of a file that is not sealed. */
static int add_memory(struct stage *t, const char *name, int fd, bool writable, uint64_t iova)
{
    struct region *r;
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(region_new_from_fd(&r, name, fd, 0, 0, writable, NULL), 0);
    assert_int_equal(domain_add_memory(t->domain, r, &iova, iova ? 1 : 0, NULL), 0);
    region_unref(r);
    return fd;
}

static void truncated(struct stage *t)
{
    int fd = add_memory(t, "short", memfd_create("short", MFD_CLOEXEC), true, 1 << 30);
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
}

static void few_descriptors(struct stage *t)
{
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &t->limit), 0);
    int next = dup(0);
    close(next);
    const struct rlimit low = {.rlim_cur = (rlim_t)next + 14, .rlim_max = t->limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void many_descriptors(struct stage *t)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &t->limit), 0);
}

static void no_records(struct stage *t)
{
    char path[160];
    snprintf(path, sizeof path, "%s/migrations", t->s.source_dir);
    assert_int_equal(rmdir(path), 0);
}

static void tracker_refused(struct stage *t)
{
    fake_tracker_add(t->domain, "cpu0", -ESRCH, 4096);
}

static const struct provocation {
    enum finding_code code;
    const char *subject; /* NULL: that of the code is not looked at */
    void (*provoke)(struct stage *t);
    void (*mend)(struct stage *t); /* before everything is taken apart */
    enum mig_error_code error;
    bool by_fault; /* one call fails, each time */
} provocations[] = {
    {FINDING_CONTAINER_BLIND, "dma", blind, NULL, MIG_ERR_STALLED, false},
    {FINDING_CONTAINER_TRACKING_REFUSED, "dma", tracking_refused, NULL, MIG_ERR_TRACKER, false},
    {FINDING_CONTROLLER_GONE, "dom", controller_gone, NULL, MIG_ERR_DEVICE, true},
    {FINDING_CONTROLLER_LOG_REFUSED, "dom", vmm_log_refused, NULL, MIG_ERR_CONTROLLER, false},
    {FINDING_CONVERGENCE_IMPOSSIBLE, "dom", untracked_memory, NULL, MIG_ERR_STALLED, false},
    {FINDING_DESTINATION_INVALID, "host:99999999", bad_address, NULL, MIG_ERR_INVALID_ARGUMENT, false},
    {FINDING_DEVICE_ERROR_STATE, "dev0", error_state, NULL, MIG_ERR_DEVICE_BROKEN, false},
    {FINDING_DEVICE_GONE, "dev0", device_gone, NULL, MIG_ERR_DEVICE_GONE, false},
    {FINDING_DEVICE_LOG_REFUSED, "dev0", log_refused, NULL, MIG_ERR_DEVICE, true},
    {FINDING_DEVICE_MDEV_UNTRACKED, "mdev0", mediated, NULL, MIG_ERR_NOT_SUPPORTED, false},
    {FINDING_DEVICE_NO_MIGRATION, "dev0", no_migration, NULL, MIG_ERR_NOT_SUPPORTED, false},
    {FINDING_DEVICE_NO_P2P, "dev1", no_p2p, NULL, MIG_ERR_NOT_SUPPORTED, false},
    {FINDING_DEVICE_SILENT, "dev0", silent, NULL, MIG_ERR_DEVICE, true},
    {FINDING_DEVICE_UNTRACKED, "dev0", untracked_device, NULL, MIG_ERR_NOT_SUPPORTED, false},
    {FINDING_DOMAIN_BROKEN, "dom", broken, NULL, MIG_ERR_WRONG_STATE, false},
    {FINDING_DOMAIN_BUSY, "dom", busy, NULL, MIG_ERR_BUSY, false},
    {FINDING_DOMAIN_DEPARTED, "dom", departed, NULL, MIG_ERR_WRONG_STATE, false},
    {FINDING_DOMAIN_IN_DOUBT, "dom", in_doubt, NULL, MIG_ERR_WRONG_STATE, false},
    {FINDING_DOMAIN_INCOMING, "dom", incoming, NULL, MIG_ERR_WRONG_STATE, false},
    {FINDING_DOMAIN_MIGRATING, "dom", migrating, NULL, MIG_ERR_BUSY, false},
    {FINDING_HOLDER_GONE, "dma", holder_gone, NULL, MIG_ERR_DEVICE_GONE, false},
    {FINDING_MEMORY_NONE, "dom", no_memory, memory_back, MIG_ERR_WRONG_STATE, false},
    {FINDING_MEMORY_TRUNCATED, "short", truncated, NULL, MIG_ERR_FAILED, false},
    {FINDING_MIGD_DESCRIPTORS, "", few_descriptors, many_descriptors, MIG_ERR_LIMIT, false},
    {FINDING_RUNTIME_DIR, NULL, no_records, NULL, MIG_ERR_FAILED, false},
    {FINDING_TLS_CREDENTIALS, "host:16509", no_certificate, NULL, MIG_ERR_CREDENTIALS, false},
    {FINDING_TRACKER_REFUSED, "cpu0", tracker_refused, NULL, MIG_ERR_TRACKER, false},
};

static void arm(const struct provocation *p)
{
    atomic_store(&fault_countdown, p->by_fault ? 1 : 0);
}

static void provoke(const struct provocation *p)
{
    struct stage t;
    struct mig_error err;
    struct findings f;
    set_up(&t, 2);
    p->provoke(&t);
    arm(p);
    check(&t, &f);
    arm(p);
    start(&t, &err); /* after it: a dead device is noticed then, and the domain is broken */
    const struct finding *first = findings_first_error(&f);
    if (!first || first->code != p->code)
        fail_msg("%s: check finds %s", finding_code_to_string(p->code), first ? first->message : "no error");
    print_message("%s: %s\n", first->word, first->message);
    if (p->subject)
        assert_string_equal(first->subject, p->subject);
    assert_string_equal(err.message, first->message);
    if (err.code != p->error)
        fail_msg("%s: start says %s", first->word, mig_error_word(err.code));
    assert_non_null(strstr(err.hint, first->word));
    if (p->mend)
        p->mend(&t);
    nothing_was_touched(&t);
    findings_clear(&f);
    int *gone = &t.s.source.device[0]->gone_fd;
    if (*gone)
        close(*gone);
    *gone = 0;
    tear_down(&t);
}

static void what_start_refuses_is_found_before(void **state)
{
    for (size_t i = 0; i < ELEMENTS(provocations); i++)
        provoke(&provocations[i]);
}

static void a_healthy_domain_has_no_error(void **state)
{
    struct stage t;
    struct findings f;
    set_up(&t, 2);
    check(&t, &f);
    for (size_t i = 0; i < f.count; i++)
        if (f.items[i].severity == FINDING_ERROR)
            fail_msg("%s", f.items[i].message);
    nothing_was_touched(&t);
    findings_clear(&f);
    tear_down(&t);
}

/* The log costs the guest: a check asks for it and gives it back, and does not ask who is not there. */
static void the_log_of_a_vmm_is_on_for_a_moment(void **state)
{
    struct stage t;
    struct findings f;
    set_up(&t, 1);
    vmm_with_a_log(&t);
    check(&t, &f);
    assert_null(findings_first_error(&f));
    findings_clear(&f);
    assert_int_equal(vmm.starts, 1);
    assert_true(vmm.stops >= 1);
    assert_false(vmm.on);
    nothing_was_touched(&t);
    fault_only = "alive";
    atomic_store(&fault_countdown, 1);
    check(&t, &f);
    assert_int_equal(findings_first_error(&f)->code, FINDING_CONTROLLER_GONE);
    findings_clear(&f);
    assert_int_equal(vmm.starts, 1);
    tear_down(&t);
}

static const struct finding *find(const struct findings *f, enum finding_code code)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].code == code)
            return &f->items[i];
    return NULL;
}

/* The operator's word turns the error into a warning, and start goes on: to the peer, which is not there. */
static void expect_waived(struct stage *t, enum finding_code code)
{
    struct findings f;
    struct mig_error err;
    check(t, &f);
    assert_null(findings_first_error(&f));
    assert_non_null(find(&f, code));
    assert_int_equal(find(&f, code)->severity, FINDING_WARNING);
    start(t, &err);
    assert_int_equal(err.code, MIG_ERR_PEER_UNREACHABLE);
    findings_clear(&f);
    nothing_was_touched(t);
}

static void what_does_not_converge_can_be_forced(void **state)
{
    struct stage t;
    set_up(&t, 1);
    blind(&t);
    t.options.on_stall = STALL_FORCE;
    expect_waived(&t, FINDING_CONTAINER_BLIND);
    tear_down(&t);
    set_up(&t, 1);
    untracked_memory(&t);
    t.options.on_stall = STALL_WAIT;
    expect_waived(&t, FINDING_CONVERGENCE_IMPOSSIBLE);
    tear_down(&t);
    set_up(&t, 2);
    no_p2p(&t);
    t.options.allow[FINDING_DEVICE_NO_P2P] = true;
    expect_waived(&t, FINDING_DEVICE_NO_P2P);
    tear_down(&t);
}

static uint64_t slow(const char *destination, void *userdata)
{
    return strcmp(destination, *(const char **)userdata) == 0 ? 1 << 20 : 0;
}

/* An estimate goes by what is known: of the link, of the cap, of holes. */
static void estimates_go_by_what_is_known(void **state)
{
    struct stage t;
    struct findings f;
    set_up(&t, 1);
    untracked_memory(&t);
    t.options.bandwidth_bytes_per_sec = 0;
    check(&t, &f);
    assert_null(find(&f, FINDING_CONVERGENCE_IMPOSSIBLE));
    assert_non_null(find(&f, FINDING_BANDWIDTH_ASSUMED));
    assert_non_null(strstr(find(&f, FINDING_TRACKER_ALL)->message, "assumed"));
    findings_clear(&f);
    /* The cap over all migrations counts as one of its own does. */
    _cleanup_(ratelimit_freep) struct ratelimit *total = NULL;
    assert_int_equal(ratelimit_new(&total, 1 << 20), 0);
    t.s.context.total = total;
    check(&t, &f);
    assert_non_null(find(&f, FINDING_CONVERGENCE_IMPOSSIBLE));
    assert_null(find(&f, FINDING_BANDWIDTH_ASSUMED));
    findings_clear(&f);
    t.s.context.total = NULL;
    t.s.context.known_bandwidth = slow;
    t.s.context.userdata = &t.destination;
    check(&t, &f);
    assert_non_null(find(&f, FINDING_CONVERGENCE_IMPOSSIBLE));
    assert_null(find(&f, FINDING_BANDWIDTH_ASSUMED));
    findings_clear(&f);
    t.options.max_downtime_usec = 60 * USEC_PER_SEC;
    check(&t, &f);
    assert_null(find(&f, FINDING_CONVERGENCE_IMPOSSIBLE));
    findings_clear(&f);
    /* Holes are sent as such. */
    t.options.max_downtime_usec = 300 * USEC_PER_MSEC;
    assert_int_equal(
        fallocate(t.s.source.region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)MEMORY_BYTES),
        0);
    check(&t, &f);
    assert_null(find(&f, FINDING_CONVERGENCE_IMPOSSIBLE));
    findings_clear(&f);
    tear_down(&t);
}

/* ---- warnings and notes ---- */

static void expect(struct stage *t, enum finding_code code, const char *subject)
{
    struct findings f;
    check(t, &f);
    for (size_t i = 0; i < f.count; i++)
        if (f.items[i].code == code && strcmp(f.items[i].subject, subject) == 0) {
            print_message("%s: %s\n", f.items[i].word, f.items[i].message);
            findings_clear(&f);
            return;
        }
    fail_msg("%s of '%s' is not found", finding_code_to_string(code), subject);
}

static void expect_not(struct stage *t, enum finding_code code)
{
    struct findings f;
    check(t, &f);
    assert_null(find(&f, code));
    findings_clear(&f);
}

static void memory_is_looked_at(void **state)
{
    struct stage t;
    char path[] = "test-check-XXXXXX"; /* in the build folder, which is on a disk as a rule */
    set_up(&t, 1);
    expect_not(&t, FINDING_MEMORY_CAN_SHRINK);
    close(add_memory(&t, "open", memfd_create("open", MFD_CLOEXEC), true, 1 << 30));
    expect(&t, FINDING_MEMORY_CAN_SHRINK, "open");
    expect_not(&t, FINDING_MEMORY_ON_DISK);
    expect_not(&t, FINDING_MEMORY_UNMAPPED);
    int fd = mkstemp(path);
    add_memory(&t, "file", fd, false, 0);
    expect(&t, FINDING_MEMORY_READ_ONLY, "file");
    expect(&t, FINDING_MEMORY_UNMAPPED, "file");
    struct statfs fs;
    assert_int_equal(fstatfs(fd, &fs), 0);
    if (fs.f_type != TMPFS_MAGIC)
        expect(&t, FINDING_MEMORY_ON_DISK, "file");
    /* The path leads to it, then nowhere, then to another file. */
    struct region *r = domain_find_memory(t.domain, "file")->region;
    r->origin = strdup(path);
    t.domain->saved = true;
    expect(&t, FINDING_DOMAIN_NOT_RESTORABLE, "open");
    struct findings f;
    check(&t, &f);
    for (size_t i = 0; i < f.count; i++)
        assert_false(f.items[i].code == FINDING_DOMAIN_NOT_RESTORABLE &&
                     strcmp(f.items[i].subject, "file") == 0);
    findings_clear(&f);
    unlink(path);
    expect(&t, FINDING_DOMAIN_NOT_RESTORABLE, "file");
    close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    expect(&t, FINDING_DOMAIN_NOT_RESTORABLE, "file");
    expect_not(&t, FINDING_DOMAIN_UNSAVED);
    t.domain->saved = false;
    unlink(path);
    close(fd);
    tear_down(&t);
}

static void devices_are_looked_at(void **state)
{
    struct stage t;
    set_up(&t, 1);
    struct fake_device *d = t.s.source.device[0];
    expect_not(&t, FINDING_DEVICE_NO_PRECOPY);
    expect_not(&t, FINDING_DEVICE_STATE_LARGE);
    d->info.migration_flags = DEVICE_MIGRATION_STOP_COPY;
    expect(&t, FINDING_DEVICE_NO_PRECOPY, "dev0");
    d->state = DEVICE_STATE_STOP;
    expect(&t, FINDING_DEVICE_NOT_RUNNING, "dev0");
    d->info.has_stop_copy_size = true;
    d->stop_copy_bytes = 200 << 20; /* 168 ms at 10 Gbit/s */
    expect(&t, FINDING_DEVICE_STATE_LARGE, "dev0");
    expect_not(&t, FINDING_CONVERGENCE_IMPOSSIBLE);
    d->stop_copy_bytes = 400 << 20;
    expect(&t, FINDING_CONVERGENCE_IMPOSSIBLE, "dom");
    expect_not(&t, FINDING_DEVICE_UNMAPPED);
    iova_map_clear(d->base.map);
    expect(&t, FINDING_DEVICE_UNMAPPED, "dev0");
    tear_down(&t);
}

static void containers_and_trackers_are_looked_at(void **state)
{
    struct stage t;
    set_up(&t, 1);
    struct fake_container *full = fake_container_new("iommufd", "full"),
                          *empty = fake_container_new("type1", "empty");
    fake_container_add(t.domain, full, true);
    fake_container_add(t.domain, empty, false);
    expect(&t, FINDING_CONTAINER_UNMAPPED, "empty");
    expect_not(&t, FINDING_CONTAINER_PARTIAL);
    full->base.partial = true;
    expect(&t, FINDING_CONTAINER_PARTIAL, "full");
    expect_not(&t, FINDING_CONTAINER_COARSE);
    t.s.source.region->file_page_bytes = 2 << 20;
    expect(&t, FINDING_CONTAINER_COARSE, "full");
    t.s.source.region->file_page_bytes = REGION_PAGE_SIZE;
    container_unref(&full->base);
    container_unref(&empty->base);
    expect(&t, FINDING_CPU_UNTRACKED, "ram");
    expect_not(&t, FINDING_TRACKER_COARSE);
    fake_tracker_add(t.domain, "cpu0", 0, 65536);
    expect(&t, FINDING_TRACKER_COARSE, "cpu0");
    expect_not(&t, FINDING_CPU_UNTRACKED);
    tear_down(&t);
}

static void trackers_by_digests_have_a_price(void **state)
{
    struct stage t;
    struct tracker *digests;
    set_up(&t, 1);
    expect_not(&t, FINDING_TRACKER_READS_MEMORY);
    assert_int_equal(tracker_new_digests(&digests, "cpu-ram", t.s.source.region, NULL), 0);
    assert_int_equal(domain_add_tracker(t.domain, digests, NULL, NULL), 0);
    expect(&t, FINDING_TRACKER_READS_MEMORY, "cpu-ram");
    expect_not(&t, FINDING_CPU_UNTRACKED);
    tear_down(&t);
}

static void the_rest_is_looked_at(void **state)
{
    struct stage t;
    struct controller *none;
    set_up(&t, 1);
    expect(&t, FINDING_DOMAIN_UNSAVED, "dom");
    expect(&t, FINDING_LISTENER_OFF, "");
    t.s.context.decision_address = "here:1";
    expect_not(&t, FINDING_LISTENER_OFF);
    expect_not(&t, FINDING_TRANSPORT_PLAIN);
    t.destination = "host:16509";
    expect(&t, FINDING_TRANSPORT_PLAIN, "host:16509");
    t.options.gate = GATE_OFF;
    expect(&t, FINDING_GATE_OFF, "");
    t.options.verify = VERIFY_STRICT;
    expect_not(&t, FINDING_GATE_OFF);
    expect_not(&t, FINDING_HOST_MEMORY_SHORT);
    uint64_t npages = t.s.source.region->npages;
    t.s.source.region->npages = UINT64_C(1) << 50;
    expect(&t, FINDING_HOST_MEMORY_SHORT, "");
    t.s.source.region->npages = npages;
    t.options.max_downtime_usec = 1000;
    expect(&t, FINDING_DOWNTIME_SHORT, "dom");
    expect_not(&t, FINDING_CONTROLLER_NONE);
    assert_int_equal(controller_new_none(&none, NULL), 0);
    assert_int_equal(domain_set_controller(t.domain, none, NULL, NULL), 0);
    controller_unref(none);
    expect(&t, FINDING_CONTROLLER_NONE, "dom");
    expect_not(&t, FINDING_CPU_UNTRACKED);
    tear_down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_start_refuses_is_found_before),
        cmocka_unit_test(a_healthy_domain_has_no_error),
        cmocka_unit_test(the_log_of_a_vmm_is_on_for_a_moment),
        cmocka_unit_test(what_does_not_converge_can_be_forced),
        cmocka_unit_test(estimates_go_by_what_is_known),
        cmocka_unit_test(memory_is_looked_at),
        cmocka_unit_test(devices_are_looked_at),
        cmocka_unit_test(containers_and_trackers_are_looked_at),
        cmocka_unit_test(trackers_by_digests_have_a_price),
        cmocka_unit_test(the_rest_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
