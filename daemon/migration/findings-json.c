/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/findings-json.h"
#include "base/printable.h"
#include "migd-wire.h"
#include <stdio.h>
#include <string.h>

/* Leaves room for the rest of the message. */
#define TOLD_MAX_BYTES (WIRE_JSON_MAX_BYTES - 16384u)

static struct json_object *to_json(struct finding item)
{
    struct json_object *o = json_object_new_object();
    if (o && json_add_string(o, "code", make_printable(item.word)) == 0 &&
        json_add_string(o, "severity", finding_severity_to_string(item.severity)) == 0 &&
        json_add_string(o, "subject", make_printable(item.subject)) == 0 &&
        json_add_string(o, "message", make_printable(item.message)) == 0 &&
        json_add_string(o, "remedy", make_printable(item.remedy)) == 0)
        return o;
    json_object_put(o);
    return NULL;
}

struct telling {
    struct json_object *array;
    size_t bytes, told, left_out;
};

static int tell_one(struct telling *t, const struct finding *item)
{
    struct json_object *o = to_json(*item);
    size_t n = 0;
    if (!o || !json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n))
        goto out_of_memory;
    if (t->told == FINDINGS_TOLD_MAX || t->bytes + n + 1 > TOLD_MAX_BYTES) {
        t->left_out++;
        json_object_put(o);
        return 0;
    }
    if (json_object_array_add(t->array, o) < 0)
        goto out_of_memory;
    t->told++;
    t->bytes += n + 1;
    return 0;
out_of_memory:
    json_object_put(o);
    return -ENOMEM;
}

int findings_tell(const struct findings *f, struct json_object *o)
{
    struct telling t = {.array = json_object_new_array()};
    int r = t.array ? 0 : -ENOMEM;
    for (int severity = FINDING_ERROR; severity >= FINDING_NOTE && r == 0; severity--)
        for (size_t i = 0; i < f->count && r == 0; i++)
            if (f->items[i].severity == (enum finding_severity)severity)
                r = tell_one(&t, &f->items[i]);
    if (r < 0) {
        json_object_put(t.array);
        return r;
    }
    r = json_add(o, "findings", t.array);
    return r == 0 && t.left_out ? json_add_u64(o, "findings-left-out", t.left_out) : r;
}

/* Cut where it is too long: a newer peer may say more. */
static int take_text(struct json_object *o, const char *key, char *buf, size_t size)
{
    const char *text;
    int r = json_get_string(o, key, &text);
    if (r < 0)
        return r;
    snprintf(buf, size, "%s", text);
    make_printable(buf);
    return 0;
}

static int from_json(struct json_object *o, struct finding *ret)
{
    char severity[16];
    *ret = (struct finding){.destination = true};
    if (take_text(o, "code", ret->word, sizeof ret->word) < 0 || !ret->word[0] ||
        take_text(o, "severity", severity, sizeof severity) < 0 ||
        finding_severity_from_string(severity, &ret->severity) < 0 ||
        take_text(o, "subject", ret->subject, sizeof ret->subject) < 0 ||
        take_text(o, "message", ret->message, sizeof ret->message) < 0 || !ret->message[0] ||
        take_text(o, "remedy", ret->remedy, sizeof ret->remedy) < 0)
        return -EPROTO;
    ret->code = finding_code_from_string(ret->word);
    return 0;
}

int findings_hear(struct json_object *o, struct findings *ret, struct mig_error *err)
{
    struct json_object *array;
    uint64_t left_out = 0;
    size_t n;
    int r = json_get_u64(o, "findings-left-out", &left_out);
    if ((r < 0 && r != -ENOENT) || json_get_array(o, "findings", &array, &n) < 0)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "its list of findings cannot be read");
    for (size_t i = 0; i < n && i < FINDINGS_TOLD_MAX; i++) {
        struct finding item;
        if (from_json(json_object_array_get_idx(array, i), &item) < 0)
            return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "its finding %zu cannot be read", i + 1);
        r = findings_add_item(ret, &item);
        if (r < 0)
            return mig_error_oom(err);
    }
    if (n > FINDINGS_TOLD_MAX)
        left_out = MAX(left_out, n - FINDINGS_TOLD_MAX);
    if (left_out &&
        findings_add(ret, FINDING_PEER_FINDINGS_CUT, "", NULL,
                     "The destination has %llu more findings than it told", (unsigned long long)left_out) < 0)
        return mig_error_oom(err);
    return 0;
}
