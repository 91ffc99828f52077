/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clang-format off */
/*
 * Every family of metrics that migd exposes: one table, from which the exposition and doc/metrics.md are.
 *
 *   X(symbol, name, type, unit, labels, help)
 *
 * The name ends in the unit, as OpenMetrics wants; samples of a counter get "_total" and those of an info "_info". Counters begin at 0 when migd starts. labels
 * says which labels the samples have; each takes its values from a table of this program, but for `domain`, of which there are
 * METRICS_DOMAINS_MAX at most, the rest being summed up as "other".
 */
#pragma once

#define METRICS_DOMAINS_MAX 64u

#define METRICS_TABLE(X)                                                                                                   \
    X(METRIC_BUILD, "migd_build", "info", "", "version", "The migd that answers")                                         \
    X(METRIC_DOMAINS, "migd_domains", "gauge", "", "state", "Registered domains by what they are doing")                  \
    X(METRIC_DEVICES, "migd_domain_devices", "gauge", "", "", "Devices of all domains")                                   \
    X(METRIC_MEMORY, "migd_domain_memory_bytes", "gauge", "bytes", "", "Memory of all domains")                           \
    X(METRIC_KEPT, "migd_store_descriptors", "gauge", "", "", "Descriptors that the service manager keeps for migd")      \
    X(METRIC_RUNNING, "migd_migrations_running", "gauge", "", "direction", "Migrations under way")                        \
    X(METRIC_DOUBT, "migd_migrations_in_doubt", "gauge", "", "direction", "Migrations of which the owner is not known")   \
    X(METRIC_ENDED, "migd_migrations", "counter", "", "direction, outcome", "Migrations that ended")                      \
    X(METRIC_ERRORS, "migd_migration_errors", "counter", "", "error", "Migrations that failed, by the word of the error") \
    X(METRIC_DURATION, "migd_migration_duration_seconds", "histogram", "seconds", "direction, le", "Time from the start to the end of completed migrations") \
    X(METRIC_DOWNTIME, "migd_downtime_seconds", "histogram", "seconds", "le", "How long the workloads of completed outgoing migrations stood still") \
    X(METRIC_STEPS, "migd_downtime_step_seconds", "counter", "seconds", "step", "The same time, by what it was spent on") \
    X(METRIC_ROUNDS, "migd_rounds", "counter", "", "", "Rounds of outgoing migrations, the full send not counted")        \
    X(METRIC_PAGES, "migd_pages", "counter", "", "direction, kind", "Pages of 4 KiB that went over the wire")             \
    X(METRIC_PAYLOAD, "migd_payload_bytes", "counter", "bytes", "direction", "Contents of pages that went over the wire") \
    X(METRIC_WIRE, "migd_wire_bytes", "counter", "bytes", "direction", "Everything that went over the connections")       \
    X(METRIC_RESENT, "migd_resent_bytes", "counter", "bytes", "", "Contents of pages that were sent again")               \
    X(METRIC_STATE, "migd_state_bytes", "counter", "bytes", "direction, of", "State of devices and of VMMs that was moved") \
    X(METRIC_GATE, "migd_gate_pages", "counter", "", "", "Pages that a device wrote after it had been stopped")           \
    X(METRIC_VERIFIED, "migd_verify_pages", "counter", "", "", "Pages that were compared after all was sent")             \
    X(METRIC_BAD, "migd_verify_bad_pages", "counter", "", "", "Pages that differed when they were compared: writes that were lost") \
    X(METRIC_HARVESTS, "migd_tracker_harvests", "counter", "", "kind", "Reads of dirty logs, by the kind of tracker")     \
    X(METRIC_DIRTY, "migd_tracker_pages", "counter", "", "kind", "Pages that trackers reported as written")               \
    X(METRIC_REMAINING, "migd_migration_remaining_bytes", "gauge", "bytes", "domain", "Of running outgoing migrations: memory that is dirty or was not sent yet") \
    X(METRIC_RATE, "migd_migration_dirty_bytes_per_second", "gauge", "bytes_per_second", "domain", "Of running outgoing migrations: how fast memory is written") \
    X(METRIC_BANDWIDTH, "migd_migration_bandwidth_bytes_per_second", "gauge", "bytes_per_second", "domain", "Of running outgoing migrations: how fast it is sent") \
    X(METRIC_EXPECTED, "migd_migration_expected_downtime_seconds", "gauge", "seconds", "domain", "Of running outgoing migrations: downtime if they switched over now") \
    X(METRIC_CPU, "process_cpu_seconds", "counter", "seconds", "", "CPU time of migd, user and system")                   \
    X(METRIC_RESIDENT, "process_resident_memory_bytes", "gauge", "bytes", "kind", "Resident memory of migd; guest memory that it has mapped is of kind shared") \
    X(METRIC_DESCRIPTORS, "process_open_fds", "gauge", "", "", "Open descriptors of migd")                                \
    X(METRIC_START, "process_start_time_seconds", "gauge", "seconds", "", "When migd started, since the Epoch")
/* clang-format on */

enum metric {
#define X(symbol, name, type, unit, labels, help) symbol,
    METRICS_TABLE(X)
#undef X
        METRIC_MAX,
};
