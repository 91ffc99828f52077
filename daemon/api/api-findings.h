/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings on the bus: aa{sv}, each with "code" s, "severity" s ("error", "warning", "note"), "side" s
 * ("source", "destination"), "subject" s, "message" s, "remedy" s, "waivable" b (--allow overrules it). Main
 * thread. */
#pragma once
#include "base/finding.h"
#include <systemd/sd-bus.h>

/* Appends the aa{sv}, in the order of the list. Text that is not UTF-8 is made so: the bus would not take
 * it. */
int api_append_findings(sd_bus_message *m, const struct findings *f);
