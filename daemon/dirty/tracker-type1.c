/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bitmap of a type1 container. Worker thread.
 *
 * Unless every device in the container is of a driver that tells type1 what it writes, type1 says
 * "everything" at every read. It is told apart from a workload that wrote everything by reading at once again
 * whenever a reading is nearly all ones: no device writes most of all pages between two system calls. Nearly,
 * since a mapping that migd knows may have holes, over which a VMM has laid something else for a while, and
 * they stay clean. Twice in a row: the tracker is blind, says everything by itself, and the gate does not ask
 * it. That holds until a reading that is not: devices come and go while rounds run, and a container of one
 * page may be busy enough.
 * The kernel keeps the bits from one reading to the next in either case, so none is lost at the turns.
 *
 * The bits of the first readings, at the start, may be dropped, since nothing has been sent yet (R1).
 */
#include "base/log.h"
#include "dirty/report.h"
#include "dirty/tracker-container.h"

struct reading {
    struct dirty_sink *sink; /* NULL: only look */
    uint64_t bits, set;
};

static void take(void *userdata, const struct iova_mapping *m, uint64_t page_bytes, const uint64_t *words,
                 uint64_t nbits)
{
    struct reading *now = userdata;
    const struct bitmap bits = bitmap_view(words, nbits);
    now->bits += nbits;
    bitmap_for_each_run (&bits, first, count)
        now->set += count;
    if (now->sink)
        report_mapping_bits(now->sink, m, page_bytes, words, nbits);
}

/* Reads until it is known whether the container knows anything. *ret_everything stays as it is while nothing
 * is mapped. */
static int read_bits(struct container *c, struct dirty_sink *sink, bool *ret_everything,
                     struct mig_error *err)
{
    for (unsigned i = 0; i < 2; i++) {
        struct reading now = {.sink = sink};
        int r = container_report(c, false, take, &now, err);
        if (r < 0)
            return r;
        if (now.bits == 0)
            return 0;
        *ret_everything = now.set * 4 > now.bits * 3;
        if (!*ret_everything)
            return 0;
    }
    return 0;
}

static void set_blind(struct tracker *t, bool blind)
{
    if (atomic_exchange(&t->blind, blind) == blind)
        return;
    if (blind)
        log_notice("container %s reports all its memory as written at every read: a device in it writes "
                   "without telling the kernel, so rounds of precopy cannot converge",
                   t->name);
    else
        log_notice("container %s tells again which of its memory is written", t->name);
}

static int type1_begin(struct tracker *t, struct mig_error *err)
{
    struct container *c = tracker_container_of(t)->container;
    bool everything = false;
    if (t->started)
        return 0;
    int r = container_start(c, err);
    if (r < 0)
        return r;
    r = read_bits(c, NULL, &everything, err);
    if (r < 0) {
        container_stop(c);
        return r;
    }
    t->started = true;
    atomic_store(&t->blind, false);
    set_blind(t, everything);
    return 0;
}

/* type1 answers EINVAL when tracking is off. Whoever turned it off, what was written since is not known; from
 * now on it is again. */
static int put_right(struct tracker *t, int r, struct mig_error *err)
{
    struct container *c = tracker_container_of(t)->container;
    bool everything;
    if (container_start_again(c, NULL) < 0 || read_bits(c, NULL, &everything, NULL) < 0)
        return r;
    return mig_error_set(err, MIG_ERR_TRACKER, EAGAIN,
                         "container %s: somebody else had turned dirty tracking off; it is on again",
                         c->name);
}

static int type1_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct container *c = tracker_container_of(t)->container;
    struct mig_error e = MIG_ERROR_INIT;
    bool was_blind = atomic_load(&t->blind), everything = was_blind;
    if (was_blind)
        report_all_writable(c->map, sink);
    int r = read_bits(c, was_blind ? NULL : sink, &everything, &e);
    if (r == -EINVAL && !peek)
        r = put_right(t, r, &e);
    if (r < 0)
        return tracker_container_failed(t, peek, sink, r, &e, err);
    set_blind(t, everything);
    return 0;
}

static const struct tracker_ops type1_tracker_ops = {
    .kind = "type1",
    .answers_gate = true, /* unless blind */
    .start = type1_begin,
    .stop = tracker_container_stop,
    .harvest = type1_harvest,
    .destroy = tracker_container_destroy,
};

int tracker_new_type1(struct tracker **ret, struct container *container, struct mig_error *err)
{
    return tracker_container_new(ret, &type1_tracker_ops, "type1", container, err);
}
