/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "status-view.h"
#include "base/format.h"
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "table.h"
#include <string.h>

#define AMPLIFICATION_TOLD_MILLI 2000

static const struct column head[] = {
    {"id", "Migration", UNIT_TEXT},        {"domain", "Domain", UNIT_TEXT},
    {"direction", "Operation", UNIT_TEXT}, {"engine", "Engine", UNIT_TEXT},
    {"engine-why", "Because", UNIT_TEXT},  {"peer", "Peer", UNIT_TEXT},
    {"started", "Started", UNIT_REALTIME}, {"state", "State", UNIT_TEXT},
    {"phase", "Phase", UNIT_TEXT},         {"verdict", "Verdict", UNIT_TEXT},
};

static const struct column time_left[] = {{"time-remaining", "Time remaining", MIGD_UNIT_USEC}};

static const struct column traffic[] = {
    {"time-elapsed", "Time elapsed", MIGD_UNIT_USEC},
    {"data-processed", "Data processed", MIGD_UNIT_BYTES},
    {"memory-processed", "Memory processed", MIGD_UNIT_BYTES},
    {"memory-remaining", "Memory remaining", MIGD_UNIT_BYTES},
    {"memory-total", "Memory total", MIGD_UNIT_BYTES},
    {"memory-bandwidth", "Memory bandwidth", MIGD_UNIT_RATE},
    {"memory-dirty-rate", "Dirty rate", MIGD_UNIT_RATE},
    {"dirty-page-size", "Dirty page size", MIGD_UNIT_BYTES},
    {"memory-iteration", "Iteration", MIGD_UNIT_COUNT},
    {"memory-constant", "Constant pages", MIGD_UNIT_PAGES},
    {"memory-normal", "Normal pages", MIGD_UNIT_PAGES},
    {"resent", "Sent again", MIGD_UNIT_BYTES},
    {"final-bytes", "Sent in downtime", MIGD_UNIT_BYTES},
    {"device-state", "Device state", MIGD_UNIT_BYTES},
    {"vmm-state", "VMM state", MIGD_UNIT_BYTES},
    {"connections", "Connections", MIGD_UNIT_COUNT},
    {"connections-why", "Why not more", UNIT_TEXT},
    {"setup-time", "Setup time", MIGD_UNIT_USEC},
};

static const struct column downtime_parts[] = {
    {"downtime-pause", "pause", MIGD_UNIT_USEC},
    {"downtime-quiesce", "quiesce", MIGD_UNIT_USEC},
    {"downtime-final-read", "final read", MIGD_UNIT_USEC},
    {"downtime-pages", "pages", MIGD_UNIT_USEC},
    {"downtime-device-state", "device state", MIGD_UNIT_USEC},
    {"downtime-load", "load", MIGD_UNIT_USEC},
    {"downtime-gate", "gate", MIGD_UNIT_USEC},
    {"downtime-verify", "verify", MIGD_UNIT_USEC},
    {"downtime-commit", "commit", MIGD_UNIT_USEC},
    {"downtime-resume", "resume", MIGD_UNIT_USEC},
};

static const struct column tracker_columns[] = {
    {"name", "TRACKER", UNIT_TEXT},
    {"kind", "KIND", UNIT_TEXT},
    {"device", "DEVICE", UNIT_TEXT},
    {"page-size", "PAGE SIZE", MIGD_UNIT_BYTES},
    {"blind", "BLIND", UNIT_BOOL},
    {"harvests", "HARVESTS", MIGD_UNIT_COUNT},
    {"pages-reported", "PAGES REPORTED", MIGD_UNIT_PAGES},
    {"pages-first", "REPORTED FIRST", MIGD_UNIT_PAGES},
    {"gate-pages", "AT THE GATE", MIGD_UNIT_PAGES},
};

static const struct column option_fields[] = {
    {"bandwidth", "Bandwidth", MIGD_UNIT_RATE},
    {"max-downtime", "Maximum downtime", MIGD_UNIT_USEC},
    {"timeout", "Timeout", MIGD_UNIT_USEC},
    {"on-stall", "On stall", UNIT_TEXT},
    {"gate", "Gate", UNIT_TEXT},
    {"gate-resends", "Gate resends", MIGD_UNIT_COUNT},
    {"max-rounds", "Maximum rounds", MIGD_UNIT_COUNT},
    {"reconnect-timeout", "Reconnect timeout", MIGD_UNIT_USEC},
    {"blackout-limit", "Blackout limit", MIGD_UNIT_USEC},
    {"connections", "Connections", MIGD_UNIT_COUNT},
    {"checksum", "Checksum", UNIT_BOOL},
    {"verify", "Verify", UNIT_TEXT},
    {"compression", "Compression", UNIT_TEXT},
    {"without-p2p", "Without P2P", UNIT_BOOL},
    {"allow", "Allowed findings", UNIT_TEXT},
    {"peer-domain", "Peer domain", UNIT_TEXT},
};

