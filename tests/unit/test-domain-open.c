/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that a domain has opened, on a host that tests/fake/fake-vfio plays: what is registered with them,
 * which tracker is taken, who maps, that a failure takes everything back, and what the saved form tells.
 */
#include "../fake/fake-vfio.h"
#include "base/finding.h"
#include "base/json.h"
#include "base/log.h"
#include "domain/kernel-devices.h"
#include "domain/opened.h"
#include "domain/restore.h"
#include "domain/saved.h"
#include "vfio/container.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NIC0 "0000:17:00.0"
#define NIC1 "0000:17:00.1"
#define TTY0 "6d696764-0000-4000-8000-000000000001"
#define IOVA UINT64_C(0x100000)

struct rig {
    struct fake_vfio f;
    struct domain *d;
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

static void add_memory(struct rig *g, const char *name, uint64_t iova)
{
    struct region *r;
    assert_int_equal(region_new_made(&r, name, 16 * 4096, 0, -1, &g->e), 0);
    if (domain_add_memory(g->d, r, &iova, 1, &g->e) < 0)
        fail_msg("%s", g->e.message);
    region_unref(r);
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    log_set_max_level(LOG_CRIT);
    fake_vfio_init(&g->f);
    fake_vfio_add(&g->f, NIC0, 7, "vfio-pci")->migrates = true;
    fake_vfio_add(&g->f, NIC1, 8, "vfio-pci")->iommu = 1;
    struct fake_vfio_device *tty = fake_vfio_add(&g->f, TTY0, 9, "vfio_mtty");
    tty->migrates = tty->logs = true;
    g->nfds = count_fds();
    assert_int_equal(domain_new(&g->d, "demo", false, &g->e), 0);
    add_memory(g, "ram0", IOVA);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    g->f.fail_at = 0;
    domain_unref(g->d);
    assert_int_equal(count_fds(), g->nfds);
    fake_vfio_done(&g->f);
    free(g);
    return 0;
}

static struct domain_open wish(struct rig *g, const char *name, const char *address)
{
    struct domain_open o = {.domain = g->d, .with_state = true, .places = &g->f.places};
    snprintf(o.name, sizeof o.name, "%s", name);
    snprintf(o.address, sizeof o.address, "%s", address);
    snprintf(o.container, sizeof o.container, "dma");
    o.wanted.automap = o.wanted.tracker_auto = true;
    o.wanted.log_page_bytes = 4096;
    return o;
}

/* As a call does it: check, open during a job, insert. */
static int try(struct rig *g, struct domain_open *o, struct domain_opened **ret)
{
    struct domain_opened *got = NULL;
    g->e = MIG_ERROR_INIT;
    int r = domain_open_check(o, &g->e);
    if (r == 0)
        r = domain_begin_job(g->d, "OpenDevice", &g->e);
    if (r == 0) {
        r = domain_open(o, &g->e);
        domain_end_job(g->d);
    }
    if (r == 0)
        r = domain_insert_opened(o, &got, &g->e);
    domain_open_clear(o);
    if (ret)
        *ret = got;
    return r;
}

static struct domain_opened *opened(struct rig *g, struct domain_open o)
{
    struct domain_opened *got;
    if (try(g, &o, &got) < 0)
        fail_msg("%s (%s)", g->e.message, g->e.hint);
    return got;
}

static void refused(struct rig *g, struct domain_open o, const char *code)
{
    char tail[80] = "";
    unsigned nfds = count_fds();
    size_t nparts = g->d->ndevices + g->d->ntrackers + g->d->ncontainers + g->d->nopened;
    assert_true(try(g, &o, NULL) < 0);
    if (code)
        snprintf(tail, sizeof tail, "(migctl explain %s)", code);
    if (!strstr(g->e.hint, tail))
        fail_msg("%s is not in: %s (%s)", tail, g->e.message, g->e.hint);
    assert_int_equal(count_fds(), nfds);
    assert_int_equal(g->d->ndevices + g->d->ntrackers + g->d->ncontainers + g->d->nopened, nparts);
}

static const char *kind_of(struct rig *g, const char *tracker)
{
    struct tracker *t = domain_find_tracker(g->d, tracker);
    return t ? t->ops->kind : "";
}

static void several_in_one_container(void **state)
{
    struct rig *g = *state;
    const uint32_t *hwpts;
    struct domain_opened *o = opened(g, wish(g, "tty0", TTY0));
    /* Of a mediated device alone the container can tell nothing. */
    assert_string_equal(o->tracker, "device");
    assert_string_equal(kind_of(g, "tty0"), "device");
    assert_int_equal(g->d->ncontainers, 1);
    assert_int_equal(g->d->ntrackers, 1);
    o = opened(g, wish(g, "nic0", NIC0));
    assert_string_equal(o->tracker, "container");
    assert_string_equal(kind_of(g, "dma"), "iommufd");
    assert_int_equal(g->d->ntrackers, 2);
    struct domain_open other = wish(g, "nic1", NIC1);
    other.with_state = false;
    o = opened(g, other);
    assert_int_equal(o->device->space->nhwpts, 2);
    struct container *c = domain_find_container(g->d, "dma");
    assert_int_equal(container_hwpts(c, &hwpts), 2);
    assert_int_equal(hwpts[0], 10);
    assert_int_equal(hwpts[1], 11);
    assert_false(c->partial);
    assert_int_equal(g->d->ndevices, 2); /* one has no state to move */
    assert_int_equal(g->d->nopened, 3);
    assert_int_equal(g->f.nmaps + g->f.nfile_maps, 0); /* the VMM maps */
}

static void mapped_by_migd(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "nic0", NIC0);
    o.map_memory = OPEN_YES;
    add_memory(g, "ram1", 0x800000);
    opened(g, o);
    assert_int_equal(g->f.nfile_maps, 2);
    assert_non_null(strstr(g->f.trace, "attach 10, device-info, map-file 100000, map-file 800000"));
    add_memory(g, "ram2", 0x900000);
    assert_int_equal(g->f.nfile_maps, 3);
    assert_int_equal(
        container_unmap(domain_find_container(g->d, "dma"), 0x900000, 16 * 4096, false, NULL, &g->e), 0);
    assert_int_equal(g->f.nfile_maps, 2);
    /* What cannot be mapped is not registered. */
    struct region *r;
    const uint64_t iovas[] = {0xa00000, 0xb00000};
    assert_int_equal(region_new_made(&r, "ram3", 16 * 4096, 0, -1, &g->e), 0);
    g->f.fail_at = g->f.ncalls + 2;
    g->f.fail_with = -ENOMEM;
    assert_true(domain_add_memory(g->d, r, iovas, 2, &g->e) < 0);
    assert_non_null(strstr(g->e.hint, "memlock-exceeded"));
    assert_int_equal(g->f.nfile_maps, 2);
    assert_null(domain_find_memory(g->d, "ram3"));
    region_unref(r);
}

