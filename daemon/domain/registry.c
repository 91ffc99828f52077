/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/registry.h"
#include <string.h>

struct registry {
    struct domain **domains; /* in order of registration */
    size_t n;
};

int registry_new(struct registry **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

struct registry *registry_free(struct registry *r)
{
    if (r) {
        for (size_t i = 0; i < r->n; i++)
            domain_unref(r->domains[i]);
        free(r->domains);
        free(r);
    }
    return NULL;
}

int registry_add(struct registry *r, struct domain *d, struct mig_error *err)
{
    if (registry_find(r, d->name)) {
        int e = mig_error_set(err, MIG_ERR_EXISTS, 0, "there is a domain named %s already", d->name);
        mig_error_hint(err, "release it first, or choose another name");
        return e;
    }
    if (r->n >= REGISTRY_DOMAINS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "there are %u domains already, which is the limit",
                             REGISTRY_DOMAINS_MAX);
    struct domain **domains = reallocarray(r->domains, r->n + 1, sizeof *domains);
    if (!domains)
        return mig_error_oom(err);
    r->domains = domains;
    domains[r->n++] = domain_ref(d);
    return 0;
}

void registry_remove(struct registry *r, struct domain *d)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->domains[i] != d)
            continue;
        memmove(&r->domains[i], &r->domains[i + 1], (r->n - i - 1) * sizeof r->domains[0]);
        r->n--;
        domain_unref(d);
        return;
    }
}

struct domain *registry_find(struct registry *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->domains[i]->name, name) == 0)
            return r->domains[i];
    return NULL;
}

struct domain *registry_nth(struct registry *r, size_t n)
{
    return n < r->n ? r->domains[n] : NULL;
}
