/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HELLO of an incoming migration, held against the domain that waits for it (compare.h) before anything is
 * touched. Then the devices are made ready to take state (RESUMING), and the answer goes out.
 */
#include "base/log.h"
#include "incoming/compare.h"
#include "incoming/session.h"
#include "transport/address.h"
#include "transport/codec.h"
#include "transport/security.h"
#include <stdio.h>
#include <string.h>

/* The source's numbers of regions and devices are what its frames name them by: ours are found by name. All
 * of them are here: compare_hello has said so. */
static int take_numbers(struct session *s, struct device ***ret_devices, struct mig_error *err)
{
    struct json_object *regions, *devices;
    const char *name;
    size_t n;
    json_get_array(s->hello, "regions", &regions, &s->nregions);
    json_get_array(s->hello, "devices", &devices, &n);
    s->regions = calloc(s->nregions ? s->nregions : 1, sizeof *s->regions);
    struct device **found = calloc(n ? n : 1, sizeof(struct device *));
    *ret_devices = found;
    if (!s->regions || !found)
        return mig_error_oom(err);
    for (size_t i = 0; i < s->nregions; i++) {
        json_get_string(json_object_array_get_idx(regions, i), "name", &name);
        s->regions[i] = domain_find_memory(s->domain, name)->region;
    }
    for (size_t i = 0; i < n; i++) {
        json_get_string(json_object_array_get_idx(devices, i), "name", &name);
        found[i] = domain_find_device(s->domain, name)->device;
    }
    return 0;
}

static void log_findings(const struct session *s, const struct findings *f)
{
    struct log_fields fields = {
        .domain = s->domain->name, .migration = migration_id(s->migration), .peer = s->control->peer};
    for (size_t i = 0; i < f->count; i++) {
        if (f->items[i].severity != FINDING_WARNING)
            continue;
        bool waived = finding_is_waived(&f->items[i]);
        fields.reason = waived ? "overruled by the source's operator" : NULL;
        log_write(LOG_WARNING, &fields, "%s (%s%s%s)", f->items[i].message, f->items[i].word,
                  waived ? ", " : "", waived ? fields.reason : "");
    }
}

/* Nothing is touched before this has passed. */
static int compare(struct session *s, struct mig_error *err)
{
    struct findings found = {0};
    struct here here;
    if (here_take(&here, s->domain, s->accept_overrides) < 0)
        return mig_error_oom(err);
    here.ledger = space_ledger_ref(s->ledger);
    here.who = s;
    int r = compare_promise(s->hello, &here);
    r = r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot note what will arrive: %s", strerror(-r))
              : compare_hello(s->hello, &here, &found, err);
    if (r == 0)
        r = compare_refuse(&found, err);
    if (r == 0)
        log_findings(s, &found);
    findings_clear(&found);
    here_drop(&here);
    return r;
}

static int ready_device(struct device *d, struct mig_error *err)
{
    enum device_state now;
    int r = d->ops->get_state(d, &now, err);
    if (r < 0)
        return mig_error_wrap(err, "Making device %s ready to take state", d->name);
    /* One that is in RESUMING already has a part of another state in it, which would stay there. */
    if (now != DEVICE_STATE_RESUMING && d->ops->set_state(d, DEVICE_STATE_RESUMING, &now, NULL) == 0)
        return 0;
    /* The rest of an earlier attempt: a reset is what empties it. */
    r = d->ops->reset(d, err);
    if (r == 0)
        r = d->ops->set_state(d, DEVICE_STATE_RESUMING, &now, err);
    return r < 0 ? mig_error_wrap(err, "Making device %s ready to take state", d->name) : 0;
}

/* An arrival that ended with the daemon leaves devices behind that stand still with a part of a state in
 * them, and do not even say what they are. Where it goes next anyway, such a device tells that again. */
