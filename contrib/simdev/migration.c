/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration.h"
#include "base/clock.h"
#include "base/log.h"
#include "device.h"

#define MORE_EVERY_USEC 100000u /* how often PRE_COPY has something new to say */
#define MORE_MIN_BYTES  4096u

void migration_init(struct migration *m)
{
    m->state = STATE_RUNNING;
}

void migration_free(struct migration *m)
{
    state_save_end(&m->save);
    state_load_end(&m->load);
}

static enum engine_mode mode_of(const struct device *d)
{
    const struct migration *m = &d->migration;
    bool alive = !d->options->incoming || m->loaded;
    switch (m->state) {
    case STATE_RUNNING:
    case STATE_PRE_COPY:
        return alive ? ENGINE_WORKS : ENGINE_QUIET;
    case STATE_STOP:
    case STATE_STOP_COPY:
        return alive && d->options->misbehave.write_after_stop ? ENGINE_STRAYS : ENGINE_QUIET;
    default:
        return ENGINE_QUIET;
    }
}

void migration_apply_mode(struct device *d)
{
    engine_park(&d->engine);
    d->engine.mode = mode_of(d);
    engine_release(&d->engine);
}

static int begin_stream(struct device *d, bool precopy)
{
    struct migration *m = &d->migration;
    const struct options *o = d->options;
    struct state_begin begin = {
        .version = STATE_FORMAT_VERSION,
        .device_id = o->id,
        .state_size_bytes = o->state_size_bytes,
        .precopy_size_bytes = o->precopy_size_bytes,
    };
    int r = state_save_begin(&m->save);
    if (r == 0)
        r = state_save_add(&m->save, SECTION_BEGIN, &begin, sizeof begin);
    if (r == 0 && precopy && o->precopy_size_bytes)
        r = state_save_add(&m->save, SECTION_EARLY, NULL, o->precopy_size_bytes);
    m->precopy_stream = precopy;
    m->more_sequence = d->engine.sequence;
    m->more_usec = now_usec();
    return r;
}

/* The engine stands still: what it is now goes into the stream. */
static int queue_all(struct device *d)
{
    struct migration *m = &d->migration;
    const struct engine *e = &d->engine;
    if (m->precopy_stream && d->options->misbehave.stray_precopy) {
        int r = begin_stream(d, false);
        if (r < 0)
            return r;
    }
    struct state_core core = {
        .device_id = d->options->id,
        .control = e->control,
        .sequence = e->sequence,
        .pages_written = e->pages_written,
        .rate = e->rate,
        .doorbell = e->doorbell,
        .pattern = e->pattern,
    };
    struct pci_state *pci = malloc(sizeof *pci);
    if (!pci)
        return -ENOMEM;
    pci_save(&d->pci, pci);
    int r = state_save_add(&m->save, SECTION_CORE, &core, sizeof core);
    if (r == 0)
        r = state_save_add(&m->save, SECTION_PCI, pci, sizeof *pci);
    free(pci);
    uint64_t used =
        sizeof core + sizeof(struct pci_state) + 4 * (sizeof(struct section) + SECTION_TRAILER_BYTES);
    if (r == 0 && d->options->state_size_bytes > used)
        r = state_save_add(&m->save, SECTION_FILLER, NULL, d->options->state_size_bytes - used);
    return r < 0 ? r : state_save_add(&m->save, SECTION_END, NULL, 0);
}

static int save_all(struct device *d)
{
    /* It stands still anyhow, unless it was told to misbehave. */
    engine_park(&d->engine);
    int r = queue_all(d);
    engine_release(&d->engine);
    return r;
}

static int take_over(struct device *d)
{
    struct migration *m = &d->migration;
    int r = state_load_check(&m->load);
    if (r < 0) {
        log_error("the state is refused: %s", m->load.why);
        return r;
    }
    const struct state_core *core = &m->load.core;
    struct engine *e = &d->engine;
    engine_park(e);
    e->control = core->control & 1;
    e->rate = core->rate;
    e->doorbell = core->doorbell;
    e->pattern = core->pattern;
    e->sequence = core->sequence;
    e->pages_written = core->pages_written;
    e->burst_left = 0;
    journal_restart(&d->journal);
    pci_load(&d->pci, &m->load.pci);
    m->loaded = true;
    engine_release(e);
    log_info("state loaded: %llu bytes, sequence %llu", (unsigned long long)m->load.received,
             (unsigned long long)core->sequence);
    return 0;
}

