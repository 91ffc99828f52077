/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of other processes (pidfd_open, pidfd_getfd). A process is opened once and stays open until
 * migctl ends, so that all that is taken by its number comes from that one process, whatever happens to the
 * number.
 */
#pragma once
#include "base/error.h"
#include <sys/types.h>

/* *ret_pidfd is borrowed. Refuses numbers that mean no process here, threads, processes that have ended, and
 * a /proc of another PID namespace. */
int foreign_open(uint64_t pid, int *ret_pidfd, struct mig_error *err);
/* Takes a copy of a descriptor. seen: foreign_identity() when it was found, NULL: whatever it is now.
 * NotAllowed with the remedy where the kernel says no. */
int foreign_fd_take(uint64_t pid, uint64_t number, const char *seen, int *ret, struct mig_error *err);
/* What a descriptor is: link and inode, as proc (a mounted procfs) shows them. NULL: it is closed, or must
 * not be looked at, or memory is short. */
char *foreign_identity(const char *proc, const char *pid, uint64_t number);

/* Why a process may not be looked into. */
struct foreign_rights {
    uint32_t own_uid, other_uid;
    bool may_trace;   /* CAP_SYS_PTRACE is effective */
    int ptrace_scope; /* kernel.yama.ptrace_scope; -1: there is none */
    bool filtered;    /* migctl itself runs under a seccomp filter */
};
/* The last fact of a refusal: "it belongs to uid 107, migctl runs as uid 1000", and the remedy as the hint.
 * what: "descriptor 7 of process 4711 cannot be taken". */
int foreign_refused(const struct foreign_rights *rights, const char *what, int error, struct mig_error *err);
/* The same, with the rights that are found in /proc. */
int foreign_explain(uint64_t pid, const char *what, int error, struct mig_error *err);
