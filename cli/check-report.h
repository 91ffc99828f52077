/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answer to a check, for people or as JSON: findings, worst first, and a verdict. No state. */
#pragma once

struct json_object;

/* Prints it. plan: of a libvirt domain, for JSON; NULL: none. The exit code: 1 when start would refuse. */
int check_report(const char *domain, const char *destination, struct json_object *findings,
                 struct json_object *plan);
