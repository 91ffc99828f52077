/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a domain file (JSON) into a domain_spec. */
#include "domain-fields.h"
#include "domain-items.h"
#include "json-util.h"
#include "suggest.h"
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8

static const char *const top_keys[] = {"name",    "incoming", "memory",    "containers",
                                       "devices", "trackers", "controller"};

static int parse_text(const char *file, const char *text, struct json_object **ret, struct mig_error *err)
{
    size_t length = strlen(text);
    if (length > DOMAIN_FILE_MAX_BYTES)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "%s is longer than %u bytes", file,
                             DOMAIN_FILE_MAX_BYTES);
    struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
    if (!tokener)
        return mig_error_oom(err);
    /* Strict: a number that does not fit, a comma too many and text behind the object are errors. */
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *o = json_tokener_parse_ex(tokener, text, (int)length + 1);
    enum json_tokener_error e = json_tokener_get_error(tokener);
    size_t at = MIN(json_tokener_get_parse_end(tokener), length);
    json_tokener_free(tokener);
    if (e != json_tokener_success) {
        unsigned line = 1;
        for (size_t i = 0; i < at; i++)
            line += text[i] == '\n';
        json_object_put(o);
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s, line %u: not JSON: %s", file, line,
                             e == json_tokener_continue || e == json_tokener_error_parse_eof
                                 ? "it ends too early"
                                 : json_tokener_error_desc(e));
    }
    if (!json_object_is_type(o, json_type_object)) {
        json_object_put(o);
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: must be a JSON object", file);
    }
    *ret = o;
    return 0;
}

static int read_object(const struct field_table *table, void *item, const char *place,
                       struct json_object *value, struct mig_error *err)
{
    if (!json_object_is_type(value, json_type_object))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: must be an object", place);
    json_object_object_foreach(value, key, v)
    {
        int r = field_set_json(table, item, place, key, v, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_list(struct domain_spec *spec, const struct field_table *table, const char *key,
                     struct json_object *value, struct mig_error *err)
{
    if (!json_object_is_type(value, json_type_array))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: must be a list of objects", key);
    for (size_t i = 0; i < json_length(value); i++) {
        char place[64];
        snprintf(place, sizeof place, "%s[%zu]", key, i);
        void *item;
        int r = domain_spec_new_item(spec, table, &item, err);
        if (r < 0 || (r = read_object(table, item, place, json_object_array_get_idx(value, i), err)) < 0)
            return r;
    }
    return 0;
}

static int read_top(struct domain_spec *spec, const char *key, struct json_object *value,
                    struct mig_error *err)
{
    if (strcmp(key, "name") == 0) {
        if (!json_object_is_type(value, json_type_string))
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "name: must be a text");
        /* The name that the command gives goes before the one in the file. */
        if (!spec->name)
            spec->name = strdup(json_object_get_string(value));
        return spec->name ? 0 : mig_error_oom(err);
    }
    if (strcmp(key, "incoming") == 0) {
        if (!json_object_is_type(value, json_type_boolean))
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "incoming: must be true or false");
        spec->incoming = spec->incoming || json_object_get_boolean(value);
        return 0;
    }
    if (strcmp(key, "memory") == 0)
        return read_list(spec, &memory_fields, key, value, err);
    if (strcmp(key, "containers") == 0)
        return read_list(spec, &container_fields, key, value, err);
    if (strcmp(key, "devices") == 0)
        return read_list(spec, &device_fields, key, value, err);
    if (strcmp(key, "trackers") == 0)
        return read_list(spec, &tracker_fields, key, value, err);
    if (strcmp(key, "controller") == 0)
        return read_object(&controller_fields, &spec->controller, key, value, err);
    const char *near = suggest_nearest(key, top_keys, sizeof top_keys[0], ELEMENTS(top_keys));
    if (near)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%.64s: unknown key, did you mean \"%s\"?",
                             key, near);
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%.64s: unknown key", key);
    mig_error_hint(err, "The keys are: name, incoming, memory, containers, devices, trackers, controller");
    return r;
}

int domain_spec_read_json(struct domain_spec *spec, const char *file, const char *text, struct mig_error *err)
{
    _cleanup_json_ struct json_object *top = NULL;
    int r = parse_text(file, text, &top, err);
    if (r < 0)
        return r;
    json_object_object_foreach(top, key, value)
    {
        if ((r = read_top(spec, key, value, err)) < 0)
            return mig_error_wrap(err, "%s", file);
    }
    return 0;
}
