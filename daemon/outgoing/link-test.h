/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the link to a destination gives, measured by the transport that a migration would use: the same
 * connections, protected as both hosts are configured, and sent from a file as pages are. One connection,
 * then two, four and eight, until more of them bring nothing.
 */
#pragma once
#include "base/error.h"
#include "migd-wire.h"

struct security;
struct ratelimit;

#define LINK_TEST_STEPS_MAX 4u

struct link_test_step {
    unsigned connections;
    uint64_t bytes, bytes_per_sec; /* as the destination counted them */
    uint64_t sender_cpu_usec, receiver_cpu_usec;
};

struct link_test {
    struct link_test_step steps[LINK_TEST_STEPS_MAX];
    size_t nsteps;
    size_t best;     /* the step with the fewest connections that do: others bring no more to speak of */
    char kind[8];    /* "tcp", "tls", "unix" */
    char cipher[64]; /* "" when nothing is encrypted */
    uint64_t round_trip_usec; /* of a question over an idle connection, the quickest */
    uint64_t loaded_rtt_usec; /* TCP's, at the end of the sending; 0: not TCP */
    uint64_t retransmissions; /* segments, of all connections */
    uint64_t
        cap_bytes_per_sec; /* what all migrations of this host may take, which held here too; 0: no cap */
};

/* BLOCKS, on any worker, until it has measured (usually 2 to 5 s, 15 s at the most), cancel_fd (-1: none)
 * becomes readable, or something failed. total: NULL or the cap over all migrations of this host, of which
 * this takes its share. NotSupported: the destination is too old to be asked. *ret is not touched on failure.
 */
int outgoing_link_test(struct link_test *ret, struct security *security, const char *destination,
                       struct ratelimit *total, int cancel_fd, struct mig_error *err);
