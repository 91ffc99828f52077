/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at sysfs, /proc and /dev beneath a root, so that a test can show another host. What is read may be
 * missing, garbage or endless: every read is bounded, and text is made printable.
 *
 * No state; any thread, but not the main one: a driver's attribute may take its time.
 */
#pragma once
#include "vfio/kernel.h"
#include <sys/types.h>

#define TREE_NAMES_MAX 65536u

struct host_tree {
    const char *root;                 /* "": the host's own */
    const struct kernel_calls *calls; /* NULL: the real kernel */
};

struct tree_names {
    char **names; /* sorted; none begins with a dot */
    size_t count;
};

/* First line of a file. -errno; an empty one is 0 and "". */
int tree_read(const struct host_tree *t, char *ret, size_t size, const char *format, ...) _printf_(4, 5);
/* The line is one number, decimal or with 0x. -EINVAL when it is not. */
int tree_read_number(const struct host_tree *t, int64_t *ret, const char *format, ...) _printf_(3, 4);
/* A whole file; -EFBIG beyond max bytes. The caller frees *ret. */
int tree_read_whole(const struct host_tree *t, size_t max_bytes, char **ret, size_t *ret_bytes,
                    const char *format, ...) _printf_(5, 6);
/* Where a link leads to. Nothing is asked of what is there. */
int tree_read_link(const struct host_tree *t, char *ret, size_t size, const char *format, ...) _printf_(4, 5);
/* The last component of that: how sysfs names a driver, a group, a parent. */
int tree_link_name(const struct host_tree *t, char *ret, size_t size, const char *format, ...) _printf_(4, 5);
bool tree_has(const struct host_tree *t, const char *format, ...) _printf_(2, 3);
/* A descriptor, or -errno. */
int tree_open(const struct host_tree *t, int flags, const char *format, ...) _printf_(3, 4);

int tree_list(const struct host_tree *t, struct tree_names *ret, const char *format, ...) _printf_(3, 4);
void tree_names_free(struct tree_names *n);
