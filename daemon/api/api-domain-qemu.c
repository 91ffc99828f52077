/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.AddQemu: a stock QEMU by its monitor. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/clock.h"
#include "domain/qemu-guest.h"
#include <string.h>

#define DEFAULT_TIMEOUT_USEC (10 * USEC_PER_SEC)

static int run(void *work, struct mig_error *err)
{
    return qemu_guest_take(work, err);
}

static int finish(void *work, struct mig_error *err)
{
    return qemu_guest_insert(work, err);
}

static void free_work(void *work)
{
    qemu_guest_free(work);
}

static const struct api_job_ops ops = {.run = run, .finish = finish, .free = free_work};

int api_domain_add_qemu(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    struct qemu_guest *guest;
    struct qemu_guest_options o = {
        .timeout_usec = DEFAULT_TIMEOUT_USEC, .watch = "auto", .with_containers = true};
    const struct api_option options[] = {{"timeout", API_U64, &o.timeout_usec},
                                         {"containers", API_BOOL, &o.with_containers},
                                         {"cpu-tracker", API_STRING, &o.watch}};
    int r = sd_bus_message_read(m, "s", &o.path);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0)
        return api_error(error, &e);
    if (qemu_guest_new(&guest, ad->domain, &o, &e) < 0)
        return api_error(error, &e);
    r = api_job_start(ad->api, m, ad->domain, "AddQemu", &ops, guest, &e);
    return r < 0 ? api_error(error, &e) : r;
}
