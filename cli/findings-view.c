/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "findings-view.h"
#include "json-util.h"
#include "output.h"
#include "wrap.h"

/* What a device, a peer or a file said may be in it. */
static void put_wrapped(FILE *f, unsigned at, unsigned indent, const char *text)
{
    char safe[700];
    snprintf(safe, sizeof safe, "%s", text);
    output_make_safe(safe);
    print_wrapped(f, safe, at, indent, output_width());
}

void finding_print(FILE *f, unsigned indent, struct json_object *finding, size_t more)
{
    char text[700], tail[40] = "";
    if (more)
        snprintf(tail, sizeof tail, " (and %zu more)", more);
    snprintf(text, sizeof text, "%.60s: %.500s%s", json_str(finding, "code"), json_str(finding, "message"),
             tail);
    fprintf(f, "%*s%-7.7s ", (int)indent, "", json_str(finding, "severity"));
    put_wrapped(f, indent + 8, indent + 8, text);
    fprintf(f, "%*s", (int)indent + 8, "");
    put_wrapped(f, indent + 8, indent + 8, json_str(finding, "remedy"));
}

void findings_print(FILE *f, unsigned indent, struct json_object *findings)
{
    for (size_t i = 0; i < json_length(findings); i++)
        finding_print(f, indent, json_object_array_get_idx(findings, i), 0);
}
