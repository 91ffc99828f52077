/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/printable.h"
#include "incoming/compare-parts.h"
#include "migration/dialogue.h"
#include <stdio.h>
#include <string.h>

#define VERSION_MAX 40

static int compare_versions(struct json_object *hello, struct findings *ret, struct mig_error *err)
{
    uint64_t newest, oldest, page;
    const char *version = "";
    int r = 0;
    if (json_get_u64(hello, "protocol", &newest) < 0 || json_get_u64(hello, "protocol-oldest", &oldest) < 0 ||
        json_get_u64(hello, "page-size", &page) < 0)
        return compare_malformed(err, "no protocol version or page size");
    if (oldest > DIALOGUE_PROTOCOL || newest < DIALOGUE_PROTOCOL_OLDEST)
        r = findings_add(ret, FINDING_PROTOCOL_VERSIONS, "", NULL,
                         "The source speaks protocol %llu to %llu, the destination %d to %d",
                         (unsigned long long)oldest, (unsigned long long)newest, DIALOGUE_PROTOCOL_OLDEST,
                         DIALOGUE_PROTOCOL);
    if (r == 0 && page != REGION_PAGE_SIZE)
        r = findings_add(ret, FINDING_PAGE_SIZE_DIFFERS, "", NULL,
                         "The source counts in pages of %llu bytes, the destination in %u",
                         (unsigned long long)page, REGION_PAGE_SIZE);
    json_get_string(hello, "version", &version);
    if (r == 0 && strcmp(version, PACKAGE_VERSION) != 0) {
        char text[VERSION_MAX];
        snprintf(text, sizeof text, "%s", version);
        r = findings_add(ret, FINDING_VERSION_DIFFERS, "", NULL,
                         "The source runs migd %s, the destination %s", make_printable(text),
                         PACKAGE_VERSION);
    }
    return r < 0 ? mig_error_oom(err) : 0;
}

/* Words that this migd does not know stand for findings that it does not make. */
static int take_allowed(struct json_object *hello, const struct here *here, struct findings *ret,
                        struct mig_error *err)
{
    struct json_object *array;
    size_t n;
    int r = json_get_array(hello, "allow", &array, &n);
    if (r == -ENOENT || (r == 0 && n == 0))
        return 0;
    if (r < 0)
        return compare_malformed(err, "\"allow\" is no list");
    if (!here->accept_overrides)
        return findings_add(ret, FINDING_OVERRIDES_NOT_ACCEPTED, "", NULL,
                            "The source's operator overrules findings, which the configuration of the "
                            "destination does not accept (AcceptOverrides=no)") < 0
                   ? mig_error_oom(err)
                   : 0;
    for (size_t i = 0; i < n; i++) {
        struct json_object *word = json_object_array_get_idx(array, i);
        if (!json_object_is_type(word, json_type_string))
            return compare_malformed(err, "\"allow\" holds something that is no word");
        findings_waive(ret, json_object_get_string(word), NULL);
    }
    return 0;
}

static int compare_controller(struct json_object *hello, const struct here *here, struct findings *ret,
                              struct mig_error *err)
{
    bool vmm_state;
    int r = 0;
    if (json_get_bool(hello, "vmm-state", &vmm_state) < 0)
        return compare_malformed(err, "it does not say whether there is a VMM state");
    if (vmm_state && !here->controller_state)
        r = findings_add(
            ret, FINDING_CONTROLLER_MISSING, "", NULL,
            "The workload of %s has a VMM with state at the source, and no controller at the destination",
            here->name);
    if (r == 0 && !here->tracked)
        r = findings_add(ret, FINDING_TRACKERS_MISSING_AT_DESTINATION, "", NULL,
                         "Domain %s at the destination has no tracker that knows which pages are written",
                         here->name);
    return r < 0 ? mig_error_oom(err) : 0;
}

int compare_hello(struct json_object *hello, const struct here *here, struct findings *ret,
                  struct mig_error *err)
{
    int r = compare_versions(hello, ret, err);
    if (!here)
        return r;
    if (r == 0)
        r = take_allowed(hello, here, ret, err);
    if (r == 0)
        r = compare_memory(hello, here, ret, err);
    if (r == 0)
        r = compare_devices(hello, here, ret, err);
    return r < 0 ? r : compare_controller(hello, here, ret, err);
}

int compare_domain(const struct domain *d, const char *name, struct findings *ret)
{
    char remedy[200], text[DOMAIN_NAME_MAX + 1];
    if (!d) {
        snprintf(text, sizeof text, "%s", name);
        make_printable(text);
        snprintf(remedy, sizeof remedy, "Register it there first: migctl register %s --incoming", text);
        return findings_add(ret, FINDING_DOMAIN_UNKNOWN_AT_DESTINATION, text, remedy,
                            "Domain %s is not registered at the destination", text);
    }
    struct mig_error busy = MIG_ERROR_INIT;
    if (domain_check_idle((struct domain *)d, &busy) < 0)
        return findings_add(ret, FINDING_DOMAIN_BUSY_AT_DESTINATION, d->name, NULL,
                            "Domain %s at the destination does not wait for a migration: %.300s", d->name,
                            busy.message);
    if (d->state == DOMAIN_STATE_WAITING || d->state == DOMAIN_STATE_DEPARTED)
        return 0;
    bool broken = d->state == DOMAIN_STATE_BROKEN;
    snprintf(remedy, sizeof remedy, "An incoming domain is registered with migctl register %s --incoming",
             d->name);
    return findings_add(ret, broken ? FINDING_DOMAIN_BROKEN_AT_DESTINATION : FINDING_DOMAIN_NOT_INCOMING,
                        d->name, broken ? NULL : remedy,
                        "Domain %s at the destination does not wait for a migration: it is %s%s%.300s",
                        d->name, domain_state_to_string(d->state), d->problem[0] ? ": " : "", d->problem);
}

int compare_refuse(const struct findings *f, struct mig_error *err)
{
    const struct finding *first = findings_first_error(f);
    enum mig_error_code code = MIG_ERR_INCOMPATIBLE;
    switch (first ? first->code : FINDING_CODE_MAX) {
    case FINDING_DOMAIN_UNKNOWN_AT_DESTINATION:
        code = MIG_ERR_NO_SUCH_DOMAIN;
        break;
    case FINDING_DOMAIN_BUSY_AT_DESTINATION:
    case FINDING_DOMAIN_BROKEN_AT_DESTINATION:
    case FINDING_DOMAIN_NOT_INCOMING:
        code = MIG_ERR_WRONG_STATE;
        break;
    default:
        break;
    }
    return findings_to_error(f, code, err);
}
