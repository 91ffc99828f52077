/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "misbehave.h"
#include "sizes.h"
#include "states.h"
#include <stdio.h>
#include <string.h>

static const char *const point_names[POINT_MAX] = {
    [POINT_NONE] = "none",
    [POINT_VERSION] = "version",
    [POINT_DMA_MAP] = "dma-map",
    [POINT_DMA_UNMAP] = "dma-unmap",
    [POINT_GET_INFO] = "get-info",
    [POINT_REGION_INFO] = "region-info",
    [POINT_IRQ_INFO] = "irq-info",
    [POINT_SET_IRQS] = "set-irqs",
    [POINT_REGION_READ] = "region-read",
    [POINT_REGION_WRITE] = "region-write",
    [POINT_RESET] = "reset",
    [POINT_FEATURE] = "feature",
    [POINT_GET_STATE] = "get-state",
    [POINT_SET_STATE] = "set-state",
    [POINT_LOG_START] = "log-start",
    [POINT_LOG_STOP] = "log-stop",
    [POINT_REPORT] = "report",
    [POINT_DATA_READ] = "data-read",
    [POINT_DATA_WRITE] = "data-write",
};

const char *point_name(enum point point)
{
    return point < POINT_MAX ? point_names[point] : "unknown";
}

static int point_from_name(const char *name, enum point *ret, struct mig_error *err)
{
    for (enum point p = POINT_NONE + 1; p < POINT_MAX; p++) {
        if (strcmp(name, point_names[p]) == 0) {
            *ret = p;
            return 0;
        }
    }
    char all[400] = "";
    for (enum point p = POINT_NONE + 1; p < POINT_MAX; p++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", p > 1 ? " " : "", point_names[p]);
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "'%s' is no command; there are: %s", name,
                         all);
}

/* Cuts text at the first ':' and returns what follows, or NULL. */
static char *cut(char *text)
{
    char *colon = strchr(text, ':');
    if (colon)
        *colon++ = '\0';
    return colon;
}

static int parse_count(const char *text, uint64_t *ret, struct mig_error *err)
{
    if (!text)
        return 0;
    if (parse_number(text, ret) < 0 || *ret == 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "'%s' is not a count from 1", text);
    return 0;
}

static int parse_at(struct misbehave_at *list, unsigned *n, uint64_t nth, char *text, bool timed,
                    struct mig_error *err)
{
    if (*n == MISBEHAVE_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "more than %u of the same kind",
                             MISBEHAVE_MAX);
    struct misbehave_at at = {.nth = nth};
    char *rest = cut(text);
    int r = point_from_name(text, &at.point, err);
    if (r < 0)
        return r;
    if (timed) {
        char *nth_text = rest ? cut(rest) : NULL, *end;
        double seconds = rest ? strtod(rest, &end) : -1;
        if (!rest || *end || end == rest || !(seconds >= 0 && seconds <= 1e6))
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "stall needs COMMAND:SECONDS");
        at.usec = (uint64_t)(seconds * 1e6);
        rest = nth_text;
    }
    r = parse_count(rest, &at.nth, err);
    if (r == 0)
        list[(*n)++] = at;
    return r;
}

static int parse_arc(struct misbehave *m, char *text, bool breaks, struct mig_error *err)
{
    if (m->n_refuse == MISBEHAVE_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "more than %u refused transitions",
                             MISBEHAVE_MAX);
    char *to = cut(text), *nth = to ? cut(to) : NULL;
    int from_state = state_from_name(text), to_state = to ? state_from_name(to) : -1;
    if (from_state < 0 || to_state < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "a transition is FROM:TO, of running, stop, stop-copy, resuming, running-p2p, "
                             "pre-copy, pre-copy-p2p");
    struct misbehave_arc arc = {.from = (uint32_t)from_state, .to = (uint32_t)to_state, .breaks = breaks};
    int r = parse_count(nth, &arc.nth, err);
    if (r == 0)
        m->refuse[m->n_refuse++] = arc;
    return r;
}

