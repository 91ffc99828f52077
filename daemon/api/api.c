/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole of it: built up, taken down, ended in good order. */
#include "api/api-context.h"
#include "libvirt/vm-native.h"
#include "api/api-fetch.h"
#include "api/api-job.h"
#include "api/api-policy.h"
#include "base/log.h"
#include "loop/loop.h"
#include "migd-bus.h"
#include <stdio.h>
#include <string.h>

static int export_all(struct api *a)
{
    sd_bus_slot *slot = NULL;
    int r = sd_bus_add_object_manager(a->bus, &slot, MIGD_BUS_ROOT);
    if (r >= 0)
        r = api_keep_slot(a, slot);
    if (r >= 0)
        r = api_manager_export(a);
    if (r >= 0)
        r = api_domain_export(a);
    if (r >= 0)
        r = api_migration_export(a);
    return r < 0 ? r : api_log_control_export(a);
}

int api_new(struct api **ret, const struct api_options *options, struct mig_error *err)
{
    _cleanup_(api_freep) struct api *a = calloc(1, sizeof *a);
    if (!a)
        return mig_error_oom(err);
    a->o = *options;
    a->bus = sd_bus_ref(options->bus);
    a->policy = api_policy_new();
    if (!a->policy)
        return mig_error_oom(err);
    if (vm_natives_new(&a->natives, a->o.loop, api_libvirt_ended, a) < 0)
        return mig_error_oom(err);
    int r = export_all(a);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "cannot put the interfaces on the bus: %s",
                             strerror(-r));
    *ret = TAKE_PTR(a);
    return 0;
}

struct api *api_free(struct api *a)
{
    if (!a)
        return NULL;
    for (size_t i = 0; i < a->nslots; i++)
        sd_bus_slot_unref(a->slots[i]);
    api_forget_quit(a);
    api_jobs_free(a);
    api_fetches_free(a);
    for (size_t i = 0; i < a->nmigrations; i++) {
        migration_shutdown(a->migrations[i]->migration);
        api_migration_free(a->migrations[i]);
    }
    vm_natives_free(a->natives);
    for (size_t i = 0; i < a->ndomains; i++) {
        domain_stop_watching(a->domains[i]->domain);
        api_domain_free(a->domains[i]);
    }
    free(a->migrations);
    free(a->domains);
    loop_timer_free(a->ticker);
    loop_timer_free(a->expiry);
    api_policy_free(a->policy);
    sd_bus_unref(a->bus);
    free(a);
    return NULL;
}

void api_set_defaults(struct api *a, const struct migration_options *defaults)
{
    a->o.defaults = *defaults;
}

void api_set_peer_address(struct api *a, const char *address)
{
    snprintf(a->peer_address, sizeof a->peer_address, "%s", address);
    api_tell_summary(a);
}

/* Not with migration_shutdown, which waits for the worker, and the worker for a VMM that answers through this
 * loop. */
static void break_off(struct migration *m)
{
    struct mig_error why = MIG_ERROR_INIT, e = MIG_ERROR_INIT;
    /* For its peer it is a failure like others: that migd goes on. */
    mig_error_set(&why, migration_direction(m) == MIGRATION_OUTGOING ? MIG_ERR_STOPPED : MIG_ERR_FAILED, 0,
                  "migd was stopped while %s was being migrated", migration_domain(m));
    mig_error_hint(&why, "it runs on at the source: start the migration again when migd is back");
    if (migration_break_off(m, &why, &e) < 0)
        log_info("Waiting for migration %s: %s", migration_id(m), e.message);
}

void api_quit(struct api *a, void (*done)(void *userdata), void *userdata)
{
    a->quitting = true;
    a->quit_done = done;
    a->quit_userdata = userdata;
    for (size_t i = 0; i < a->nmigrations; i++)
        if (migration_get_state(a->migrations[i]->migration) == MIG_STATE_RUNNING)
            break_off(a->migrations[i]->migration);
    api_answer_waits(a);
    api_jobs_cancel(a);
    api_check_quit(a);
}
