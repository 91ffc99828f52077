/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-findings.h"
#include "base/printable.h"

static int append_finding(sd_bus_message *m, struct finding item)
{
    return sd_bus_message_append(
        m, "a{sv}", 7, "code", "s", make_printable(item.word), "severity", "s",
        finding_severity_to_string(item.severity), "side", "s", item.destination ? "destination" : "source",
        "subject", "s", make_printable(item.subject), "message", "s", make_printable(item.message), "remedy",
        "s", make_printable(item.remedy), "waivable", "b", (int)finding_is_waivable(item.code));
}

int api_append_findings(sd_bus_message *m, const struct findings *f)
{
    int r = sd_bus_message_open_container(m, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < f->count; i++)
        r = append_finding(m, f->items[i]);
    return r < 0 ? r : sd_bus_message_close_container(m);
}