static int wake_devices(struct session *s, struct mig_error *err)
{
    for (size_t i = 0; i < s->domain->ndevices; i++) {
        if (!device_is_silent(s->domain->devices[i].device))
            continue;
        s->devices_touched = true;
        int r = ready_device(s->domain->devices[i].device, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int answer(struct session *s, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    struct json_object *codecs = json_object_new_array();
    for (int c = CODEC_NONE + 1; codecs && c < CODEC_MAX; c++)
        json_object_array_add(codecs, json_object_new_string(codec_to_string((enum codec)c)));
    if (!o || json_add(o, "codecs", codecs) < 0 || json_add_bool(o, "ok", true) < 0 ||
        json_add_u64(o, "protocol", DIALOGUE_PROTOCOL) < 0 ||
        json_add_u64(o, "connections", s->nconnections) < 0 ||
        (s->limit > s->nconnections && json_add_u64(o, "connections-limit", s->limit) < 0) ||
        json_add_string(o, "version", PACKAGE_VERSION) < 0 ||
        (s->heartbeat.wanted && json_add_bool(o, "heartbeat", true) < 0) ||
        (s->resume_key[0] && json_add_string(o, "resume-key", s->resume_key) < 0))
        return mig_error_oom(err);
    return frame_send_json(&s->control_stream, WIRE_HELLO, o, err);
}

/* A source that listens on every address of its host cannot know by which one it is reached from here: by the
 * one that it came from. */
static void complete_decision_address(struct session *s)
{
    struct address named, from;
    if (address_parse(&named, s->decision_address, NULL) < 0 || named.is_unix ||
        (*named.host && strcmp(named.host, "0.0.0.0") != 0 && strcmp(named.host, "::") != 0) ||
        address_parse(&from, s->control->peer, NULL) < 0 || from.is_unix)
        return;
    from.port = named.port;
    char text[ADDRESS_TEXT_MAX];
    address_format(&from, text, sizeof text);
    if (strlen(text) < sizeof s->decision_address)
        strcpy(s->decision_address, text);
}

int session_accept(struct session *s, struct mig_error *err)
{
    uint64_t connections, limit;
    if (json_get_u64(s->hello, "connections", &connections) < 0 || connections < 1 ||
        json_get_bool(s->hello, "vmm-state", &s->vmm_state) < 0 ||
        json_copy_string(s->hello, "token", s->token, sizeof s->token) < 0 || strlen(s->token) < 16 ||
        json_copy_string(s->hello, "decision-address", s->decision_address, sizeof s->decision_address) < 0)
        return mig_error_set(
            err, MIG_ERR_PEER_PROTOCOL, 0,
            "HELLO of the source is malformed: connections, vmm-state, token or decision-address");
    if (json_get_bool(s->hello, "heartbeat", &s->heartbeat.wanted) < 0)
        s->heartbeat.wanted = false; /* an older source */
    complete_decision_address(s);
    security_peer_name(s->control, s->source_name, sizeof s->source_name);
    int r = wake_devices(s, err);
    if (r == 0)
        r = compare(s, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    s->nconnections = MIN(connections, (uint64_t)WIRE_CONNECTIONS_MAX);
    s->limit = s->nconnections;
    if (json_get_u64(s->hello, "connections-limit", &limit) == 0)
        s->limit = limit > WIRE_CONNECTIONS_MAX ? WIRE_CONNECTIONS_MAX : MAX(s->limit, (size_t)limit);
    pthread_mutex_unlock(&s->lock);
    s->devices_touched = true;
    for (size_t i = 0; i < s->domain->ndevices; i++) {
        r = ready_device(s->domain->devices[i].device, err);
        if (r < 0)
            return r;
    }
    struct device **devices = NULL;
    r = take_numbers(s, &devices, err);
    if (r == 0)
        r = state_apply_new(&s->state, devices, s->domain->ndevices, s->vmm_state, err);
    free(devices);
    if (r == 0)
        r = session_agree_resume(s, err);
    return r < 0 ? r : answer(s, err);
}
