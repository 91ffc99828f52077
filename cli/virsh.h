/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virsh as a child process: what migctl asks of libvirt. */
#pragma once
#include "base/error.h"

#define VIRSH_OUTPUT_MAX ((size_t)16 << 20)

/* arguments: without the program, NULL at the end; input: its standard input, NULL: none. The caller frees
 * *ret_output, which may be NULL. On failure the message is virsh's. */
int virsh_run(const char *const arguments[], const char *input, char **ret_output, struct mig_error *err);
