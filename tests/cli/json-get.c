/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json-get KEY...: reads one JSON value from standard input, all of it, and prints what KEY.KEY... leads to
 * (an array index is a number), one line for each KEY. Exit code 1 when the input is not one JSON value, 3
 * when a key leads nowhere.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *walk(struct json_object *o, char *path)
{
    for (char *key = strtok(path, "."); key; key = strtok(NULL, ".")) {
        struct json_object *next = NULL;
        if (json_object_is_type(o, json_type_array))
            next = json_object_array_get_idx(o, strtoul(key, NULL, 10));
        else if (json_object_is_type(o, json_type_object))
            json_object_object_get_ex(o, key, &next);
        if (!next)
            return NULL;
        o = next;
    }
    return o;
}

int main(int argc, char *argv[])
{
    static char text[1 << 20];
    size_t length = fread(text, 1, sizeof text - 1, stdin);
    struct json_tokener *tokener = json_tokener_new();
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *o = json_tokener_parse_ex(tokener, text, (int)length + 1);
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        fprintf(stderr, "not one JSON value: %.200s\n", text);
        return 1;
    }
    json_tokener_free(tokener);
    int code = 0;
    for (int i = 1; i < argc; i++) {
        struct json_object *found = walk(o, argv[i]);
        if (!found)
            code = 3;
        printf("%s\n", found ? json_object_get_string(found) : "MISSING");
    }
    json_object_put(o);
    return code;
}
