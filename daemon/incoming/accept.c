/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HELLO of an incoming migration, held against the domain that waits for it: every region and device must be
 * there under the same name and of the same size and kind, before anything is touched. Then the devices are
 * made ready to take state (RESUMING), and the answer goes out.
 */
#include "incoming/session.h"
#include "transport/address.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int incompatible(struct mig_error *err, const char *hint, const char *format, ...) _printf_(3, 4);
static int incompatible(struct mig_error *err, const char *hint, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    int r = mig_error_set(err, MIG_ERR_INCOMPATIBLE, 0, "%s", text);
    mig_error_hint(err, "%s", hint);
    return r;
}

static int malformed(struct mig_error *err, const char *what)
{
    return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO of the source is malformed: %s", what);
}

static int check_region(struct session *s, struct json_object *o, size_t index, struct mig_error *err)
{
    const char *name;
    uint64_t size;
    if (json_get_string(o, "name", &name) < 0 || json_get_u64(o, "size", &size) < 0)
        return malformed(err, "a region without name or size");
    struct domain_memory *m = domain_find_memory(s->domain, name);
    if (!m)
        return incompatible(err, "Register it here under the same name",
                            "The source has memory %.63s, which domain %s here has not", name,
                            s->domain->name);
    if (m->region->size_bytes != size)
        return incompatible(err, "Register it here with the size that it has at the source",
                            "Memory %s has %llu bytes at the source and %llu here", name,
                            (unsigned long long)size, (unsigned long long)m->region->size_bytes);
    if (!m->region->writable)
        return incompatible(err, "Register it here without read-only",
                            "Memory %s of domain %s is read-only here", name, s->domain->name);
    for (size_t i = 0; i < index; i++)
        if (s->regions[i] == m->region)
            return malformed(err, "a region twice");
    s->regions[index] = m->region;
    return 0;
}