static void mapped_without_file_mappings(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "nic0", NIC0), legacy = wish(g, "nic1", NIC1);
    g->f.no_map_file = true;
    o.map_memory = legacy.map_memory = OPEN_YES;
    opened(g, o);
    assert_int_equal(g->f.nmaps, 1);
    legacy.interface = DOMAIN_INTERFACE_LEGACY;
    snprintf(legacy.container, sizeof legacy.container, "old");
    opened(g, legacy);
    assert_int_equal(g->f.nmaps, 2);
    assert_string_equal(kind_of(g, "old"), "type1");
}

static void interfaces(void **state)
{
    struct rig *g = *state;
    assert_true(opened(g, wish(g, "nic0", NIC0))->device->space->iommufd);
    fake_vfio_without_iommufd(&g->f);
    struct domain_open o = wish(g, "nic1", NIC1);
    snprintf(o.container, sizeof o.container, "old");
    assert_false(opened(g, o)->device->space->iommufd);
}

static void trackers(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "tty0", TTY0);
    o.wanted.tracker_auto = false;
    o.wanted.tracker_container = true;
    refused(g, o, "device-mdev-untracked");
    /* A container is exact for it. */
    o.interface = DOMAIN_INTERFACE_LEGACY;
    snprintf(o.container, sizeof o.container, "old");
    assert_string_equal(opened(g, o)->tracker, "container");
    o = wish(g, "nic0", NIC0);
    o.wanted.tracker_auto = false; /* its own log */
    refused(g, o, "device-no-log");
    o.wanted.tracker_container = true;
    o.options.tracking = OPEN_NO;
    refused(g, o, "device-attached-untracked");
    o.wanted.tracker_container = false;
    o.wanted.tracker_auto = true;
    refused(g, o, "device-no-tracker");
    o.wanted.tracker_auto = false;
    o.wanted.tracker_all = true;
    assert_string_equal(opened(g, o)->tracker, "all");
    assert_string_equal(kind_of(g, "nic0"), "all");
    assert_true(domain_find_container(g->d, "dma")->partial);
    assert_string_equal(kind_of(g, "dma"), "");
    /* One without a state is tracked all the same. */
    o = wish(g, "nic1", NIC1);
    o.with_state = false;
    o.options.tracking = OPEN_NO;
    refused(g, o, "device-no-tracker");
    o.wanted.tracker_auto = false;
    o.wanted.tracker_all = true;
    opened(g, o);
    assert_string_equal(kind_of(g, "nic1"), "all");
}

