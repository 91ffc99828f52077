/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Short ways to the members of a JSON object. A member that is missing or of another type reads as "", 0 or
 * false. */
#pragma once
#include "base/util.h"
#include <json-c/json.h>

static inline void json_putp(struct json_object **o)
{
    json_object_put(*o);
}
#define _cleanup_json_ _cleanup_(json_putp)

static inline struct json_object *json_get(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;
    if (o && json_object_is_type(o, json_type_object))
        json_object_object_get_ex(o, key, &v);
    return v;
}
static inline const char *json_str(struct json_object *o, const char *key)
{
    struct json_object *v = json_get(o, key);
    return v && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}
static inline uint64_t json_u64(struct json_object *o, const char *key)
{
    struct json_object *v = json_get(o, key);
    return v && json_object_is_type(v, json_type_int) ? json_object_get_uint64(v) : 0;
}
static inline bool json_flag(struct json_object *o, const char *key)
{
    struct json_object *v = json_get(o, key);
    return v && json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}
static inline size_t json_length(struct json_object *v)
{
    return v && json_object_is_type(v, json_type_array) ? json_object_array_length(v) : 0;
}
