/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of OpenMetrics 1.0, into a buffer of libevent's: families in the order of their table, each with
 * TYPE, UNIT and HELP once, and samples. No state beside the buffer.
 */
#pragma once
#include "base/util.h"
#include "metrics/families.h"

struct evbuffer;

struct exposition {
    struct evbuffer *out;
    enum metric family; /* whose samples come now */
    bool failed;        /* out of memory: the text is not whole */
};

void exposition_begin(struct exposition *e, struct evbuffer *out);
void exposition_family(struct exposition *e, enum metric family);
/* labels: NULL, or a format that makes 'key="value",...' of values that need no escape. */
void exposition_sample(struct exposition *e, uint64_t value, const char *labels, ...) _printf_(3, 4);
/* value_usec / 10^6, as seconds. */
void exposition_usec(struct exposition *e, uint64_t value_usec, const char *labels, ...) _printf_(3, 4);
/* buckets[i]: how many were at most bounds_usec[i]; not cumulated. */
void exposition_histogram(struct exposition *e, const char *labels /* or "" */, const uint64_t *bounds_usec,
                          const uint64_t *buckets, size_t n, uint64_t above, uint64_t sum_usec);
/* The end; -ENOMEM when the text is not whole. */
int exposition_end(struct exposition *e);
