/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A migration's Status (see migd-status.h) for people: as it stands, and the report when it has ended. Words
 * as in `virsh domjobinfo` where it has one. */
#pragma once
#include "base/error.h"
#include <stdio.h>
#include <systemd/sd-bus.h>

struct json_object;

/* Where the workload runs now, as far as this side knows. */
enum runs_at { RUNS_UNKNOWN, RUNS_AT_SOURCE, RUNS_AT_DESTINATION, RUNS_NOWHERE };

bool status_ended(struct json_object *status); /* in doubt included */
/* Of an ended migration: 0 completed, 5 cancelled, 6 not converged or timed out, 7 in doubt, 1 failed or
 * completed with a failed proof. */
int status_exit_code(struct json_object *status);
/* Asks migd for the domain's state. */
enum runs_at status_runs_at(sd_bus *bus, struct json_object *status);
const char *runs_at_word(enum runs_at where);

void status_print(FILE *f, struct json_object *status);
void status_print_report(FILE *f, struct json_object *status, enum runs_at where);
