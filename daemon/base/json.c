/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/json.h"
#include <string.h>

static int get(struct json_object *o, const char *key, enum json_type type, struct json_object **ret)
{
    struct json_object *v;
    if (!json_object_is_type(o, json_type_object))
        return -EPROTO;
    if (!json_object_object_get_ex(o, key, &v))
        return -ENOENT;
    if (!json_object_is_type(v, type))
        return -EPROTO;
    *ret = v;
    return 0;
}

int json_get_string(struct json_object *o, const char *key, const char **ret)
{
    struct json_object *v;
    int r = get(o, key, json_type_string, &v);
    if (r < 0)
        return r;
    const char *s = json_object_get_string(v);
    if (strlen(s) != (size_t)json_object_get_string_len(v)) /* a NUL inside */
        return -EPROTO;
    *ret = s;
    return 0;
}

int json_get_u64(struct json_object *o, const char *key, uint64_t *ret)
{
    struct json_object *v;
    int r = get(o, key, json_type_int, &v);
    if (r < 0)
        return r;
    /* json-c clips a negative number to 0 in the unsigned getter. */
    if (json_object_get_int64(v) < 0)
        return -EPROTO;
    *ret = json_object_get_uint64(v);
    return 0;
}

/* Digits, from the first of them on. */
static bool whole_number_fits(const char *at, const char *end, bool negative)
{
    uint64_t n = 0, most = negative ? (uint64_t)INT64_MAX + 1 : UINT64_MAX;
    bool fits = true;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        fits = fits && n <= (most - digit) / 10;
        n = fits ? n * 10 + digit : n;
    }
    return fits || (at < end && memchr(".eE", *at, 3)); /* such a number is a double */
}

bool json_numbers_fit(const char *text, size_t length)
{
    const char *end = text + length;
    bool in_string = false, in_number = false;
    for (const char *at = text; at < end; at++) {
        bool digit = !in_string && *at >= '0' && *at <= '9';
        if (digit && !in_number && !whole_number_fits(at, end, at > text && at[-1] == '-'))
            return false;
        /* What follows a point or an exponent is no number of its own. */
        in_number = digit || (in_number && memchr(".eE+-", *at, 5));
        if (*at == '"')
            in_string = !in_string;
        else if (in_string && *at == '\\')
            at++;
    }
    return true;
}

int json_get_bool(struct json_object *o, const char *key, bool *ret)
{
    struct json_object *v;
    int r = get(o, key, json_type_boolean, &v);
    if (r < 0)
        return r;
    *ret = json_object_get_boolean(v);
    return 0;
}

int json_get_array(struct json_object *o, const char *key, struct json_object **ret, size_t *ret_count)
{
    int r = get(o, key, json_type_array, ret);
    if (r < 0)
        return r;
    *ret_count = json_object_array_length(*ret);
    return 0;
}

int json_copy_string(struct json_object *o, const char *key, char *buf, size_t size)
{
    const char *s;
    int r = json_get_string(o, key, &s);
    if (r < 0)
        return r;
    if (strlen(s) >= size)
        return -ENAMETOOLONG;
    strcpy(buf, s);
    return 0;
}

int json_add(struct json_object *o, const char *key, struct json_object *value)
{
    if (!value)
        return -ENOMEM;
    if (json_object_object_add(o, key, value) < 0) {
        json_object_put(value);
        return -ENOMEM;
    }
    return 0;
}

uint64_t json_u64_or(struct json_object *o, const char *key, uint64_t otherwise)
{
    uint64_t v;
    return json_get_u64(o, key, &v) == 0 ? v : otherwise;
}

bool json_bool_or(struct json_object *o, const char *key, bool otherwise)
{
    bool v;
    return json_get_bool(o, key, &v) == 0 ? v : otherwise;
}

const char *json_text_or_null(struct json_object *o, const char *key)
{
    const char *s;
    return json_get_string(o, key, &s) == 0 ? s : NULL;
}

int json_add_string(struct json_object *o, const char *key, const char *value)
{
    return value ? json_add(o, key, json_object_new_string(value)) : 0;
}

int json_add_u64(struct json_object *o, const char *key, uint64_t value)
{
    return json_add(o, key, json_object_new_uint64(value));
}

int json_add_bool(struct json_object *o, const char *key, bool value)
{
    return json_add(o, key, json_object_new_boolean(value));
}
