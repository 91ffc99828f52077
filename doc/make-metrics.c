/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints doc/metrics.md, from the table that the daemon exposes by. */
#include "metrics/families.h"
#include <stdio.h>
#include <string.h>

static const char front[] =
    "# Metrics\n\n"
    "migd tells its figures in the form of OpenMetrics 1.0, by HTTP at `/metrics`, where `[Metrics] Listen=` "
    "of migd.conf says (a UNIX\n"
    "socket, or a port of the loopback), or by `migd-metrics.socket`, which systemd starts only while migd "
    "does "
    "not run:\n\n"
    "    systemctl enable --now migd-metrics.socket\n"
    "    curl --unix-socket /run/migd-metrics.sock http://localhost/metrics\n\n"
    "A migd that holds domains is not to be stopped for that, since only over a restart the service manager "
    "keeps its descriptors: enable the\n"
    "socket for the next boot, or set `Listen=` and `systemctl restart migd`.\n\n"
    "Nobody is authenticated there, so an address that other hosts reach is refused. Prometheus on the same "
    "host scrapes a port of the\n"
    "loopback:\n\n"
    "    # migd.conf                     # prometheus.yml\n"
    "    [Metrics]                       scrape_configs:\n"
    "    Listen=127.0.0.1:9764             - job_name: migd\n"
    "                                        static_configs: [{targets: [\"127.0.0.1:9764\"]}]\n\n"
    "Counters begin at 0 when migd starts. Figures of a migration that runs are in them already. Labels are "
    "bounded: their values are words\n"
    "of this program, but for `domain`, of which there are %u at most; what is beyond is summed up as "
    "`other`.\n\n"
    "What to watch: `migd_migrations_in_doubt` above 0 (an operator is wanted), "
    "`migd_verify_bad_pages_total` and `migd_gate_pages_total`\n"
    "that grow (a device or a tracker lies), `migd_domains{state=\"broken\"}`, and "
    "`migd_migrations_total{outcome=\"failed\"}` beside\n"
    "`migd_migration_errors_total`.\n\n"
    "| family | type | unit | labels | |\n|---|---|---|---|---|\n";

int main(void)
{
    printf(front, METRICS_DOMAINS_MAX);
#define X(symbol, name, type, unit, labels, help)                                                            \
    printf("| `%s%s` | %s | %s | %s | %s |\n", name,                                                         \
           strcmp(type, "counter") == 0 ? "_total"                                                           \
           : strcmp(type, "info") == 0  ? "_info"                                                            \
                                        : "",                                                                 \
           type, unit, labels, help);
    METRICS_TABLE(X)
#undef X
    return 0;
}
