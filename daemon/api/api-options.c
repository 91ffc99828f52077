/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-options.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 64u

static int unreadable(int r, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "the options of the call cannot be read: %s",
                         strerror(-r));
}

static int refuse_key(const char *key, const struct api_option *options, size_t n, struct mig_error *err)
{
    char known[240] = "";
    size_t at = 0;
    for (size_t i = 0; i < n && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", options[i].key);
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "unknown option \"%.80s\"", key);
    mig_error_hint(err, "%s%s", n ? "known are: " : "this method has no options", known);
    return r;
}

/* Any integer as 128 bits; -ENXIO for another type. */
static int read_integer(sd_bus_message *m, const char *type, __int128 *ret)
{
    union {
        uint8_t y;
        int16_t n;
        uint16_t q;
        int32_t i;
        uint32_t u;
        int64_t x;
        uint64_t t;
    } v;
    if (strlen(type) != 1 || !strchr("ynqiuxt", type[0]))
        return -ENXIO;
    int r = sd_bus_message_read_basic(m, type[0], &v);
    if (r < 0)
        return r;
    switch (type[0]) {
    case 'y':
        *ret = v.y;
        break;
    case 'n':
        *ret = v.n;
        break;
    case 'q':
        *ret = v.q;
        break;
    case 'i':
        *ret = v.i;
        break;
    case 'u':
        *ret = v.u;
        break;
    case 'x':
        *ret = v.x;
        break;
    default:
        *ret = v.t;
    }
    return 0;
}

static int read_number(sd_bus_message *m, const struct api_option *o, const char *type)
{
    __int128 v;
    int r = read_integer(m, type, &v);
    if (r < 0)
        return r;
    switch (o->type) {
    case API_U64:
        if (v < 0)
            return -ERANGE;
        *(uint64_t *)o->ret = (uint64_t)v;
        return 0;
    case API_U32:
        if (v < 0 || v > UINT32_MAX)
            return -ERANGE;
        *(uint32_t *)o->ret = (uint32_t)v;
        return 0;
    default:
        if (v < INT32_MIN || v > INT32_MAX)
            return -ERANGE;
        *(int32_t *)o->ret = (int32_t)v;
        return 0;
    }
}

static int read_strings(sd_bus_message *m, struct api_strings *ret)
{
    int r = sd_bus_message_enter_container(m, 'a', "s");
    if (r < 0)
        return r;
    const char *s;
    for (ret->n = 0; (r = sd_bus_message_read_basic(m, 's', (void *)&s)) > 0; ret->n++) {
        if (ret->n == API_STRINGS_MAX)
            return -ERANGE;
        ret->values[ret->n] = s;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_value(sd_bus_message *m, const struct api_option *o, const char *type)
{
    int b, r;
    const void *array;
    size_t size;
    switch (o->type) {
    case API_BOOL:
        if (strcmp(type, "b") != 0)
            return -ENXIO;
        r = sd_bus_message_read_basic(m, 'b', &b);
        if (r >= 0)
            *(bool *)o->ret = b;
        return r < 0 ? r : 0;
    case API_STRING:
        if (strcmp(type, "s") != 0)
            return -ENXIO;
        r = sd_bus_message_read_basic(m, 's', (void *)o->ret);
        return r < 0 ? r : 0;
    case API_FD:
        if (strcmp(type, "h") != 0)
            return -ENXIO;
        r = sd_bus_message_read_basic(m, 'h', o->ret);
        return r < 0 ? r : 0;
    case API_U64S:
        if (strcmp(type, "at") != 0)
            return -ENXIO;
        r = sd_bus_message_read_array(m, 't', &array, &size);
        if (r >= 0)
            *(struct api_u64s *)o->ret = (struct api_u64s){array, size / sizeof(uint64_t)};
        return r < 0 ? r : 0;
    case API_STRINGS:
        return strcmp(type, "as") != 0 ? -ENXIO : read_strings(m, o->ret);
    default:
        return read_number(m, o, type);
    }
}

static const char *const expected[] = {
    [API_BOOL] = "a boolean (b)",
    [API_STRING] = "a string (s)",
    [API_U64] = "a number that is not negative (t)",
    [API_U32] = "a number from 0 to 4294967295 (u)",
    [API_I32] = "a number of 32 bits (i)",
    [API_U64S] = "an array of numbers (at)",
    [API_STRINGS] = "a list of at most 32 strings (as)",
    [API_FD] = "a descriptor (h)",
};

static int read_option(sd_bus_message *m, const struct api_option *o, struct mig_error *err)
{
    const char *type;
    char kind;
    int r = sd_bus_message_peek_type(m, &kind, &type);
    if (r <= 0 || kind != 'v')
        return unreadable(r < 0 ? r : -EBADMSG, err);
    r = sd_bus_message_enter_container(m, 'v', type);
    if (r < 0)
        return unreadable(r, err);
    r = read_value(m, o, type);
    if (r == -ENXIO || r == -ERANGE)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "option \"%s\" must be %s", o->key,
                             expected[o->type]);
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? unreadable(r, err) : 0;
}

static int read_entry(sd_bus_message *m, const struct api_option *options, size_t n, uint64_t *seen,
                      struct mig_error *err)
{
    const char *key;
    int r = sd_bus_message_read_basic(m, 's', &key);
    if (r < 0)
        return unreadable(r, err);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(options[i].key, key) != 0)
            continue;
        if (*seen & UINT64_C(1) << i)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "option \"%s\" is given twice", key);
        *seen |= UINT64_C(1) << i;
        if (options[i].given)
            *options[i].given = true;
        return read_option(m, &options[i], err);
    }
    return refuse_key(key, options, n, err);
}

int api_options_read(sd_bus_message *m, const struct api_option *options, size_t n, struct mig_error *err)
{
    uint64_t seen = 0;
    if (n > OPTIONS_MAX)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "too many options are defined");
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");
    if (r < 0)
        return unreadable(r, err);
    while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        int e = read_entry(m, options, n, &seen, err);
        if (e < 0)
            return e;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
            break;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? unreadable(r, err) : 0;
}
