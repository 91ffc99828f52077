/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors of other processes. */
#pragma once
#include "base/error.h"

/* Takes a copy of a descriptor of another process (pidfd_getfd). NotAllowed with the remedy where the kernel
 * says no. */
int foreign_fd_take(uint64_t pid, uint64_t number, int *ret, struct mig_error *err);
