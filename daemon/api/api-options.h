/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The a{sv} at the end of every call. A key that the method does not know is refused and the known ones are
 * named; so is a value of another type, where every integer type is as good as another as long as the value
 * fits.
 */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

enum api_option_type {
    API_BOOL,    /* bool */
    API_STRING,  /* const char *, which lives as long as the message */
    API_U64,     /* uint64_t */
    API_U32,     /* uint32_t */
    API_I32,     /* int32_t */
    API_U64S,    /* struct api_u64s, as a string does */
    API_STRINGS, /* struct api_strings, as a string does */
    API_FD,      /* int: a descriptor, which lives as long as the message */
};

struct api_u64s {
    const uint64_t *values;
    size_t n;
};

#define API_STRINGS_MAX 32u

struct api_strings {
    const char *values[API_STRINGS_MAX];
    size_t n;
};

struct api_option {
    const char *key;
    enum api_option_type type;
    void *ret;   /* untouched when the key is not given */
    bool *given; /* may be NULL */
};

/* Reads the dictionary at the message's read position, which must be the last argument. */
int api_options_read(sd_bus_message *m, const struct api_option *options, size_t n, struct mig_error *err);
