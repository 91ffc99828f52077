/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A check of a destination: what differs is found and told, nothing is touched on either side, and what makes
 * a start refuse is what the check finds. The source's question is asked by a thread of the test, as a worker
 * does; the destination is the real listener on the loop of the main thread.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include "outgoing/check-peer.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

/* ---- asking ---- */

struct question {
    struct scene *scene;
    const char *address;
    struct migration_options options;
    int cancel_fd;
    struct findings found;
    struct mig_error error;
    int result;
};

static void is_answered(void *userdata)
{
    struct question *q = userdata;
    loop_exit(q->scene->loop, 0);
}

static void *ask_thread(void *userdata)
{
    struct question *q = userdata;
    q->result = outgoing_check_peer(NULL, q->scene->source.domain, q->address, &q->options, q->cancel_fd,
                                    &q->found, &q->error);
    assert_int_equal(loop_post(q->scene->loop, is_answered, q), 0);
    return NULL;
}

static void ask(struct question *q)
{
    pthread_t thread;
    findings_clear(&q->found);
    q->error = MIG_ERROR_INIT;
    assert_int_equal(pthread_create(&thread, NULL, ask_thread, q), 0);
    loop_run(q->scene->loop);
    pthread_join(thread, NULL);
}

static void begin(struct question *q, struct scene *s, size_t ndevices)
{
    make_scene(s, ndevices);
    scene_listen(s);
    *q = (struct question){.scene = s, .address = s->address, .cancel_fd = -1};
    migration_options_init(&q->options);
}

/* The other side is as it was: it waits, nothing is borrowed, no device has moved, no migration appeared. */
static void check_untouched(const struct scene *s, size_t ndevices)
{
    const struct side *d = &s->destination;
    assert_int_equal(d->domain->state, DOMAIN_STATE_WAITING);
    assert_false(d->domain->borrowed);
    assert_null(d->migration);
    for (size_t i = 0; i < ndevices; i++)
        assert_int_equal(d->device[i]->state, DEVICE_STATE_STOP);
    assert_true(side_runs_whole(&s->source, ndevices));
}

static void end(struct question *q, size_t ndevices)
{
    check_untouched(q->scene, ndevices);
    findings_clear(&q->found);
    end_scene(q->scene);
}

static const struct finding *find(const struct question *q, const char *code, const char *subject)
{
    for (size_t i = 0; i < q->found.count; i++)
        if (strcmp(q->found.items[i].word, code) == 0 &&
            (!subject || strcmp(q->found.items[i].subject, subject) == 0))
            return &q->found.items[i];
    return NULL;
}

static void expect(const struct question *q, const char *code, enum finding_severity severity,
                   const char *subject, const char *words)
{
    const struct finding *f = find(q, code, subject);
    if (q->result < 0)
        fail_msg("%s: %s", code, q->error.message);
    if (!f)
        fail_msg("%s was not found", code);
    if (f->severity != severity || !f->destination || !strstr(f->message, words) || !f->remedy[0])
        fail_msg("%s: %s, at the destination %d: %s. %s", code, finding_severity_to_string(f->severity),
                 f->destination, f->message, f->remedy);
}

static void expect_no_errors(const struct question *q)
{
    const struct finding *f = findings_first_error(&q->found);
    if (q->result < 0 || f)
        fail_msg("%s", f ? f->message : q->error.message);
}

/* What a start is refused with is what the check said first. */
static void expect_refusal(struct question *q)
{
    struct migration_status st;
    struct scene *s = q->scene;
    const struct finding *first = findings_first_error(&q->found);
    assert_non_null(first);
    incoming_free(s->incoming);
    s->incoming = NULL;
    assert_int_equal(run_scene(s, &q->options, NULL), 0);
    migration_get_status(s->source.migration, &st);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    if (!strstr(st.error.message, first->message) || !strstr(st.error.hint, first->word))
        fail_msg("start says: %s. %s; check said: %s", st.error.message, st.error.hint, first->message);
    assert_true(side_runs_whole(&s->source, 1));
    assert_int_equal(s->source.domain->state, DOMAIN_STATE_RUNNING);
}