static bool is(struct json_object *status, const char *key, const char *word)
{
    return strcmp(json_str(status, key), word) == 0;
}

bool status_ended(struct json_object *status)
{
    const char *state = json_str(status, "state");
    return state[0] && strcmp(state, "running") != 0;
}

int status_exit_code(struct json_object *status)
{
    if (is(status, "state", "completed"))
        return is(status, "verify", "failed") || json_str(status, "error")[0] ? MIGD_EXIT_FAILED
                                                                              : MIGD_EXIT_DONE;
    if (is(status, "state", "cancelled"))
        return MIGD_EXIT_CANCELLED;
    if (is(status, "state", "in-doubt"))
        return MIGD_EXIT_IN_DOUBT;
    /* Only those of the failure's exit codes count that say how a migration ended: a bad argument deep inside
     * is a failure like any other. */
    int code = mig_error_exit_code(mig_error_from_word(json_str(status, "error")));
    return code == MIGD_EXIT_NOT_CONVERGED || code == MIGD_EXIT_IN_DOUBT ? code : MIGD_EXIT_FAILED;
}

enum runs_at status_runs_at(sd_bus *bus, struct json_object *status)
{
    bool incoming = is(status, "direction", "incoming");
    if (is(status, "state", "completed"))
        return RUNS_AT_DESTINATION;
    if (is(status, "state", "in-doubt"))
        return RUNS_UNKNOWN;
    /* A destination that dropped everything knows that it does not run; the rest is for the source to say. */
    if (incoming)
        return is(status, "error", "Returned") || !json_flag(status, "paused") ? RUNS_AT_SOURCE
                                                                               : RUNS_UNKNOWN;
    /* migd has no domain of it; it ended as failed only after libvirt had said that it runs here. */
    if (is(status, "engine", "libvirt"))
        return RUNS_AT_SOURCE;

    _cleanup_free_ char *path = NULL;
    _cleanup_json_ struct json_object *domain = NULL;
    struct mig_error ignored = MIG_ERROR_INIT;
    if (bus_domain_path(bus, json_str(status, "domain"), &path, &ignored) < 0 ||
        bus_properties(bus, path, MIGD_IFACE_DOMAIN, &domain, &ignored) < 0)
        return RUNS_UNKNOWN;
    const char *state = json_str(domain, "State");
    if (strcmp(state, "departed") == 0)
        return RUNS_AT_DESTINATION;
    if (strcmp(state, "broken") == 0)
        return RUNS_NOWHERE;
    return strcmp(state, "running") == 0 || strcmp(state, "migrating") == 0 ? RUNS_AT_SOURCE : RUNS_UNKNOWN;
}

const char *runs_at_word(enum runs_at where)
{
    static const char *const words[] = {"unknown", "source", "destination", "nowhere"};
    return words[where];
}

static void print_downtime(FILE *f, struct json_object *status)
{
    static const struct column expected[] = {{"expected-downtime", "Expected downtime", MIGD_UNIT_USEC}};
    static const struct column total[] = {{"downtime", "Total downtime", MIGD_UNIT_USEC}};
    if (!json_u64(status, "downtime")) {
        fields_print(f, 0, expected, 1, status);
        return;
    }
    fields_print(f, 0, total, 1, status);
    if (!is(status, "engine", "libvirt")) /* QEMU tells the whole alone */
        fields_print(f, 2, downtime_parts, ELEMENTS(downtime_parts), status);
}

/* R8. Only known with --verify; what to do about it is worth saying where it costs something. */
static void print_amplification(FILE *f, struct json_object *status)
{
    uint64_t milli = json_u64(status, "amplification"), page_bytes = json_u64(status, "dirty-page-size");
    if (milli)
        fprintf(f, "%-20s %llu.%02llu (sent again / really changed)\n",
                "Amplification:", (unsigned long long)(milli / 1000),
                (unsigned long long)(milli % 1000 / 10));
    if (milli >= AMPLIFICATION_TOLD_MILLI && page_bytes > 4096)
        fprintf(f,
                "%-20s a dirty bit stands for %s: whoever opens the device can have its memory mapped in\n"
                "%-20s entries of 4 KiB before it is attached (migctl explain container-coarse)\n",
                "", FORMAT_BYTES(page_bytes), "");
}