/* The effect of one arc. A negative result leaves the device in `from`, but a refused load breaks it. */
static int step(struct device *d, uint32_t from, uint32_t to)
{
    struct migration *m = &d->migration;
    bool breaks = false;
    int r = misbehave_refuses(&d->misbehave, from, to, &breaks);
    if (r < 0) {
        log_info("%s -> %s refused, as told", state_name(from), state_name(to));
        if (breaks) {
            m->state = STATE_ERROR;
            migration_apply_mode(d);
        }
        return r;
    }
    if (from == STATE_RESUMING) {
        r = take_over(d);
        state_load_end(&m->load);
        if (r < 0) {
            m->state = STATE_ERROR;
            migration_apply_mode(d);
            return r;
        }
    }
    if ((from == STATE_RUNNING && to == STATE_PRE_COPY) ||
        (from == STATE_RUNNING_P2P && to == STATE_PRE_COPY_P2P))
        r = begin_stream(d, true);
    else if (from == STATE_STOP && to == STATE_STOP_COPY)
        r = begin_stream(d, false);
    else if (to == STATE_RESUMING)
        r = state_load_begin(&m->load);
    if (r < 0)
        return r;
    if (to == STATE_RESUMING)
        m->loaded = false; /* what it was is given up, and a reset does not bring it back to life */

    m->state = to;
    migration_apply_mode(d);
    if (to == STATE_STOP_COPY) {
        r = save_all(d);
        if (r < 0) {
            m->state = STATE_ERROR;
            migration_apply_mode(d);
        }
    } else if (to != STATE_PRE_COPY && to != STATE_PRE_COPY_P2P) {
        state_save_end(&m->save);
    }
    return r;
}

int migration_set_state(struct device *d, uint32_t wanted)
{
    struct migration *m = &d->migration;
    uint64_t flags = d->options->migration_flags;
    uint32_t asked_from = m->state;
    if (m->state == STATE_ERROR || !state_exists(wanted, flags))
        return -EINVAL;
    while (m->state != wanted) {
        uint32_t from = m->state;
        int next = state_next_step(from, wanted, flags);
        if (next < 0)
            return next;
        bool breaks = false;
        /* A whole way may be named too; a way of one step is looked at in step(). */
        if (from == asked_from && (uint32_t)next != wanted &&
            misbehave_refuses(&d->misbehave, from, wanted, &breaks) < 0) {
            if (breaks) {
                m->state = STATE_ERROR;
                migration_apply_mode(d);
            }
            return -EIO;
        }
        int r = step(d, from, (uint32_t)next);
        log_debug("%s -> %s: %s, sequence %llu", state_name(from), state_name((uint32_t)next),
                  r < 0 ? "failed" : "done", (unsigned long long)d->engine.sequence);
        if (r < 0)
            return r;
    }
    return 0;
}

void migration_reset(struct device *d)
{
    struct migration *m = &d->migration;
    state_save_end(&m->save);
    state_load_end(&m->load);
    m->state = STATE_RUNNING;
    struct engine *e = &d->engine;
    engine_park(e);
    e->control = !d->options->idle;
    e->rate = d->options->rate;
    e->doorbell = e->burst_left = 0;
    pattern_init(&e->pattern, d->options->pattern, d->options->seed);
    pci_reset(&d->pci, d->options->id, d->options->pci_device);
    engine_release(e);
    migration_apply_mode(d);
}

int migration_read(struct device *d, uint8_t *buf, size_t size, size_t *ret_size)
{
    struct migration *m = &d->migration;
    bool precopy = m->state == STATE_PRE_COPY || m->state == STATE_PRE_COPY_P2P;
    uint64_t sequence = d->engine.sequence, now = now_usec();
    /* A device at work has news now and then, and less of it than at first; a reader who asks again at once
     * gets 0. */
    if (precopy && m->save.n == 0 && d->options->precopy_size_bytes && sequence != m->more_sequence &&
        now - m->more_usec >= MORE_EVERY_USEC) {
        int r = state_save_add(&m->save, SECTION_EARLY, NULL,
                               MAX(d->options->precopy_size_bytes / 16, (uint64_t)MORE_MIN_BYTES));
        if (r < 0)
            return r;
        m->more_sequence = sequence;
        m->more_usec = now;
    }
    *ret_size = state_save_read(&m->save, buf, size);
    return 0;
}

int migration_write(struct device *d, const uint8_t *buf, size_t size)
{
    if (!d->migration.load.open)
        return -EINVAL;
    state_load_write(&d->migration.load, d->options->id, buf, size);
    return 0;
}
