/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-native.h"
#include "base/log.h"
#include "libvirt/vm-carry.h"
#include <poll.h>

struct vm_native {
    struct vm_natives *all;
    struct vm_native *next;
    struct vm_plan plan;
    struct vm_carry *carry;
    struct migration *migration; /* migd's part; reference, or NULL: it did not begin */
    struct loop_io *watch;
};

struct vm_natives {
    struct loop *loop;
    void (*ended)(struct migration *m, void *userdata);
    void *userdata;
    struct vm_native *list;
};

int vm_natives_new(struct vm_natives **ret, struct loop *loop,
                   void (*ended)(struct migration *m, void *userdata), void *userdata)
{
    struct vm_natives *all = calloc(1, sizeof *all);
    if (!all)
        return -ENOMEM;
    all->loop = loop;
    all->ended = ended;
    all->userdata = userdata;
    *ret = all;
    return 0;
}

static void native_free(struct vm_native *n)
{
    loop_io_free(n->watch);
    vm_carry_let_go(n->carry);
    migration_unref(n->migration);
    free(n);
}

struct vm_natives *vm_natives_free(struct vm_natives *all)
{
    if (!all)
        return NULL;
    for (struct vm_native *n = all->list, *next; n; n = next) {
        next = n->next;
        native_free(n);
    }
    free(all);
    return NULL;
}

int vm_native_begin(struct vm_native **ret, const struct vm_plan *plan, const struct hook *hook,
                    const char *runtime_dir, struct mig_error *err)
{
    struct vm_native *n = calloc(1, sizeof *n);
    if (!n)
        return mig_error_oom(err);
    n->plan = *plan;
    int r = vm_carry_begin(&n->carry, plan, hook, runtime_dir, err);
    if (r < 0) {
        native_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

bool vm_native_has_ended(struct vm_native *n, struct mig_error *err)
{
    struct pollfd p = {.fd = vm_carry_fd(n->carry), .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return false;
    if (vm_carry_result(n->carry, err) < 0)
        return true;
    mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                  "QEMU has moved %s whole: migd at %s did not wait for its memory", n->plan.name,
                  n->plan.host);
    mig_error_hint(err, "set ArrivalWait= there, and enable libvirt's hook: migctl libvirt enable-hook");
    return true;
}

/* Without libvirt's part memory is moved for nothing. What is decided is beyond that: where the guest runs is
 * known, and what libvirt makes of it is not. */
static void end_migration(struct vm_native *n, struct mig_error why)
{
    if (!n->migration)
        return;
    mig_error_wrap(&why, "libvirt did not finish its part");
    if (migration_break_off(n->migration, &why, NULL) == 0) {
        log_write(LOG_NOTICE,
                  &(struct log_fields){.domain = n->plan.name, .migration = migration_id(n->migration)},
                  "The migration of %s is broken off", n->plan.name);
        return;
    }
    if (!why.hint[0])
        mig_error_hint(&why, "look with virsh list --all at both hosts");
    migration_failed_beside(n->migration, &why);
}

static void take_out(struct vm_native *n)
{
    for (struct vm_native **at = &n->all->list; *at; at = &(*at)->next)
        if (*at == n) {
            *at = n->next;
            break;
        }
}

static void ended(int fd, void *userdata)
{
    struct vm_native *n = userdata;
    const struct log_fields fields = {.domain = n->plan.name};
    struct mig_error why = MIG_ERROR_INIT;
    if (vm_carry_result(n->carry, &why) < 0) {
        log_mig_error(LOG_WARNING, &fields, &why, "libvirt did not finish its part");
        end_migration(n, why);
    } else {
        log_write(LOG_INFO, &fields, "libvirt has moved CPUs and devices of %s", n->plan.name);
    }
    const struct vm_natives *all = n->all;
    struct migration *m = TAKE_PTR(n->migration);
    take_out(n);
    native_free(n);
    if (m)
        all->ended(m, all->userdata);
    migration_unref(m);
}

void vm_native_keep(struct vm_natives *all, struct vm_native *n, struct migration *m)
{
    n->all = all;
    n->migration = m ? migration_ref(m) : NULL;
    n->next = all->list;
    all->list = n;
    if (loop_io_new(&n->watch, all->loop, vm_carry_fd(n->carry), ended, n) < 0)
        log_warning("What libvirt says of %s will not be heard", n->plan.name);
}

bool vm_native_goes_on(const struct vm_natives *all, const struct migration *m)
{
    for (const struct vm_native *n = all->list; n; n = n->next)
        if (n->migration == m && n->watch)
            return true;
    return false;
}
