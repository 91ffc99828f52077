/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/resume-answer.h"
#include <errno.h>

static int get_numbers(struct json_object *o, const char *key, uint64_t *ret, size_t wanted)
{
    struct json_object *array;
    size_t n;
    if (json_get_array(o, key, &array, &n) < 0 || n != wanted)
        return -EPROTO;
    for (size_t i = 0; i < n; i++) {
        struct json_object *number = json_object_array_get_idx(array, i);
        /* json-c clips what is beyond 64 bits to the largest number. */
        if (!json_object_is_type(number, json_type_int) || json_object_get_int64(number) < 0 ||
            json_object_get_uint64(number) > INT64_MAX)
            return -EPROTO;
        ret[i] = json_object_get_uint64(number);
    }
    return 0;
}

int resume_answer_read(struct resume_answer *ret, struct json_object *answer, size_t connections,
                       size_t devices)
{
    if (json_copy_string(answer, "resume-key", ret->key, sizeof ret->key) < 0 || !ret->key[0] ||
        get_numbers(answer, "applied", ret->applied, connections) < 0 ||
        get_numbers(answer, "state-taken", ret->state_taken, devices) < 0)
        return -EPROTO;
    return 0;
}