static void end_refused(struct question *q)
{
    findings_clear(&q->found);
    end_scene(q->scene);
}

/* ---- what is found ---- */

static void two_alike(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 2);
    ask(&q);
    expect_no_errors(&q);
    assert_int_equal(findings_count(&q.found, FINDING_WARNING), 0);
    end(&q, 2);
}

static void another_name_of_the_domain(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    snprintf(q.options.peer_domain, sizeof q.options.peer_domain, "other");
    ask(&q);
    expect(&q, "domain-unknown-at-destination", FINDING_ERROR, "other", "other is not registered");
    assert_int_equal(findings_count(&q.found, FINDING_ERROR), 1);
    end(&q, 1);
}

static void a_domain_that_does_not_wait(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    domain_set_state(s.destination.domain, DOMAIN_STATE_RUNNING, NULL);
    ask(&q);
    expect(&q, "domain-not-incoming", FINDING_ERROR, "dom", "running");
    domain_set_state(s.destination.domain, DOMAIN_STATE_BROKEN, "the device caught fire");
    ask(&q);
    expect(&q, "domain-broken-at-destination", FINDING_ERROR, "dom", "caught fire");
    domain_set_state(s.destination.domain, DOMAIN_STATE_WAITING, NULL);
    assert_int_equal(domain_begin_job(s.destination.domain, "AddMemory x", NULL), 0);
    ask(&q);
    expect(&q, "domain-busy-at-destination", FINDING_ERROR, "dom", "AddMemory x");
    domain_end_job(s.destination.domain);
    end(&q, 1);
}

static struct region *add_region(struct side *side, const char *name, uint64_t size, const uint64_t *iova)
{
    struct region *r;
    assert_int_equal(region_new_made(&r, name, size, 0, -1, NULL), 0);
    assert_int_equal(domain_add_memory(side->domain, r, iova, iova ? 1 : 0, NULL), 0);
    region_unref(r); /* the domain's reference stays */
    return r;
}

static void all_differences_at_once(void **state)
{
    static const uint64_t here = 0x40000000, there = 0x80000000;
    struct question q;
    struct scene s;
    begin(&q, &s, 2);
    add_region(&s.source, "only-there", 65536, NULL);
    add_region(&s.destination, "only-here", 65536, NULL);
    add_region(&s.source, "sized", 65536, NULL);
    add_region(&s.destination, "sized", 131072, NULL);
    add_region(&s.source, "moved", 65536, &here);
    add_region(&s.destination, "moved", 65536, &there);
    struct device_info *mine = &s.destination.device[0]->info, *other = &s.destination.device[1]->info;
    mine->pci_vendor = 0x1234;
    mine->pci_revision = 7;
    mine->num_irqs = 3;
    mine->migration_flags = DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_PRE_COPY;
    s.source.device[1]->info.migration_flags &= ~(uint32_t)DEVICE_MIGRATION_P2P; /* so nobody asks for it */
    other->kind = "vfio";
    struct controller *none;
    assert_int_equal(controller_new_none(&none, NULL), 0);
    assert_int_equal(domain_set_controller(s.destination.domain, none, NULL, NULL), 0);
    controller_unref(none);
    ask(&q);
    expect(&q, "memory-missing", FINDING_ERROR, "only-there", "only-there");
    expect(&q, "memory-surplus", FINDING_ERROR, "only-here", "only-here");
    expect(&q, "memory-size-differs", FINDING_ERROR, "sized",
           "65536 bytes at the source and 131072 at the destination");
    expect(&q, "memory-iovas-differ", FINDING_ERROR, "moved", "0x40000000");
    expect(&q, "device-ids-differ", FINDING_ERROR, "dev0", "1234:0000");
    expect(&q, "device-revision-differs", FINDING_WARNING, "dev0",
           "revision 00 at the source and 07 at the destination");
    expect(&q, "device-layout-differs", FINDING_WARNING, "dev0", "3");
    expect(&q, "device-flags-differ", FINDING_WARNING, "dev0",
           "P2P and PRE_COPY at the source and with PRE_COPY");
    expect(&q, "device-kind-differs", FINDING_ERROR, "dev1", "vfio");
    expect(&q, "controller-missing", FINDING_ERROR, NULL, "no controller");
    assert_null(find(&q, "memory-missing", "ram"));
    other->kind = "fake";
    end(&q, 2);
}

