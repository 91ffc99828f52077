/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keys of a domain file and of `--memory`, `--container`, `--device`, `--tracker`: name, form of the
 * value, where it goes. Values come as JSON or as text.
 */
#pragma once
#include "domain-spec.h"

struct json_object;

enum field_form {
    FORM_TEXT,
    FORM_BOOL,
    FORM_SIZE, /* bytes */
    FORM_USEC,
    FORM_ADDRESS, /* a number in any base */
    FORM_NUMBER,  /* decimal, fits 31 bits: node, pid, descriptor */
    FORM_IOVAS,   /* addresses; n beside it */
};

struct field {
    const char *key; /* first: suggest_nearest() reads it */
    enum field_form form;
    size_t offset; /* of the value in its struct */
};

struct field_table {
    const char *what; /* "memory", "device", ... */
    const struct field *fields;
    size_t n;
    size_t has_offset;    /* of the mask of given keys */
    size_t n_iova_offset; /* for FORM_IOVAS */
};

extern const struct field_table memory_fields, container_fields, device_fields, tracker_fields,
    controller_fields;

/* Whether key was given to the item; key must be one of the table. */
bool field_given(const struct field_table *table, const void *item, const char *key);
/* place: "memory[0]" or "--memory". Each fails with the place, the key and what is wrong; a key given twice
 * is refused, but for iova in text. */
int field_set_json(const struct field_table *table, void *item, const char *place, const char *key,
                   struct json_object *value, struct mig_error *err);
int field_set_text(const struct field_table *table, void *item, const char *place, const char *key,
                   const char *value, struct mig_error *err);
/* A flag without a value: KEY or no-KEY of a FORM_BOOL. */
int field_set_flag(const struct field_table *table, void *item, const char *place, const char *flag,
                   struct mig_error *err);
