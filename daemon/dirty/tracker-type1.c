/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bitmap of a type1 container. Worker thread.
 *
 * Unless every device in the container is of a driver that tells type1 what it writes, type1 says
 * "everything" at every read. That is told apart right after the start, by two reads in a row that are all
 * ones: no device writes every page between two system calls. Then the tracker is blind, says everything by
 * itself, and the gate does not ask it. The bits of these reads may be dropped, since nothing has been sent
 * yet (R1).
 */
#include "base/log.h"
#include "dirty/tracker-container.h"

struct looked {
    uint64_t bits, set;
};

static void look(void *userdata, const struct iova_mapping *m, uint64_t page_bytes, const uint64_t *words,
                 uint64_t nbits)
{
    struct looked *l = userdata;
    const struct bitmap bits = bitmap_view(words, nbits);
    l->bits += nbits;
    bitmap_for_each_run (&bits, first, count)
        l->set += count;
}

static int says_everything(struct container *c, bool *ret, struct mig_error *err)
{
    for (unsigned i = 0; i < 2; i++) {
        struct looked l = {0};
        int r = container_report(c, false, look, &l, err);
        if (r < 0)
            return r;
        *ret = l.bits && l.set == l.bits;
        if (!*ret)
            break;
    }
    return 0;
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
    r = says_everything(c, &everything, err);
    if (r < 0) {
        container_stop(c);
        return r;
    }
    t->started = true;
    atomic_store(&t->blind, everything);
    if (everything)
        log_notice("container %s reports all its memory as written at every read: a device in it writes "
                   "without telling "
                   "the kernel, so rounds of precopy cannot converge",
                   c->name);
    return 0;
}

static const struct tracker_ops type1_tracker_ops = {
    .kind = "type1",
    .answers_gate = true, /* unless blind */
    .start = type1_begin,
    .stop = tracker_container_stop,
    .harvest = tracker_container_harvest,
    .destroy = tracker_container_destroy,
};

int tracker_new_type1(struct tracker **ret, struct container *container, struct mig_error *err)
{
    return tracker_container_new(ret, &type1_tracker_ops, "type1", container, err);
}
