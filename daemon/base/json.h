/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Typed access to JSON objects that came from outside. json-c itself converts silently ("12x" to 12, missing
 * to 0); these do not: a missing key is -ENOENT, a wrong type or range -EPROTO. Strings are borrowed from the
 * object.
 */
#pragma once
#include "base/util.h"
#include <json-c/json.h>

DEFINE_CLEANUP(struct json_object *, json_object_put)

int json_get_string(struct json_object *o, const char *key, const char **ret);
int json_get_u64(struct json_object *o, const char *key, uint64_t *ret);
int json_get_bool(struct json_object *o, const char *key, bool *ret);
int json_get_array(struct json_object *o, const char *key, struct json_object **ret, size_t *ret_count);
/* Copies a string into buf; -ENAMETOOLONG. */
int json_copy_string(struct json_object *o, const char *key, char *buf, size_t size);

/* Whether every whole number of a text that json-c has parsed fits into 64 bits: -2^63 to 2^64 - 1. json-c
 * itself clips those beyond to the nearest one that does, and nothing tells it afterwards. */
bool json_numbers_fit(const char *text, size_t length);

/* For what may be missing or of another kind: then the other value. */
uint64_t json_u64_or(struct json_object *o, const char *key, uint64_t otherwise);
bool json_bool_or(struct json_object *o, const char *key, bool otherwise);
const char *json_text_or_null(struct json_object *o, const char *key);

/* Adders that report out of memory: 0 or -ENOMEM. A NULL string adds nothing. */
int json_add_string(struct json_object *o, const char *key, const char *value);
int json_add_u64(struct json_object *o, const char *key, uint64_t value);
int json_add_bool(struct json_object *o, const char *key, bool value);
/* Takes value over, also on failure. */
int json_add(struct json_object *o, const char *key, struct json_object *value);
