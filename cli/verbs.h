/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs of migctl: one file each (verb-NAME.c), one function each, which gets what was typed and returns
 * the exit code of the process. cli/main.c has the table.
 */
#pragma once
#include "args.h"

#define VERB_REGISTER  (1u << 0)
#define VERB_LIST      (1u << 1)
#define VERB_SHOW      (1u << 2)
#define VERB_START     (1u << 3)
#define VERB_MONITOR   (1u << 4)
#define VERB_STATUS    (1u << 5)
#define VERB_SET       (1u << 6)
#define VERB_CANCEL    (1u << 7)
#define VERB_RESOLVE   (1u << 8)
#define VERB_RELEASE   (1u << 9)
#define VERB_CONFIG    (1u << 10)
#define VERB_DEVICES   (1u << 11)
#define VERB_CHECK     (1u << 12)
#define VERB_EXPLAIN   (1u << 13)
#define VERB_OPEN      (1u << 14)
#define VERB_LIBVIRT   (1u << 15)
#define VERB_LINK_TEST (1u << 16)
#define VERB_EVACUATE  (1u << 17)
#define VERB_ALL       (~0u)

struct verb {
    const char *name;
    unsigned bit;
    int min_args, max_args;
    const char *synopsis; /* of the arguments */
    const char *summary;  /* a line for `migctl --help` */
    const char *details;  /* more for `migctl VERB --help`; may be NULL */
    int (*run)(const struct args *args);
    const char *only_here; /* why it cannot be asked of another host (--host); NULL: it can */
};

int verb_register(const struct args *args);
int verb_open(const struct args *args);
int verb_list(const struct args *args);
int verb_show(const struct args *args);
int verb_start(const struct args *args);
int verb_monitor(const struct args *args);
int verb_status(const struct args *args);
int verb_set(const struct args *args);
int verb_cancel(const struct args *args);
int verb_resolve(const struct args *args);
int verb_release(const struct args *args);
int verb_check(const struct args *args);
int verb_explain(const struct args *args);
int verb_config(const struct args *args);
int verb_devices(const struct args *args);
int verb_link_test(const struct args *args);
int verb_evacuate(const struct args *args);
int verb_libvirt(const struct args *args);
