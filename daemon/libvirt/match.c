/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/match.h"
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *word;
    unsigned rule;
} rule_words[] = {
    {"vendor", MATCH_VENDOR}, {"device", MATCH_DEVICE},       {"subsystem", MATCH_SUBSYSTEM},
    {"driver", MATCH_DRIVER}, {"numa-node", MATCH_NUMA_NODE},
};

int match_rules_parse(const char *text, unsigned *ret)
{
    unsigned rules = 0;
    if (strcmp(text, "off") == 0)
        text = "";
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " "), i = 0;
        while (i < ELEMENTS(rule_words) &&
               (strlen(rule_words[i].word) != length || strncmp(rule_words[i].word, at, length) != 0))
            i++;
        if (i == ELEMENTS(rule_words))
            return -EINVAL;
        rules |= rule_words[i].rule;
        at += length;
    }
    *ret = rules;
    return 0;
}

bool match_is_known(const struct match_device *wish)
{
    return wish->mediated ? wish->type[0] || wish->label[0] : wish->vendor || wish->label[0];
}

/* Why one is not the right one, in the order in which they are counted. */
enum reason { FITS, TAKEN, OTHER_KIND, OTHER_ID, OTHER_LABEL, UNBOUND, OTHER_DRIVER, OTHER_NODE, REASONS };
static const char *const reason_texts[REASONS] = {
    [TAKEN] = "in use",
    [OTHER_KIND] = "of another kind or type",
    [OTHER_ID] = "of another vendor or model",
    [OTHER_LABEL] = "with another label",
    [UNBOUND] = "not bound to VFIO",
    [OTHER_DRIVER] = "on another driver",
    [OTHER_NODE] = "on another NUMA node",
};

static bool differs(const char *wanted, const char *is)
{
    return *wanted && strcmp(wanted, is) != 0;
}

static bool other_id(const struct match_device *w, const struct match_device *d, unsigned rules)
{
    return (rules & MATCH_VENDOR && w->vendor && w->vendor != d->vendor) ||
           (rules & MATCH_DEVICE && w->vendor && w->device != d->device) ||
           (rules & MATCH_SUBSYSTEM && w->subvendor &&
            (w->subvendor != d->subvendor || w->subdevice != d->subdevice));
}

static enum reason judge(const struct match_device *w, const struct match_device *d, unsigned rules)
{
    if (w->mediated != d->mediated || differs(w->type, d->type))
        return OTHER_KIND;
    if (!w->mediated && other_id(w, d, rules))
        return OTHER_ID;
    if (differs(w->label, d->label))
        return OTHER_LABEL;
    if (d->unbound && !(w->may_bind && (d->label[0] || strcmp(w->address, d->address) == 0)))
        return UNBOUND;
    if (rules & MATCH_DRIVER && !d->unbound && differs(w->driver, d->driver))
        return OTHER_DRIVER;
    if (rules & MATCH_NUMA_NODE && w->numa_node >= 0 && w->numa_node != d->numa_node)
        return OTHER_NODE;
    return d->taken_by[0] ? TAKEN : FITS;
}

/* Whether a is a better choice than b. */
static bool is_better(const struct match_device *w, const struct match_device *a,
                      const struct match_device *b)
{
    bool same_a = strcmp(a->address, w->address) == 0, same_b = strcmp(b->address, w->address) == 0;
    if (same_a != same_b)
        return same_a;
    bool near_a = w->numa_node >= 0 && a->numa_node == w->numa_node;
    bool near_b = w->numa_node >= 0 && b->numa_node == w->numa_node;
    return near_a != near_b ? near_a : strcmp(a->address, b->address) < 0;
}

static int none_fits(const struct match_device *w, size_t n, const size_t counts[REASONS],
                     const char *taken_by, struct mig_error *err)
{
    char why[300];
    size_t at = (size_t)snprintf(why, sizeof why, "of %zu devices here", n);
    for (enum reason i = TAKEN; i < REASONS; i++)
        if (counts[i] && at < sizeof why)
            at += (size_t)snprintf(why + at, sizeof why - at, ", %zu %s", counts[i], reason_texts[i]);
    int r = mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0, "no device here can take the place of %.95s: %s",
                          w->address, why);
    if (counts[TAKEN])
        mig_error_hint(err, "Free one of those that fit (%.95s has one), or add another", taken_by);
    else
        mig_error_hint(err, "migctl devices shows what is here; [Libvirt] MatchDevices= and DeviceLabels= "
                            "say what must be the same");
    return r;
}

int match_find(const struct match_device *wish, const struct match_device *devices, size_t n, unsigned rules,
               size_t *ret, struct mig_error *err)
{
    size_t counts[REASONS] = {0};
    const struct match_device *best = NULL;
    const char *taken_by = "";
    for (size_t i = 0; i < n; i++) {
        enum reason reason = judge(wish, &devices[i], rules);
        counts[reason]++;
        if (reason == TAKEN)
            taken_by = devices[i].taken_by;
        if (reason == FITS && (!best || is_better(wish, &devices[i], best)))
            best = &devices[i];
    }
    if (!best)
        return none_fits(wish, n, counts, taken_by, err);
    *ret = (size_t)(best - devices);
    return 0;
}

int match_label(const char *labels, const char *address, char ret[MATCH_TEXT_MAX])
{
    char found[MATCH_TEXT_MAX] = "";
    for (const char *at = labels + strspn(labels, " "); *at; at += strspn(at, " ")) {
        char pattern[MATCH_TEXT_MAX];
        size_t length = strcspn(at, " ");
        const char *equals = memchr(at, '=', length);
        size_t before = equals ? (size_t)(equals - at) : 0, after = equals ? length - before - 1 : 0;
        if (before == 0 || after == 0 || before >= sizeof pattern || after >= sizeof found)
            return -EINVAL;
        snprintf(pattern, sizeof pattern, "%.*s", (int)before, at);
        if (!*found && fnmatch(pattern, address, 0) == 0)
            snprintf(found, sizeof found, "%.*s", (int)after, equals + 1);
        at += length;
    }
    memcpy(ret, found, sizeof found);
    return 0;
}
