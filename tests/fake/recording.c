/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recording.h"
#include "base/json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES      2u /* connection, direction */
#define FILE_MAX_BYTES  (4u << 20)
#define FRAME_MIN_BYTES (HEAD_BYTES + sizeof(struct wire_header))

static int find_frames(struct recording *r)
{
    r->frames = calloc(r->size / FRAME_MIN_BYTES + 1, sizeof *r->frames);
    if (!r->frames)
        return -ENOMEM;
    for (size_t at = 0; at < r->size;) {
        struct recorded_frame *f = &r->frames[r->nframes++];
        if (r->size - at < FRAME_MIN_BYTES)
            return -EPROTO;
        f->connection = r->data[at];
        f->back = r->data[at + 1];
        f->raw = r->data + at + HEAD_BYTES;
        f->payload = r->data + at + FRAME_MIN_BYTES;
        memcpy(&f->header, f->raw, sizeof f->header);
        at += FRAME_MIN_BYTES;
        if (le64toh(f->header.length) > r->size - at)
            return -EPROTO;
        f->payload_bytes = le64toh(f->header.length);
        f->raw_bytes = sizeof f->header + f->payload_bytes;
        at += f->payload_bytes;
    }
    return 0;
}

int recording_load(struct recording *ret, const char *path)
{
    struct recording r = {.data = malloc(FILE_MAX_BYTES)};
    FILE *f = fopen(path, "re");
    int e = !f ? -errno : !r.data ? -ENOMEM : 0;
    if (e == 0) {
        r.size = fread(r.data, 1, FILE_MAX_BYTES, f);
        e = find_frames(&r);
    }
    if (f)
        fclose(f);
    if (e < 0)
        recording_clear(&r);
    else
        *ret = r;
    return e;
}

void recording_clear(struct recording *r)
{
    free(r->frames);
    free(r->data);
    *r = (struct recording){0};
}

static struct json_object *parse(const uint8_t *text, size_t size)
{
    struct json_tokener *t = json_tokener_new();
    struct json_object *o = t ? json_tokener_parse_ex(t, (const char *)text, (int)size) : NULL;
    json_tokener_free(t);
    return o;
}

const char *recorded_word(const struct recorded_frame *f)
{
    static _Thread_local char word[40];
    const char *message = "";
    *word = '\0';
    if (f->header.type != WIRE_MESSAGE)
        return word;
    struct json_object *o = parse(f->payload, f->payload_bytes);
    if (o)
        json_get_string(o, "message", &message);
    snprintf(word, sizeof word, "%s", message);
    json_object_put(o);
    return word;
}

/* What names this one run or was measured in it, and what the fake device of that time was. */
static bool is_of_a_run(const char *key)
{
    static const char *const keys[] = {"migration", "attach",  "token", "decision-address",
                                       "version",   "regions", "irqs"};
    size_t n = strlen(key);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return n > 5 && (strcmp(key + n - 5, "-usec") == 0 || strcmp(key + n - 5, "bytes") == 0 ||
                     strcmp(key + n - 5, "pages") == 0);
}

static const char *compare_objects(struct json_object *recorded, struct json_object *now)
{
    static _Thread_local char why[200];
    json_object_object_foreach(recorded, key, value)
    {
        struct json_object *other;
        if (!json_object_object_get_ex(now, key, &other)) {
            snprintf(why, sizeof why, "the key %.100s is not there", key);
            return why;
        }
        if (json_object_get_type(value) != json_object_get_type(other)) {
            snprintf(why, sizeof why, "the key %.100s is of another kind", key);
            return why;
        }
        if (json_object_is_type(value, json_type_object)) {
            const char *inner = compare_objects(value, other);
            if (inner)
                return inner;
        } else if (json_object_is_type(value, json_type_array) && json_object_array_length(value) > 0 &&
                   json_object_is_type(json_object_array_get_idx(value, 0), json_type_object)) {
            if (json_object_array_length(value) != json_object_array_length(other))
                return "a list has another length";
            for (size_t i = 0; i < json_object_array_length(value); i++) {
                const char *inner =
                    compare_objects(json_object_array_get_idx(value, i), json_object_array_get_idx(other, i));
                if (inner)
                    return inner;
            }
        } else if (!is_of_a_run(key) && !json_object_equal(value, other)) {
            snprintf(why, sizeof why, "the key %.60s has another value: %.100s", key,
                     json_object_to_json_string(other));
            return why;
        }
    }
    return NULL;
}

static const char *compare_json(const struct recorded_frame *f, const uint8_t *payload, size_t size)
{
    struct json_object *recorded = parse(f->payload, f->payload_bytes);
    struct json_object *now = parse(payload, size);
    const char *why = "it is no JSON object";
    if (json_object_is_type(recorded, json_type_object) && json_object_is_type(now, json_type_object))
        why = compare_objects(recorded, now);
    json_object_put(recorded);
    json_object_put(now);
    return why;
}

bool frame_says_the_same(const struct recorded_frame *recorded, const struct wire_header *header,
                         const uint8_t *payload, bool exact, const char **ret_why)
{
    const struct wire_header a = recorded->header, b = *header;
    bool json = a.type == WIRE_HELLO || a.type == WIRE_MESSAGE;
    const char *why = NULL;
    if (a.magic != b.magic || a.version != b.version || a.type != b.type)
        why = "it is a frame of another kind";
    else if (a.flags != b.flags || a.region != b.region || a.count != b.count || a.offset != b.offset ||
             a.round != b.round || a.reserved != b.reserved)
        why = "the header says something else";
    else if (exact && a.sequence != b.sequence)
        why = "the sequence number is another one";
    else if (json)
        why = compare_json(recorded, payload, le64toh(b.length));
    else if (exact && (a.length != b.length || memcmp(recorded->payload, payload, le64toh(b.length)) != 0))
        why = "the payload is another one";
    *ret_why = why;
    return !why;
}