static void print_proof(FILE *f, struct json_object *status)
{
    const char *gate = json_str(status, "gate"), *verify = json_str(status, "verify");
    print_amplification(f, status);
    if (strcmp(gate, "clean") == 0)
        fprintf(f, "%-20s clean: no device wrote after it was stopped\n", "Gate:");
    else if (strcmp(gate, "clean-by-digests") == 0)
        fprintf(f, "%-20s clean by digests: no page changed after everything was stopped\n", "Gate:");
    else if (strcmp(gate, "late") == 0)
        fprintf(f, "%-20s LATE: devices wrote %llu pages after everything was sent; those writes are lost\n",
                "Gate:", (unsigned long long)json_u64(status, "gate-pages"));
    else if (strcmp(gate, "dirty") == 0)
        fprintf(f, "%-20s dirty: %llu pages were written by devices that should be quiet\n",
                "Gate:", (unsigned long long)json_u64(status, "gate-pages"));
    else if (gate[0])
        fprintf(f, "%-20s %s\n", "Gate:", gate);
    if (json_u64(status, "gate-resends"))
        fprintf(f, "%-20s %llu\n", "Gate resends:", (unsigned long long)json_u64(status, "gate-resends"));
    if (strcmp(verify, "proved") == 0)
        fprintf(f, "%-20s proved: all %llu pages are the same on both sides\n",
                "Verify:", (unsigned long long)json_u64(status, "verify-pages"));
    else if (strcmp(verify, "failed") == 0)
        fprintf(f, "%-20s FAILED: %llu of %llu pages differ\n",
                "Verify:", (unsigned long long)json_u64(status, "verify-bad-pages"),
                (unsigned long long)json_u64(status, "verify-pages"));
    else if (verify[0])
        fprintf(f, "%-20s %s\n", "Verify:", verify);
}

static void print_trackers(FILE *f, struct json_object *status)
{
    struct json_object *trackers = json_get(status, "trackers");
    if (!json_length(trackers))
        return;
    fputc('\n', f);
    table_print(f, 0, tracker_columns, ELEMENTS(tracker_columns), trackers);
}

/* 0 stands for "no limit" or "chosen by migd" with every one of them. */
static void print_options(FILE *f, struct json_object *status)
{
    struct json_object *options = json_get(status, "options");
    if (!options || !json_object_is_type(options, json_type_object) ||
        json_object_object_length(options) == 0)
        return;
    fputs("Options:\n", f);
    for (size_t i = 0; i < ELEMENTS(option_fields); i++) {
        struct json_object *value = json_get(options, option_fields[i].key);
        if (!json_object_is_type(value, json_type_int) || json_object_get_uint64(value) != 0)
            fields_print(f, 2, &option_fields[i], 1, options);
    }
}

static void print_error(FILE *f, struct json_object *status)
{
    static const struct column fields[] = {
        {"error", "Error", UNIT_TEXT}, {"message", "Message", UNIT_TEXT}, {"hint", "Hint", UNIT_TEXT}};
    if (json_str(status, "error")[0])
        fields_print(f, 0, fields, ELEMENTS(fields), status);
}

void status_print(FILE *f, struct json_object *status)
{
    fields_print(f, 0, head, ELEMENTS(head), status);
    print_error(f, status);
    if (!status_ended(status) && json_u64(status, "time-remaining"))
        fields_print(f, 0, time_left, 1, status);
    fields_print(f, 0, traffic, ELEMENTS(traffic), status);
    print_downtime(f, status);
    print_proof(f, status);
    print_options(f, status);
    print_trackers(f, status);
}

static void print_where(FILE *f, struct json_object *status, enum runs_at where)
{
    bool incoming = is(status, "direction", "incoming");
    char domain[128], peer[300], id[64];
    cell_text(domain, sizeof domain, json_get(status, "domain"), UNIT_TEXT);
    cell_text(peer, sizeof peer, json_get(status, "peer"), UNIT_TEXT);
    cell_text(id, sizeof id, json_get(status, "id"), UNIT_TEXT);
    switch (where) {
    case RUNS_AT_SOURCE:
        fprintf(f,
                incoming ? "%s does not run here; it is the source's.\n"
                         : "%s runs here, at the source, as before.\n",
                domain);
        break;
    case RUNS_AT_DESTINATION:
        if (incoming)
            fprintf(f, "%s runs here now.\n", domain);
        else
            fprintf(f, "%s runs at %s now.\n", domain, peer);
        break;
    case RUNS_NOWHERE:
        fprintf(f, "%s does not run: a device could not be brought back. See: migctl show %s\n", domain,
                domain);
        break;
    case RUNS_UNKNOWN:
        fprintf(f, "It is not known here whether %s runs at %s.\n", domain, peer);
        if (is(status, "state", "in-doubt"))
            fprintf(f, "Look at the other side, then decide: migctl resolve %s --run|--drop\n", id);
        break;
    }
}

void status_print_report(FILE *f, struct json_object *status, enum runs_at where)
{
    char domain[128], peer[300];
    fprintf(f, "Migration of %s %s %s: %s\n",
            cell_text(domain, sizeof domain, json_get(status, "domain"), UNIT_TEXT),
            is(status, "direction", "incoming") ? "from" : "to",
            cell_text(peer, sizeof peer, json_get(status, "peer"), UNIT_TEXT),
            is(status, "state", "in-doubt") ? "IN DOUBT" : json_str(status, "state"));
    fields_print(f, 0, traffic, ELEMENTS(traffic), status);
    print_downtime(f, status);
    print_proof(f, status);
    print_trackers(f, status);
    fputc('\n', f);
    print_where(f, status, where);
}
