/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Life, names, states and who has the domain. What it consists of: structure.c. */
#include "domain/domain.h"
#include "base/log.h"
#include "domain/saved.h"
#include "domain/structure.h"
#include "loop/loop.h"
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

static const char *const state_words[] = {
#define X(symbol, word) [symbol] = word,
    MIGD_DOMAIN_STATE_TABLE(X)
#undef X
};

const char *domain_state_to_string(enum domain_state s)
{
    return s < DOMAIN_STATE_MAX ? state_words[s] : "unknown";
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int domain_part_name_check(const char *what, const char *name, struct mig_error *err)
{
    size_t n = strlen(name);
    bool good = n >= 1 && n <= DOMAIN_NAME_MAX && is_alnum(name[0]), part = strcmp(what, "domain") != 0;
    for (size_t i = 0; good && i < n; i++) /* a device may be named by its PCI address */
        good = is_alnum(name[i]) || strchr("._-", name[i]) || (part && name[i] == ':');
    if (good)
        return 0;
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.80s\" is not a name for a %s", name, what);
    mig_error_hint(err,
                   "1 to %d letters, digits, dots, underscores%s and dashes, the first a letter or a digit",
                   DOMAIN_NAME_MAX, part ? ", colons" : "");
    return r;
}

int domain_name_check(const char *name, struct mig_error *err)
{
    return domain_part_name_check("domain", name, err);
}

int domain_new(struct domain **ret, const char *name, bool incoming, struct mig_error *err)
{
    int r = domain_name_check(name, err);
    if (r < 0)
        return r;
    struct domain *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return mig_error_oom(err);
    fresh->refs = 1;
    pthread_mutex_init(&fresh->lock, NULL);
    _cleanup_(domain_unrefp) struct domain *d = fresh;
    snprintf(d->name, sizeof d->name, "%s", name);
    d->incoming = incoming;
    d->state = incoming ? DOMAIN_STATE_WAITING : DOMAIN_STATE_RUNNING;
    /* Above malloc's mmap threshold: pages of it that are never used are never there. */
    d->memory = calloc(DOMAIN_REGIONS_MAX, sizeof *d->memory);
    if (!d->memory)
        return mig_error_oom(err);
    r = controller_new_none(&d->controller, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(d);
    return 0;
}

struct domain *domain_ref(struct domain *d)
{
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

struct domain *domain_unref(struct domain *d)
{
    if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    domain_clear_structure(d);
    json_object_put(d->controller_saved);
    controller_unref(d->controller);
    free(d->memory);
    free(d->saved_path);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

void domain_tell(struct domain *d)
{
    if (d->saved)
        domain_save(d);
    if (d->changed)
        d->changed(d, d->changed_userdata);
}

void domain_set_state(struct domain *d, enum domain_state state, const char *problem)
{
    if (!problem)
        problem = "";
    if (d->incomplete[0] && (state == DOMAIN_STATE_RUNNING || state == DOMAIN_STATE_WAITING)) {
        state = DOMAIN_STATE_BROKEN;
        problem = d->incomplete;
    }
    if (d->state == state && strcmp(d->problem, problem) == 0)
        return;
    const struct log_fields fields = {
        .message = state == DOMAIN_STATE_BROKEN ? MESSAGE_DOMAIN_BROKEN : MESSAGE_NONE, .domain = d->name};
    if (*problem)
        log_write(LOG_ERR, &fields, "%s -> %s: %s", domain_state_to_string(d->state),
                  domain_state_to_string(state), problem);
    else
        log_write(LOG_INFO, &fields, "%s -> %s", domain_state_to_string(d->state),
                  domain_state_to_string(state));
    d->state = state;
    snprintf(d->problem, sizeof d->problem, "%s", problem);
    domain_tell(d);
}

int domain_check_idle(struct domain *d, struct mig_error *err)
{
    int r;
    if (d->borrowed) {
        r = mig_error_set(err, MIG_ERR_BUSY, 0, "domain %s is busy with migration %s", d->name,
                          d->migration_id);
        mig_error_hint(err, "wait for it to end, or cancel it");
        return r;
    }
    if (d->job[0]) {
        r = mig_error_set(err, MIG_ERR_BUSY, 0, "domain %s is busy with %s", d->name, d->job);
        mig_error_hint(err, "try again when that call was answered");
        return r;
    }
    return 0;
}

int domain_begin_job(struct domain *d, const char *job, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r == 0)
        snprintf(d->job, sizeof d->job, "%s", job);
    return r;
}

void domain_end_job(struct domain *d)
{
    d->job[0] = '\0';
}

static void set_borrowed(struct domain *d, bool borrowed)
{
    pthread_mutex_lock(&d->lock);
    d->borrowed = borrowed;
    pthread_mutex_unlock(&d->lock);
}

bool domain_is_borrowed(struct domain *d)
{
    pthread_mutex_lock(&d->lock);
    bool borrowed = d->borrowed;
    pthread_mutex_unlock(&d->lock);
    return borrowed;
}

int domain_borrow(struct domain *d, const char *migration_id, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r < 0)
        return r;
    snprintf(d->migration_id, sizeof d->migration_id, "%s", migration_id);
    set_borrowed(d, true);
    /* A pass-through client may have brought memory a moment ago, and cannot any more. */
    r = domain_renew_all_trackers(d, err);
    if (r < 0) {
        set_borrowed(d, false);
        d->migration_id[0] = '\0';
        return r;
    }
    if (d->changed)
        d->changed(d, d->changed_userdata);
    return 0;
}

void domain_give_back(struct domain *d)
{
    set_borrowed(d, false);
    d->migration_id[0] = '\0';
    domain_drop_unused_memory(d);
    domain_check_devices(d);
    if (d->changed)
        d->changed(d, d->changed_userdata);
}
