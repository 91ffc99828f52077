/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records: what a restarted daemon, or a peer in doubt, must know of a migration. One small file per
 * migration in RUNTIME_DIR/migrations, written atomically and not synced: it must survive the daemon, not the
 * host (a host that crashes takes the workload with it).
 *
 *   outgoing: started    tracking may be on, devices may be in PRE_COPY; the workload runs
 *             intent     the workload may be paused and devices stopped: a restarted daemon resumes them
 *             committed  the destination owns the workload: never resume
 *             returned   the destination gave it back and it is about to be resumed; aborted afterwards
 *             active     the destination runs it, and said so; goes when the domain is saved as departed
 *             aborted    the source owns it; kept so that a destination in doubt gets an answer
 *   incoming: prepared   loaded, does not run, the source decides
 *             accepted   owns the workload, may run already, may still give it back
 *             active     runs it; goes when the source knows and the domain is saved as running
 *             returned   could not run it and nothing has run: the source owns it
 *
 * At every moment the records of both sides name exactly one owner: the source, unless its record says
 * committed and the destination's does not say returned.
 */
#pragma once
#include "base/error.h"

enum record_state {
    RECORD_STARTED,
    RECORD_INTENT,
    RECORD_COMMITTED,
    RECORD_ABORTED,
    RECORD_RETURNED,
    RECORD_PREPARED,
    RECORD_ACCEPTED,
    RECORD_ACTIVE,
    RECORD_STATE_MAX,
};

struct record {
    char id[40];
    char domain[64];
    bool incoming;
    enum record_state state;
    char peer[256]; /* outgoing: the destination's address; incoming: the source's address for questions */
    char peer_name[256]; /* incoming: by which the source's certificate is known; "": not with TLS */
    char token[40];      /* secret that both sides share: proves that a question comes from the peer of this
                            migration */
};

const char *record_state_to_string(enum record_state s);
int record_write(const char *runtime_dir, const struct record *r, struct mig_error *err);
/* -ENOENT when there is none; -EPROTO for a file that is no record. An id that is not 32 hex digits is
 * -EINVAL: ids come from peers. */
int record_read(const char *runtime_dir, const char *id, bool incoming, struct record *ret);
void record_remove(const char *runtime_dir, const char *id, bool incoming);
/* All of them; malloc'ed array. Files that are no records are skipped with a warning. */
int record_list(const char *runtime_dir, struct record **ret, size_t *ret_count);
/* Removes the incoming records of a domain: when it leaves or is released, an old "accepted" must never make
 * a successor run it. One that was returned stays: the source may still ask. */
void record_forget(const char *runtime_dir, const char *domain);
/* Removes all but the newest `keep` aborted and returned records. */
void record_trim(const char *runtime_dir, size_t keep);
