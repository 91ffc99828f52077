/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus-json.h"
#include "base/util.h"
#include <json-c/json.h>

static int read_basic(sd_bus_message *m, char type, struct json_object **ret)
{
    union {
        uint8_t y;
        int b;
        int16_t n;
        uint16_t q;
        int32_t i;
        uint32_t u;
        int64_t x;
        uint64_t t;
        double d;
        const char *s;
        int h;
    } v;
    int r = sd_bus_message_read_basic(m, type, &v);
    if (r < 0)
        return r;
    struct json_object *o = NULL;
    switch (type) {
    case 'y':
        o = json_object_new_int64(v.y);
        break;
    case 'b':
        o = json_object_new_boolean(v.b);
        break;
    case 'n':
        o = json_object_new_int64(v.n);
        break;
    case 'q':
        o = json_object_new_int64(v.q);
        break;
    case 'i':
        o = json_object_new_int64(v.i);
        break;
    case 'u':
        o = json_object_new_int64(v.u);
        break;
    case 'x':
        o = json_object_new_int64(v.x);
        break;
    case 't':
        o = json_object_new_uint64(v.t);
        break;
    case 'd':
        o = json_object_new_double(v.d);
        break;
    case 's':
    case 'o':
    case 'g':
        o = json_object_new_string(v.s);
        break;
    case 'h':
        *ret = NULL; /* belongs to the message; means nothing as text */
        return 0;
    default:
        return -EBADMSG;
    }
    *ret = o;
    return o ? 0 : -ENOMEM;
}

static int read_dictionary(sd_bus_message *m, const char *contents, struct json_object *object)
{
    char entry[3] = {contents[1], contents[2], '\0'};
    int r;
    while ((r = sd_bus_message_enter_container(m, 'e', entry)) > 0) {
        const char *key;
        struct json_object *value = NULL;
        if ((r = sd_bus_message_read_basic(m, 's', &key)) < 0 || (r = bus_read_json(m, &value)) < 0)
            return r;
        if (json_object_object_add(object, key, value) < 0) {
            json_object_put(value);
            return -ENOMEM;
        }
        if ((r = sd_bus_message_exit_container(m)) < 0)
            return r;
    }
    return r;
}

static int read_sequence(sd_bus_message *m, struct json_object *array)
{
    int r;
    while ((r = sd_bus_message_at_end(m, false)) == 0) {
        struct json_object *value = NULL;
        if ((r = bus_read_json(m, &value)) < 0)
            return r;
        if (json_object_array_add(array, value) < 0) {
            json_object_put(value);
            return -ENOMEM;
        }
    }
    return r < 0 ? r : 0;
}

int bus_read_json(sd_bus_message *m, struct json_object **ret)
{
    char type;
    const char *contents;
    int r = sd_bus_message_peek_type(m, &type, &contents);
    if (r < 0)
        return r;
    if (r == 0)
        return -ENXIO;
    if (!contents)
        return read_basic(m, type, ret);

    if ((r = sd_bus_message_enter_container(m, type, contents)) < 0)
        return r;
    struct json_object *o = NULL;
    if (type == 'v') {
        r = bus_read_json(m, &o);
    } else if (type == 'a' && contents[0] == '{' && contents[1] == 's' && contents[2] == 'v') {
        o = json_object_new_object();
        r = o ? read_dictionary(m, contents, o) : -ENOMEM;
    } else {
        o = json_object_new_array();
        r = o ? read_sequence(m, o) : -ENOMEM;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    if (r < 0) {
        json_object_put(o);
        return r;
    }
    *ret = o;
    return 0;
}