static int parse_lie(struct misbehave *m, char *text, struct mig_error *err)
{
    static const struct {
        const char *name;
        enum point point;
    } where[] = {{"version", POINT_VERSION},
                 {"report", POINT_REPORT},
                 {"data", POINT_DATA_READ},
                 {"region", POINT_REGION_READ}};
    char *how = cut(text);
    enum lie lie = !how || strcmp(how, "short") == 0 ? LIE_SHORT
                   : strcmp(how, "long") == 0        ? LIE_LONG
                   : strcmp(how, "huge") == 0        ? LIE_HUGE
                                                     : LIE_NONE;
    for (unsigned i = 0; i < ELEMENTS(where); i++) {
        if (strcmp(text, where[i].name) == 0 && lie != LIE_NONE) {
            m->lie[where[i].point] = lie;
            return 0;
        }
    }
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                         "lie-length needs version, report, data or region, then :short, :long or :huge");
}

int misbehave_parse(struct misbehave *m, const char *what, struct mig_error *err)
{
    char text[128];
    if ((size_t)snprintf(text, sizeof text, "%s", what) >= sizeof text)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "--misbehave text is too long");
    char *value = strchr(text, '=');
    if (value)
        *value++ = '\0';

    struct {
        const char *name;
        bool *flag;
    } flags[] = {{"error-payload", &m->error_payload},
                 {"split", &m->split},
                 {"merge", &m->merge},
                 {"stray-precopy", &m->stray_precopy},
                 {"wrong-state-reply", &m->wrong_state_reply},
                 {"fragile", &m->fragile}};
    for (unsigned i = 0; i < ELEMENTS(flags); i++) {
        if (strcmp(text, flags[i].name) == 0 && !value) {
            *flags[i].flag = true;
            return 0;
        }
    }
    if (strcmp(text, "write-after-stop") == 0) {
        m->write_after_stop = true;
        m->write_after_stop_rate = 100;
        return parse_count(value, &m->write_after_stop_rate, err);
    }
    if (strcmp(text, "late-dirty") == 0) {
        m->late_dirty_every = 1;
        return parse_count(value, &m->late_dirty_every, err);
    }
    if (strcmp(text, "lose-bit") == 0) {
        m->lose_bit_every = 1000;
        return parse_count(value, &m->lose_bit_every, err);
    }
    if (value && strcmp(text, "lie-length") == 0)
        return parse_lie(m, value, err);
    if (value && strcmp(text, "stall") == 0)
        return parse_at(m->stall, &m->n_stall, 0, value, true, err);
    if (value && strcmp(text, "die") == 0)
        return parse_at(m->die, &m->n_die, 1, value, false, err);
    if (value && strcmp(text, "no-reply") == 0)
        return parse_at(m->no_reply, &m->n_no_reply, 0, value, false, err);
    if (value && strcmp(text, "refuse") == 0)
        return parse_arc(m, value, false, err);
    if (value && strcmp(text, "break") == 0)
        return parse_arc(m, value, true, err);
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                         "--misbehave %s is not known; --help lists what is", what);
}

void misbehave_saw(struct misbehave *m, enum point point)
{
    m->seen[point]++;
}

static const struct misbehave_at *find(const struct misbehave *m, const struct misbehave_at *list, unsigned n,
                                       enum point point)
{
    for (unsigned i = 0; i < n; i++) {
        if (list[i].point == point && (list[i].nth == 0 || list[i].nth == m->seen[point]))
            return &list[i];
    }
    return NULL;
}

uint64_t misbehave_stall_usec(const struct misbehave *m, enum point point)
{
    const struct misbehave_at *at = find(m, m->stall, m->n_stall, point);
    return at ? at->usec : 0;
}

bool misbehave_dies(const struct misbehave *m, enum point point)
{
    return find(m, m->die, m->n_die, point) != NULL;
}

bool misbehave_swallows_reply(const struct misbehave *m, enum point point)
{
    return find(m, m->no_reply, m->n_no_reply, point) != NULL;
}

int misbehave_refuses(struct misbehave *m, uint32_t from, uint32_t to, bool *breaks)
{
    for (unsigned i = 0; i < m->n_refuse; i++) {
        struct misbehave_arc *arc = &m->refuse[i];
        if (arc->from != from || arc->to != to)
            continue;
        arc->seen++;
        if (arc->nth == 0 || arc->nth == arc->seen) {
            *breaks = arc->breaks;
            return -EIO;
        }
    }
    return 0;
}
