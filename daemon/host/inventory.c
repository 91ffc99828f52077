/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/inventory.h"
#include "base/clock.h"
#include "host/group.h"
#include "host/holders.h"
#include "host/pci-function.h"
#include "host/pci-names.h"
#include "host/probe.h"
#include "host/variants.h"
#include "host/verdict.h"
#include "vfio/device.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void clear_device(struct host_device *d)
{
    free(d->members);
    free(d->holders);
    findings_clear(&d->findings);
}

static int keep(struct inventory *i, const struct host_device *d)
{
    if ((i->count & (i->count - 1)) == 0) {
        struct host_device *devices = reallocarray(i->devices, i->count ? i->count * 2 : 1, sizeof *devices);
        if (!devices)
            return -ENOMEM;
        i->devices = devices;
    }
    i->devices[i->count++] = *d;
    return 0;
}

/* ---- which ---- */

static bool is_wanted(const struct host_device *d, const struct inventory_options *o)
{
    if (o->nonly) {
        for (size_t i = 0; i < o->nonly; i++)
            if (strcmp(o->only[i], d->address) == 0)
                return true;
        return false;
    }
    if (d->kind == HOST_MDEV)
        return true;
    if (pci_function_is_bridge(d) || !d->group[0])
        return false;
    return o->all || d->on_vfio || d->variant[0] || d->physical[0];
}

static int add_functions(struct inventory *i, const struct inventory_options *o, const struct variants *v)
{
    struct tree_names names = {0};
    struct host_device d;
    int r = tree_list(&o->tree, &names, "/sys/bus/pci/devices");
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    i->host.functions = names.count;
    for (size_t k = 0; r == 0 && k < names.count; k++)
        if (pci_function_learn(&d, &o->tree, v, names.names[k]) == 0 && is_wanted(&d, o))
            r = keep(i, &d);
    tree_names_free(&names);
    return r;
}

static int add_mdevs(struct inventory *i, const struct inventory_options *o)
{
    struct tree_names names = {0};
    struct host_device d;
    int r = tree_list(&o->tree, &names, "/sys/bus/mdev/devices");
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    for (size_t k = 0; r == 0 && k < names.count; k++)
        if (mdev_learn(&d, &o->tree, names.names[k]) == 0 && is_wanted(&d, o))
            r = keep(i, &d);
    tree_names_free(&names);
    return r;
}

static int check_named(const struct inventory *i, const struct inventory_options *o, struct mig_error *err)
{
    for (size_t k = 0; k < o->nonly; k++) {
        bool found = false;
        for (size_t n = 0; n < i->count; n++)
            found |= strcmp(i->devices[n].address, o->only[k]) == 0;
        if (found)
            continue;
        int r = mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0,
                              "there is no PCI function and no mediated device %.64s", o->only[k]);
        mig_error_hint(err, "migctl devices --all shows what there is");
        return r;
    }
    return 0;
}

/* ---- the host ---- */

static void learn_host(struct host_facts *h, const struct host_tree *t, const struct variants *v)
{
    struct tree_names groups = {0};
    tree_read(t, h->kernel, sizeof h->kernel, "/proc/sys/kernel/osrelease");
    if (tree_list(t, &groups, "/sys/kernel/iommu_groups") == 0)
        h->has_groups = groups.count > 0;
    tree_names_free(&groups);
    h->has_cdevs = tree_has(t, "/dev/vfio/devices");
    h->has_vfio = tree_has(t, "/dev/vfio/vfio") || h->has_cdevs || tree_has(t, "/sys/module/vfio");
    h->has_iommufd = tree_has(t, "/dev/iommu");
    h->knows_variants = variants_known(v);
    h->has_vfio_pci = variants_have_plain(v) || tree_has(t, "/sys/bus/pci/drivers/vfio-pci");
}

/* ---- each ---- */

static void match_known(struct inventory *i, const struct inventory_options *o)
{
    char address[HOST_NAME_MAX_BYTES];
    for (size_t k = 0; k < o->nknown; k++) {
        const struct inventory_known *known = &o->known[k];
        int fd = kvfio_device_fd(known->device);
        if (fd < 0 || holders_device_of(&o->tree, "self", fd, address, sizeof address) < 0)
            continue;
        for (size_t n = 0; n < i->count; n++) {
            struct host_device *d = &i->devices[n];
            if (strcmp(d->address, address) != 0)
                continue;
            snprintf(d->domain, sizeof d->domain, "%.63s", known->domain);
            snprintf(d->domain_device, sizeof d->domain_device, "%.63s", known->name);
            probe_known_device(d, known->device, known->busy);
        }
    }
}

static int look_closer(struct inventory *i, const struct inventory_options *o)
{
    uint64_t until = now_usec() + (o->probe_usec ? o->probe_usec : INVENTORY_PROBE_USEC);
    int r = holders_find(i->devices, i->count, &o->tree, &i->host.hidden_processes);
    if (r == 0)
        match_known(i, o);
    for (size_t n = 0; r == 0 && n < i->count; n++) {
        struct host_device *d = &i->devices[n];
        r = group_learn(d, &o->tree, o->probe);
        if (r < 0 || d->probe == HOST_PROBE_DOMAIN)
            continue;
        if (!o->probe)
            d->probe = d->nholders ? HOST_PROBE_HELD : HOST_PROBE_SKIPPED;
        else if (now_usec() > until)
            d->probe = HOST_PROBE_LATE;
        else
            probe_device(d, &o->tree);
    }
    if (r == 0)
        r = pci_names_find(i->devices, i->count, &o->tree);
    for (size_t n = 0; r == 0 && n < i->count; n++)
        r = verdict_reach(&i->devices[n], &i->host);
    return r;
}

static int take(struct inventory *i, const struct inventory_options *o, struct mig_error *err)
{
    _cleanup_(variants_freep) struct variants *v = NULL;
    int r = variants_read(&v, &o->tree);
    if (r == 0)
        learn_host(&i->host, &o->tree, v);
    if (r == 0)
        r = add_functions(i, o, v);
    if (r == 0)
        r = add_mdevs(i, o);
    if (r < 0)
        return mig_error_oom(err);
    r = check_named(i, o, err);
    if (r < 0)
        return r;
    i->host.devices = i->count;
    r = look_closer(i, o);
    if (r == 0)
        r = verdict_of_host(&i->host, &i->findings);
    return r < 0 ? mig_error_oom(err) : 0;
}

int inventory_take(struct inventory **ret, const struct inventory_options *o, struct mig_error *err)
{
    _cleanup_(inventory_freep) struct inventory *i = calloc(1, sizeof *i);
    if (!i)
        return mig_error_oom(err);
    pthread_mutex_lock(&one_at_a_time);
    int r = take(i, o, err);
    pthread_mutex_unlock(&one_at_a_time);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(i);
    return 0;
}

struct inventory *inventory_free(struct inventory *i)
{
    if (!i)
        return NULL;
    for (size_t n = 0; n < i->count; n++)
        clear_device(&i->devices[n]);
    free(i->devices);
    findings_clear(&i->findings);
    free(i);
    return NULL;
}