static int check_regions(struct session *s, struct mig_error *err)
{
    struct json_object *array;
    size_t n;
    if (json_get_array(s->hello, "regions", &array, &n) < 0 || n > WIRE_REGIONS_MAX)
        return malformed(err, "no regions, or too many");
    if (n != s->domain->nmemory)
        return incompatible(err, "Register the same memory on both sides",
                            "The source has %zu pieces of memory, domain %s here has %zu", n, s->domain->name,
                            s->domain->nmemory);
    s->regions = calloc(n ? n : 1, sizeof *s->regions);
    if (!s->regions)
        return mig_error_oom(err);
    s->nregions = n;
    for (size_t i = 0; i < n; i++) {
        int r = check_region(s, json_object_array_get_idx(array, i), i, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The source's device number i must be our number i: the state connection names them by number. */
static int check_device(struct session *s, struct json_object *o, struct device *d, struct mig_error *err)
{
    const struct device_info *info = d->ops->info(d);
    const char *name, *kind;
    uint64_t flags, vendor, device, subvendor, subdevice;
    if (json_get_string(o, "name", &name) < 0 || json_get_string(o, "kind", &kind) < 0 ||
        json_get_u64(o, "migration-flags", &flags) < 0 || json_get_u64(o, "vendor", &vendor) < 0 ||
        json_get_u64(o, "device", &device) < 0 || json_get_u64(o, "subsystem-vendor", &subvendor) < 0 ||
        json_get_u64(o, "subsystem-device", &subdevice) < 0)
        return malformed(err, "a device without name, kind or ids");
    if (strcmp(name, d->name) != 0)
        return incompatible(err,
                            "Register the devices on both sides under the same names and in the same order",
                            "Device %.63s of the source meets %s here", name, d->name);
    if (strcmp(kind, info->kind) != 0)
        return incompatible(err, "Use a device of the same kind",
                            "Device %s is of kind %.30s at the source and %s here", name, kind, info->kind);
    if (vendor != info->pci_vendor || device != info->pci_device || subvendor != info->pci_subvendor ||
        subdevice != info->pci_subdevice)
        return incompatible(
            err, "Its state can only be loaded by the same model",
            "Device %s is %04x:%04x (subsystem %04x:%04x) at the source and %04x:%04x (%04x:%04x) here", name,
            (unsigned)vendor, (unsigned)device, (unsigned)subvendor, (unsigned)subdevice, info->pci_vendor,
            info->pci_device, info->pci_subvendor, info->pci_subdevice);
    if (!(info->migration_flags & DEVICE_MIGRATION_STOP_COPY))
        return incompatible(err, "Use a device or driver that does",
                            "Device %s does not support migration here", name);
    return 0;
}

static int check_devices(struct session *s, struct mig_error *err)
{
    struct json_object *array;
    size_t n;
    if (json_get_array(s->hello, "devices", &array, &n) < 0 || n > WIRE_DEVICES_MAX)
        return malformed(err, "no devices, or too many");
    if (n != s->domain->ndevices)
        return incompatible(err, "Register the same devices on both sides",
                            "The source has %zu devices, domain %s here has %zu", n, s->domain->name,
                            s->domain->ndevices);
    for (size_t i = 0; i < n; i++) {
        int r = check_device(s, json_object_array_get_idx(array, i), s->domain->devices[i].device, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_versions(struct session *s, struct mig_error *err)
{
    uint64_t newest, oldest, page;
    if (json_get_u64(s->hello, "protocol", &newest) < 0 ||
        json_get_u64(s->hello, "protocol-oldest", &oldest) < 0 ||
        json_get_u64(s->hello, "page-size", &page) < 0)
        return malformed(err, "no protocol version or page size");
    if (oldest > DIALOGUE_PROTOCOL || newest < DIALOGUE_PROTOCOL_OLDEST)
        return incompatible(err, "Bring both hosts to versions that know a common protocol",
                            "The source speaks protocol %llu to %llu, this migd %d to %d",
                            (unsigned long long)oldest, (unsigned long long)newest, DIALOGUE_PROTOCOL_OLDEST,
                            DIALOGUE_PROTOCOL);
    if (page != REGION_PAGE_SIZE)
        return incompatible(err, "", "The source counts in pages of %llu bytes, this migd in %u",
                            (unsigned long long)page, REGION_PAGE_SIZE);
    return 0;
}

static int ready_device(struct device *d, struct mig_error *err)
{
    enum device_state now;
    int r = d->ops->set_state(d, DEVICE_STATE_RESUMING, &now, err);
    if (r == 0)
        return 0;
    /* A device with the rest of an earlier attempt in it: a reset is what empties it. */
    r = d->ops->reset(d, err);
    if (r == 0)
        r = d->ops->set_state(d, DEVICE_STATE_RESUMING, &now, err);
    return r < 0 ? mig_error_wrap(err, "Making device %s ready to take state", d->name) : 0;
}

static int answer(struct session *s, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_bool(o, "ok", true) < 0 || json_add_u64(o, "protocol", DIALOGUE_PROTOCOL) < 0 ||
        json_add_u64(o, "connections", s->nconnections) < 0 ||
        json_add_string(o, "version", PACKAGE_VERSION) < 0)
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
    uint64_t connections;
    if (json_get_u64(s->hello, "connections", &connections) < 0 || connections < 1 ||
        json_get_bool(s->hello, "vmm-state", &s->vmm_state) < 0 ||
        json_copy_string(s->hello, "token", s->token, sizeof s->token) < 0 || strlen(s->token) < 16 ||
        json_copy_string(s->hello, "decision-address", s->decision_address, sizeof s->decision_address) < 0)
        return malformed(err, "connections, vmm-state, token or decision-address");
    complete_decision_address(s);
    int r = check_versions(s, err);
    if (r == 0)
        r = check_regions(s, err);
    if (r == 0)
        r = check_devices(s, err);
    if (r < 0)
        return r;
    bool controller = controller_has_state(s->domain->controller);
    if (s->vmm_state && !controller)
        return incompatible(err, "Set a controller here: migctl register --controller",
                            "The workload of %s has a VMM with state at the source, and no controller here",
                            s->domain->name);
    pthread_mutex_lock(&s->lock);
    s->nconnections = MIN(connections, (uint64_t)WIRE_CONNECTIONS_MAX);
    pthread_mutex_unlock(&s->lock);
    s->devices_touched = true;
    for (size_t i = 0; i < s->domain->ndevices; i++) {
        r = ready_device(s->domain->devices[i].device, err);
        if (r < 0)
            return r;
    }
    struct device **devices = calloc(s->domain->ndevices ? s->domain->ndevices : 1, sizeof(struct device *));
    if (!devices)
        return mig_error_oom(err);
    for (size_t i = 0; i < s->domain->ndevices; i++)
        devices[i] = s->domain->devices[i].device;
    r = state_apply_new(&s->state, devices, s->domain->ndevices, s->vmm_state, err);
    free(devices);
    return r < 0 ? r : answer(s, err);
}