static void what_a_device_lacks(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 2);
    s.destination.device[0]->info.migration_flags = 0;
    s.destination.device[1]->info.migration_flags = DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_PRE_COPY;
    ask(&q);
    expect(&q, "device-no-migration", FINDING_ERROR, "dev0", "does not support migration");
    expect(&q, "device-no-p2p", FINDING_ERROR, "dev1", "peer-to-peer");
    q.options.allow[FINDING_DEVICE_NO_P2P] = true;
    ask(&q);
    expect(&q, "device-no-p2p", FINDING_WARNING, "dev1", "peer-to-peer");
    /* Where the source lacks them too, its operator has been asked already. */
    q.options.allow[FINDING_DEVICE_NO_P2P] = false;
    s.source.device[0]->info.migration_flags = DEVICE_MIGRATION_STOP_COPY;
    ask(&q);
    assert_null(find(&q, "device-no-p2p", NULL));
    end(&q, 2);
}

/* A stream that begins while the device runs is not for every driver; one of a device that stands still is.
 */
static void precopy_on_one_side(void **state)
{
    const uint32_t all = DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P | DEVICE_MIGRATION_PRE_COPY;
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    uint32_t *there = &s.source.device[0]->info.migration_flags,
             *here = &s.destination.device[0]->info.migration_flags;
    *there = all;
    *here = all & ~(uint32_t)DEVICE_MIGRATION_PRE_COPY;
    ask(&q);
    expect(&q, "device-precopy-missing", FINDING_ERROR, "dev0", "PRE_COPY");
    assert_null(find(&q, "device-flags-differ", NULL));
    assert_int_equal(migration_options_allow(&q.options, "device-precopy-missing", NULL), 0);
    ask(&q);
    expect(&q, "device-precopy-missing", FINDING_WARNING, "dev0", "PRE_COPY");
    expect_no_errors(&q);
    /* The operator of the source does without it. */
    q.options.allow[FINDING_DEVICE_PRECOPY_MISSING] = false;
    s.source.domain->devices[0].use_precopy = false;
    ask(&q);
    assert_null(find(&q, "device-precopy-missing", NULL));
    expect(&q, "device-flags-differ", FINDING_WARNING, "dev0", "P2P and PRE_COPY at the source and with P2P");
    s.source.domain->devices[0].use_precopy = true;
    *there = all & ~(uint32_t)DEVICE_MIGRATION_PRE_COPY;
    *here = all;
    ask(&q);
    expect(&q, "device-flags-differ", FINDING_WARNING, "dev0", "P2P at the source and with P2P and PRE_COPY");
    assert_null(find(&q, "device-precopy-missing", NULL));
    end(&q, 1);
}