/* Nothing is tracked of what comes in before it leaves again. */
static void incoming(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "nic0", NIC0);
    g->d->incoming = true;
    o.options.tracking = OPEN_NO;
    assert_string_equal(opened(g, o)->tracker, "all");
}

static void containers_that_differ(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "nic0", NIC0);
    o.map_memory = OPEN_NO;
    opened(g, o);
    o = wish(g, "nic1", NIC1);
    o.interface = DOMAIN_INTERFACE_LEGACY;
    refused(g, o, "container-differs");
    o = wish(g, "nic1", NIC1);
    o.map_memory = OPEN_YES;
    refused(g, o, "container-differs");
    o = wish(g, "nic1", NIC1);
    o.split = OPEN_YES;
    refused(g, o, "container-no-split");
    o = wish(g, "nic0", NIC1);
    refused(g, o, NULL);
    assert_int_equal(g->e.code, MIG_ERR_EXISTS);
    o = wish(g, "dma", NIC1);
    refused(g, o, NULL);
    o = wish(g, "nic1", "0000:99:00.0");
    refused(g, o, "device-not-found");
    /* The kernel, asked for the very same once more by somebody else. */
    o = wish(g, "nic2", NIC0);
    refused(g, o, "device-open-failed");
}

static void the_same_again(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "nic0", NIC0);
    struct domain_opened *held = opened(g, o);
    o = wish(g, "nic0", "17:00.0");
    assert_int_equal(domain_opened_matches(held, &o, &g->e), 0);
    snprintf(o.address, sizeof o.address, "%s", NIC1);
    assert_int_equal(domain_opened_matches(held, &o, &g->e), -EEXIST);
    o = wish(g, "nic0", NIC0);
    o.split = OPEN_YES;
    assert_true(domain_opened_matches(held, &o, &g->e) < 0);
    o = wish(g, "nic0", NIC0);
    o.with_state = false;
    assert_true(domain_opened_matches(held, &o, &g->e) < 0);
    o = wish(g, "nic0", NIC0);
    snprintf(o.container, sizeof o.container, "other");
    assert_true(domain_opened_matches(held, &o, &g->e) < 0);
}

