/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metrics/exposition.h"
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct family {
    const char *name, *type, *unit, *help;
} families[] = {
#define X(symbol, name, type, unit, labels, help) {name, type, unit, help},
    METRICS_TABLE(X)
#undef X
};

static _printf_(2, 3) void put(struct exposition *e, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (evbuffer_add_vprintf(e->out, format, ap) < 0)
        e->failed = true;
    va_end(ap);
}

void exposition_begin(struct exposition *e, struct evbuffer *out)
{
    *e = (struct exposition){.out = out, .family = METRIC_MAX};
}

void exposition_family(struct exposition *e, enum metric family)
{
    const struct family *f = &families[family];
    e->family = family;
    put(e, "# TYPE %s %s\n", f->name, f->type);
    if (*f->unit)
        put(e, "# UNIT %s %s\n", f->name, f->unit);
    put(e, "# HELP %s %s\n", f->name, f->help);
}

static const char *suffix(const struct family *f)
{
    return strcmp(f->type, "counter") == 0 ? "_total" : strcmp(f->type, "info") == 0 ? "_info" : "";
}

static void put_name(struct exposition *e, const char *end, const char *labels)
{
    put(e, "%s%s%s%s%s ", families[e->family].name, end, *labels ? "{" : "", labels, *labels ? "}" : "");
}

static void put_labelled(struct exposition *e, const char *labels, va_list ap)
{
    char text[256] = "";
    if (labels && vsnprintf(text, sizeof text, labels, ap) >= (int)sizeof text)
        e->failed = true;
    put_name(e, suffix(&families[e->family]), text);
}

static void put_seconds(struct exposition *e, uint64_t usec)
{
    put(e, "%" PRIu64 ".%06" PRIu64 "\n", usec / 1000000, usec % 1000000);
}

void exposition_sample(struct exposition *e, uint64_t value, const char *labels, ...)
{
    va_list ap;
    va_start(ap, labels);
    put_labelled(e, labels, ap);
    va_end(ap);
    put(e, "%" PRIu64 "\n", value);
}

void exposition_usec(struct exposition *e, uint64_t value_usec, const char *labels, ...)
{
    va_list ap;
    va_start(ap, labels);
    put_labelled(e, labels, ap);
    va_end(ap);
    put_seconds(e, value_usec);
}

void exposition_histogram(struct exposition *e, const char *labels, const uint64_t *bounds_usec,
                          const uint64_t *buckets, size_t n, uint64_t above, uint64_t sum_usec)
{
    const char *name = families[e->family].name, *comma = *labels ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += buckets[i];
        /* A bound is written as a float: 1.0, not 1. */
        put(e,
            bounds_usec[i] % 1000000 ? "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n"
                                     : "%s_bucket{%s%sle=\"%.1f\"} %" PRIu64 "\n",
            name, labels, comma, (double)bounds_usec[i] / 1e6, count);
    }
    count += above;
    put(e, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, count);
    put_name(e, "_count", labels);
    put(e, "%" PRIu64 "\n", count);
    put_name(e, "_sum", labels);
    put_seconds(e, sum_usec);
}

int exposition_end(struct exposition *e)
{
    put(e, "# EOF\n");
    return e->failed ? -ENOMEM : 0;
}