static void drivers(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    struct device_info *there = &s.source.device[0]->info, *here = &s.destination.device[0]->info;
    there->kind = here->kind = "vfio";
    ask(&q);
    expect(&q, "device-driver-unknown", FINDING_NOTE, "dev0", "not known at the source");
    snprintf(there->driver, sizeof there->driver, "mlx5_vfio_pci");
    ask(&q);
    expect(&q, "device-driver-unknown", FINDING_NOTE, "dev0", "not known at the destination");
    snprintf(here->driver, sizeof here->driver, "mlx5_vfio_pci");
    ask(&q);
    assert_null(find(&q, "device-driver-unknown", NULL));
    expect_no_errors(&q);
    snprintf(here->driver, sizeof here->driver, "vfio-pci");
    ask(&q);
    expect(&q, "device-driver-differs", FINDING_ERROR, "dev0",
           "mlx5_vfio_pci at the source and by vfio-pci at the destination");
    assert_int_equal(migration_options_allow(&q.options, "device-driver-differs", NULL), 0);
    ask(&q);
    expect(&q, "device-driver-differs", FINDING_WARNING, "dev0", "vfio-pci");
    incoming_set_accept_overrides(s.incoming, false);
    ask(&q);
    expect(&q, "device-driver-differs", FINDING_ERROR, "dev0", "vfio-pci");
    expect(&q, "overrides-not-accepted", FINDING_WARNING, NULL, "AcceptOverrides=no");
    end(&q, 1);
}

/* ---- and what a start makes of it ---- */

static void a_start_is_refused_for_the_same_reason(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    s.destination.device[0]->info.pci_device = 0x77;
    ask(&q);
    expect(&q, "device-ids-differ", FINDING_ERROR, "dev0", "0000:0077");
    check_untouched(&s, 1);
    expect_refusal(&q);
    end_refused(&q);
}

static void a_read_only_destination_is_refused(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    s.destination.region->writable = false;
    ask(&q);
    expect(&q, "memory-read-only-at-destination", FINDING_ERROR, "ram", "read-only");
    expect_refusal(&q);
    end_refused(&q);
}

static void run_allowed(bool accepted)
{
    struct question q;
    struct scene s;
    struct migration_status st;
    begin(&q, &s, 1);
    s.destination.device[0]->info.pci_device = 0x77;
    assert_int_equal(migration_options_allow(&q.options, "device-ids-differ", NULL), 0);
    s.refuse_overrides = !accepted;
    incoming_free(s.incoming);
    s.incoming = NULL;
    assert_int_equal(run_scene(&s, &q.options, NULL), 0);
    migration_get_status(s.source.migration, &st);
    if (st.state != (accepted ? MIG_STATE_COMPLETED : MIG_STATE_FAILED))
        fail_msg("%s: %s", mig_state_to_string(st.state), st.error.message);
    assert_true(side_runs_whole(accepted ? &s.destination : &s.source, 1));
    end_scene(&s);
}

static void a_start_with_allow_works(void **state)
{
    run_allowed(true);
    run_allowed(false);
}

/* The source's order of devices and regions is not ours: they are known by name. */
static void the_order_is_free(void **state)
{
    struct scene s;
    struct migration_options o;
    struct migration_status st;
    make_scene(&s, 2);
    struct domain_device first = s.destination.domain->devices[0];
    s.destination.domain->devices[0] = s.destination.domain->devices[1];
    s.destination.domain->devices[1] = first;
    add_region(&s.source, "more", 65536, NULL)->map[4096] = 5;
    struct region *more = add_region(&s.destination, "more", 65536, NULL);
    struct domain_memory ram = s.destination.domain->memory[0];
    s.destination.domain->memory[0] = s.destination.domain->memory[1];
    s.destination.domain->memory[1] = ram;
    more->index = 0;
    s.destination.region->index = 1;
    migration_options_init(&o);
    o.verify = VERIFY_STRICT;
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    migration_get_status(s.source.migration, &st);
    if (st.state != MIG_STATE_COMPLETED)
        fail_msg("%s", st.error.message);
    assert_int_equal(more->map[4096], 5);
    assert_int_equal(s.destination.device[0]->loaded, STATE_BYTES);
    end_scene(&s);
}

/* ---- destinations that do not answer ---- */