/* Each call of the kernel fails once, for the first device of a container and for the second. */
static void every_call_fails(void **state)
{
    struct rig *g = *state;
    static const struct {
        const char *name, *address;
        enum domain_interface interface;
    } steps[] = {{"nic0", NIC0, DOMAIN_INTERFACE_IOMMUFD},
                 {"nic1", NIC1, DOMAIN_INTERFACE_IOMMUFD},
                 {"tty0", TTY0, DOMAIN_INTERFACE_LEGACY}};
    for (size_t i = 0; i < ELEMENTS(steps); i++) {
        struct domain_open o = wish(g, steps[i].name, steps[i].address);
        o.interface = steps[i].interface;
        o.map_memory = OPEN_YES;
        snprintf(o.container, sizeof o.container, "%s",
                 o.interface == DOMAIN_INTERFACE_LEGACY ? "old" : "dma");
        unsigned n = 1;
        for (;; n++) {
            struct domain_open once = o;
            unsigned hwpts = fake_vfio_hwpts(&g->f), maps = g->f.nfile_maps, nfds = count_fds();
            size_t nparts = g->d->ndevices + g->d->ntrackers + g->d->ncontainers + g->d->nopened;
            fake_vfio_restart(&g->f);
            g->f.fail_at = n;
            if (try(g, &once, NULL) == 0)
                break;
            fake_vfio_restart(&g->f);
            assert_int_equal(fake_vfio_hwpts(&g->f), hwpts);
            assert_int_equal(g->f.nfile_maps, maps);
            assert_int_equal(count_fds(), nfds);
            assert_int_equal(g->d->ndevices + g->d->ntrackers + g->d->ncontainers + g->d->nopened, nparts);
        }
        assert_true(n > 5);
    }
    assert_int_equal(g->d->nopened, 3);
}

/* Without a store of descriptors they are gone, and it says so of the device, once. */
static void saved_and_lost(void **state)
{
    struct rig *g = *state;
    struct domain_open o = wish(g, "nic0", NIC0);
    struct domain *back;
    struct json_object *array;
    const char *text;
    size_t n;
    o.map_memory = OPEN_YES;
    o.split = OPEN_YES;
    opened(g, o);
    struct json_object *saved = domain_to_json(g->d);
    assert_int_equal(json_get_array(saved, "opened", &array, &n), 0);
    assert_int_equal(n, 1);
    struct json_object *entry = json_object_array_get_idx(array, 0);
    static const char *const texts[][2] = {{"name", "nic0"},
                                           {"address", NIC0},
                                           {"interface", "iommufd"},
                                           {"container", "dma"},
                                           {"tracker", "container"}};
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        assert_int_equal(json_get_string(entry, texts[i][0], &text), 0);
        assert_string_equal(text, texts[i][1]);
    }
    assert_int_equal(domain_new(&back, "demo", false, &g->e), 0);
    assert_int_equal(domain_from_json(back, NULL, saved, &g->e), 0);
    json_object_put(saved);
    assert_int_equal(back->state, DOMAIN_STATE_BROKEN);
    assert_int_equal(back->nopened, 0);
    domain_unref(back);
}

static void lost_in_words(void **state)
{
    struct rig *g = *state;
    struct domain *back;
    struct json_object *saved =
        json_tokener_parse("{\"name\": \"demo\", \"opened\": [{\"name\": \"nic0\", \"address\": \"" NIC0
                           "\", \"container\": \"dma\"}]}");
    assert_int_equal(domain_new(&back, "demo", false, &g->e), 0);
    assert_int_equal(domain_from_json(back, NULL, saved, &g->e), 0);
    json_object_put(saved);
    if (!strstr(back->problem,
                "device nic0 (" NIC0 ") was opened by migd, whose descriptors of it and of container "
                "dma are gone: its VMM hands in its own, or is started again"))
        fail_msg("%s", back->problem);
    domain_unref(back);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(several_in_one_container),
        T(mapped_by_migd),
        T(mapped_without_file_mappings),
        T(interfaces),
        T(trackers),
        T(incoming),
        T(containers_that_differ),
        T(the_same_again),
        T(every_call_fails),
        T(saved_and_lost),
        T(lost_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
