/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the operator chose for a migration: defaults, words, checks. A plain value. */
#pragma once
#include "base/finding.h"

enum stall_policy { STALL_ABORT, STALL_FORCE, STALL_WAIT };
enum gate_policy { GATE_STRICT, GATE_RESEND, GATE_OFF };
enum verify_mode { VERIFY_OFF, VERIFY_POST, VERIFY_STRICT };
enum compression { COMPRESSION_OFF, COMPRESSION_LZ4, COMPRESSION_ZSTD, COMPRESSION_ADAPTIVE };

struct migration_options {
    uint64_t bandwidth_bytes_per_sec; /* 0: no cap */
    uint64_t max_downtime_usec;       /* default 300 ms */
    uint64_t timeout_usec;            /* of the precopy phase; 0: none */
    enum stall_policy on_stall;
    enum gate_policy gate;
    unsigned gate_resends;   /* default 3 */
    unsigned max_rounds;     /* 0: no limit; then the stall policy applies */
    uint64_t reconnect_usec; /* before the blackout: how long a lost connection is tried again; default 30 s;
                                0: not at all */
    uint64_t
        blackout_limit_usec; /* for sending in the blackout; 0: from its bytes and the measured bandwidth */
    /* fixed at start: */
    unsigned connections;     /* 0: chosen */
    unsigned max_connections; /* where it is chosen: at most so many */
    bool checksum;
    enum verify_mode verify;
    enum compression compression;
    bool allow[FINDING_CODE_MAX]; /* findings that the operator overrules */
    char peer_domain[64];
};

void migration_options_init(struct migration_options *o);
/* --allow CODE: see findings_waive. */
int migration_options_allow(struct migration_options *o, const char *code, struct mig_error *err);
/* A list that is about to be filled overrules what the operator does. */
void migration_options_waive(const struct migration_options *o, struct findings *f);
/* Words <-> values; -EINVAL with a message that lists the words. */
int stall_policy_from_string(const char *s, enum stall_policy *ret, struct mig_error *err);
int gate_policy_from_string(const char *s, enum gate_policy *ret, struct mig_error *err);
int verify_mode_from_string(const char *s, enum verify_mode *ret, struct mig_error *err);
int compression_from_string(const char *s, enum compression *ret, struct mig_error *err);
const char *compression_to_string(enum compression c);
const char *stall_policy_to_string(enum stall_policy p);
const char *gate_policy_to_string(enum gate_policy p);
const char *verify_mode_to_string(enum verify_mode v);