static void nobody_there(void **state)
{
    struct question q;
    struct scene s;
    char address[200];
    begin(&q, &s, 1);
    snprintf(address, sizeof address, "unix:%s/nobody", s.dir);
    q.address = address;
    ask(&q);
    assert_int_equal(q.result, 0);
    const struct finding *f = find(&q, "peer-unreachable", address);
    assert_non_null(f);
    assert_int_equal(f->severity, FINDING_ERROR);
    assert_false(f->destination);
    q.address = "unix:";
    ask(&q);
    assert_true(q.result < 0);
    assert_int_equal(q.error.code, MIG_ERR_INVALID_ARGUMENT);
    end(&q, 1);
}

static void cancelled(void **state)
{
    struct question q;
    struct scene s;
    begin(&q, &s, 1);
    q.cancel_fd = eventfd(1, EFD_CLOEXEC);
    ask(&q);
    assert_int_equal(q.result, -ECANCELED);
    assert_int_equal(q.error.code, MIG_ERR_CANCELLED);
    assert_int_equal(q.found.count, 0);
    close_fd(&q.cancel_fd);
    loop_timer_arm(s.patience, 200000); /* the destination may have heard a beginning of it */
    loop_run(s.loop);
    end(&q, 1);
}

/* While a migration of another domain comes in. */
struct beside {
    struct scene *scene;
    struct question question;
    struct domain *second;
    struct loop_timer *timer;
    pthread_t thread;
    bool asked;
};

static void *ask_beside(void *userdata)
{
    struct beside *b = userdata;
    struct question *q = &b->question;
    q->result = outgoing_check_peer(NULL, b->second, q->address, &q->options, -1, &q->found, &q->error);
    return NULL;
}

static void look(void *userdata)
{
    struct beside *b = userdata;
    if (!b->scene->destination.domain->borrowed) {
        loop_timer_arm(b->timer, 500);
        return;
    }
    b->asked = true;
    assert_int_equal(pthread_create(&b->thread, NULL, ask_beside, b), 0);
}

static void beside_a_migration(void **state)
{
    struct scene s;
    struct beside b = {.scene = &s};
    struct domain *twin;
    struct migration_status st;
    make_scene(&s, 1);
    assert_int_equal(domain_new(&b.second, "second", false, NULL), 0);
    assert_int_equal(domain_new(&twin, "second", true, NULL), 0);
    assert_int_equal(registry_add(s.destination.registry, twin, NULL), 0);
    b.question = (struct question){.scene = &s, .address = s.address};
    migration_options_init(&b.question.options);
    struct migration_options o = b.question.options;
    o.bandwidth_bytes_per_sec = 4u << 20;
    assert_int_equal(loop_timer_new(&b.timer, s.loop, look, &b), 0);
    loop_timer_arm(b.timer, 500);
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    assert_true(b.asked);
    pthread_join(b.thread, NULL);
    loop_timer_free(b.timer);
    migration_get_status(s.source.migration, &st);
    if (st.state != MIG_STATE_COMPLETED)
        fail_msg("%s", st.error.message);
    assert_null(find(&b.question, "peer-no-answer", NULL));
    expect_no_errors(&b.question);
    assert_false(twin->borrowed);
    assert_int_equal(twin->state, DOMAIN_STATE_WAITING);
    findings_clear(&b.question.found);
    domain_unref(b.second);
    domain_unref(twin);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_alike),
        cmocka_unit_test(another_name_of_the_domain),
        cmocka_unit_test(a_domain_that_does_not_wait),
        cmocka_unit_test(all_differences_at_once),
        cmocka_unit_test(what_a_device_lacks),
        cmocka_unit_test(precopy_on_one_side),
        cmocka_unit_test(drivers),
        cmocka_unit_test(a_start_is_refused_for_the_same_reason),
        cmocka_unit_test(a_read_only_destination_is_refused),
        cmocka_unit_test(a_start_with_allow_works),
        cmocka_unit_test(the_order_is_free),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(beside_a_migration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
