/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a job has in its hands while it runs, in the order in which it takes it: the set of trackers and
 * regions, tracking (before the first byte is read, R1), the connections, devices in PRE_COPY, the streams.
 * And how it lets go of it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "outgoing/job.h"
#include <string.h>

static int prepare_set(struct job *j, struct mig_error *err)
{
    struct domain *d = j->domain;
    j->regions = calloc(d->nmemory ? d->nmemory : 1, sizeof *j->regions);
    j->sent_digests = calloc(d->nmemory ? d->nmemory : 1, sizeof *j->sent_digests);
    if (!j->regions || !j->sent_digests)
        return mig_error_oom(err);
    for (size_t i = 0; i < d->nmemory; i++)
        j->regions[i] = d->memory[i].region;
    j->set = (struct harvest_set){
        .trackers = d->trackers, .ntrackers = d->ntrackers, .regions = j->regions, .nregions = d->nmemory};
    return 0;
}

static bool wants_exact_digests(const struct job *j)
{
    for (size_t i = 0; i < j->set.ntrackers; i++)
        if (j->set.trackers[i]->ops->by_digests)
            return true;
    return false;
}

int job_start_pages(struct job *j, bool resumed, struct mig_error *err)
{
    struct page_stream_options o = {.checksum = j->options.checksum,
                                    .compression = j->options.compression,
                                    .grows = j->grows,
                                    .acknowledged = j->resume_key[0],
                                    .resumed = resumed,
                                    .cancel_fd = j->cancel_fd,
                                    .total = j->total,
                                    .exact_digests = wants_exact_digests(j),
                                    .sent_digests = (uint64_t *const *)j->sent_digests};
    memcpy(o.codecs, j->codecs, sizeof o.codecs);
    int r =
        page_stream_new(&j->pages, j->page_channels, j->npage_channels, j->regions, j->set.nregions, &o, err);
    if (r < 0)
        return r;
    struct migration_options now;
    migration_get_options(j->migration, &now);
    page_stream_set_bandwidth(j->pages, now.bandwidth_bytes_per_sec);
    job_start_growth(j);
    pthread_mutex_lock(&j->pages_lock);
    j->live_pages = j->pages;
    pthread_mutex_unlock(&j->pages_lock);
    return 0;
}

static int start_streams(struct job *j, struct mig_error *err)
{
    struct domain *d = j->domain;
    int r = job_start_pages(j, false, err);
    if (r < 0)
        return r;
    _cleanup_free_ struct state_source *sources = calloc(d->ndevices ? d->ndevices : 1, sizeof *sources);
    if (!sources)
        return mig_error_oom(err);
    for (size_t i = 0; i < d->ndevices; i++) {
        sources[i].device = d->devices[i].device;
        sources[i].precopy = domain_device_precopies(&d->devices[i]);
    }
    r = state_stream_new(&j->state, j->state_channel, j->options.checksum, sources, d->ndevices,
                         controller_has_state(d->controller) ? d->controller : NULL, j->cancel_fd, err);
    if (r < 0)
        return r;
    state_stream_set_limit(j->state, page_stream_limit(j->pages));
    if (j->resume_key[0])
        state_stream_keep(j->state);
    return 0;
}

static int start_devices(struct job *j, struct mig_error *err)
{
    for (size_t i = 0; i < j->domain->ndevices; i++) {
        struct domain_device *d = &j->domain->devices[i];
        if (!domain_device_precopies(d))
            continue;
        j->devices_touched = true;
        int r = d->device->ops->set_state(d->device, DEVICE_STATE_PRE_COPY, NULL, err);
        if (r < 0)
            return mig_error_wrap(err, "Starting to save device %s", d->device->name);
    }
    return 0;
}

static void set_totals(struct migration_counters *c, void *userdata)
{
    const struct job *j = userdata;
    c->memory_bytes = c->remaining_bytes = 0;
    for (size_t i = 0; i < j->set.nregions; i++)
        c->memory_bytes += j->regions[i]->size_bytes;
    c->remaining_bytes = c->memory_bytes;
    c->connections = j->npage_channels;
}

static void set_setup_time(struct migration_counters *c, void *userdata)
{
    c->setup_usec = now_usec() - *(const uint64_t *)userdata;
}

/* The half of the check that asks devices, trackers and the VMM, as `migctl check` does. The VMM's log and
 * the trackers go on from here, before the peer is asked anything: what they report until round 0 is sent
 * anyhow. */
static int check_and_track(struct job *j, struct mig_error *err)
{
    struct log_fields fields = {.domain = j->domain->name, .migration = migration_id(j->migration)};
    struct findings f = {0};
    check_waive(&f, &j->options);
    j->tracking = true;
    int r = check_asks(j->domain, &j->request, true, &f);
    r = r < 0 ? mig_error_oom(err) : check_refusal(&f, err);
    for (size_t i = 0; r == 0 && i < f.count; i++) {
        if (f.items[i].severity != FINDING_WARNING)
            continue;
        bool waived = finding_is_waived(&f.items[i]);
        fields.reason = waived ? "overruled by the operator" : NULL;
        log_write(LOG_NOTICE, &fields, "%s (%s%s%s)", f.items[i].message, f.items[i].word, waived ? ", " : "",
                  waived ? fields.reason : "");
    }
    findings_clear(&f);
    return r < 0 ? r : harvest_start(&j->set, err);
}

int job_set_up(struct job *j, struct mig_error *err)
{
    uint64_t began = now_usec();
    migration_set_verdict(j->migration, "Setting up: connecting to %s", j->destination);
    migration_set_phase(j->migration, MIG_PHASE_SETUP);
    record_forget(j->runtime_dir, j->domain->name); /* that it once came here says nothing from now on */
    int r = prepare_set(j, err);
    if (r < 0)
        return r;
    r = job_write_record(j, RECORD_STARTED, err);
    if (r < 0)
        return r;
    r = check_and_track(j, err);
    if (r < 0)
        return r;
    r = job_handshake(j, err);
    if (r < 0)
        return r;
    r = job_prepare_digests(j, err); /* what a tracker knows is known once it has started */
    if (r < 0)
        return r;
    r = start_devices(j, err);
    if (r < 0)
        return r;
    r = start_streams(j, err);
    if (r < 0)
        return r;
    migration_update(j->migration, set_totals, j);
    job_publish_trackers(j);
    migration_update(j->migration, set_setup_time, &began);
    migration_set_verdict(j->migration, "Full send: every page once, while the workload runs");
    return 0;
}

void job_close(struct job *j)
{
    pthread_mutex_lock(&j->pages_lock);
    j->live_pages = NULL;
    pthread_mutex_unlock(&j->pages_lock);
    j->state = state_stream_free(j->state); /* it charges the limit of the other */
    j->pages = page_stream_free(j->pages);
    j->watch = link_watch_free(j->watch);
    for (size_t i = 0; i < j->npage_channels; i++)
        j->page_channels[i] = channel_free(j->page_channels[i]);
    j->npage_channels = 0;
    j->state_channel = channel_free(j->state_channel);
    j->control = channel_free(j->control);
    for (size_t i = 0; j->sent_digests && i < j->set.nregions; i++) {
        j->regions[i]->sent_digests = NULL;
        free(j->sent_digests[i]);
    }
    free(j->sent_digests);
    j->sent_digests = NULL;
    free(j->regions);
    j->regions = NULL;
}
