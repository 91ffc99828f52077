/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One incoming migration: everything its worker has in its hands. The steps, in order: accept (HELLO against
 * the domain) -> receive (pages and device state by their own threads, control messages by the worker) ->
 * load -> handover (prepared, in doubt, accepted, run).
 */
#pragma once
#include "domain/domain.h"
#include "incoming/apply.h"
#include "incoming/patience.h"
#include "incoming/space-ledger.h"
#include "incoming/state-apply.h"
#include "migration/dialogue.h"
#include "migration/migration.h"
#include "migration/record.h"
#include <pthread.h>

struct session_end { /* how it ended, for the main thread */
    enum mig_state state;
    enum domain_state domain_state;
    char problem[400]; /* makes the domain broken */
    struct mig_error error;
};

struct session_connection {
    struct session *session;
    struct channel *channel;
    struct frame_stream stream;
    unsigned index;
    bool has_thread;
    pthread_t thread;
};

struct session {
    struct migration *migration; /* borrowed: it owns us */
    struct domain *domain;       /* referenced; borrowed from the main thread */
    const char *runtime_dir;
    struct json_object *hello;
    char token[40];
    char decision_address[256];
    char source_name[256]; /* in its certificate; "": not with TLS */
    struct security *security;
    struct space_ledger *ledger; /* referenced; NULL for one that has arrived already */
    bool vmm_state;
    bool accept_overrides; /* of the configuration: HELLO may overrule findings */

    struct channel *control;
    struct frame_stream control_stream;
    pthread_mutex_t send_lock; /* control is answered by the worker, by the page threads (fences)
                                  and by the heartbeat */

    struct region **regions;
    size_t nregions;
    struct apply apply;
    struct apply_counters counters;
    struct populate_beside *beside; /* receive.c; NULL: this host has no processors to spare for it */
    struct state_apply *state;
    uint64_t **digests;    /* digests.c: per region; NULL: not noted */
    _Atomic bool digested; /* they are: who applies pages marks them in their region */

    pthread_mutex_t lock; /* what follows, and attached */
    pthread_cond_t attached_cond;
    size_t nconnections, nattached;
    size_t limit; /* so many page connections can there be: more than nconnections where the source opens them
                     while it sends */
    bool threads_run; /* of the connections that are attached */
    bool closed;      /* nothing attaches any more */
    bool receiving;   /* the source has the word: session_look_after may end it */
    /* resume.c: how a source whose connections broke comes back. */
    uint64_t reconnect_usec; /* how long it tries, by its own word; 0: a break is the end */
    bool resumable;          /* lock: agreed, everything was attached once, and prepare has not come */
    char resume_key[33];     /* lock: what it must know to come back; each is good for one time */
    char next_key[33];       /* lock: what the answer to that said; "" once it is known to have it */
    char attach_key[33];     /* lock: what connections must show; "" for the first ones */
    struct channel *offer;   /* lock: it is back on this connection, and has shown the key */
    struct frame_stream offer_stream;
    size_t offer_connections; /* lock: page connections that it will attach; 0: as many as before */
    uint64_t applied[WIRE_CONNECTIONS_MAX]; /* see struct apply; its threads', or the worker's without them */
    struct session_connection pages[WIRE_CONNECTIONS_MAX];
    struct session_connection state_connection;
    uint32_t fence_round[WIRE_CONNECTIONS_MAX]; /* round + 1 of the newest fence of each connection */
    uint64_t fences;                            /* that came, of all connections */
    struct mig_error failure;                   /* the first of any thread */
    int wake_fd; /* readable: cancelled, or a thread failed; the worker's waits poll it */
    int cancel_fd;
    struct {         /* heartbeat.c; the worker's */
        bool wanted; /* the source listens for it */
        bool runs;
        int end_fd;
        pthread_t thread;
    } heartbeat;
    bool devices_touched, prepared, accepted;
    bool source_knows; /* that it runs here: nobody will ask any more */
    bool may_have_run; /* accepted by a daemon before this one: it can never be given back */

    bool recovering; /* there is a record, and nothing to receive */
    enum record_state recovered_state;
    bool restored_broken;   /* the domain lost a part with the daemon before this one */
    _Atomic int resolution; /* the operator's word, set by the main thread: 1 run, 2 drop */
    struct session_end end;
};

/* course.c: the whole of it. */
int session_run(struct session *s);

/* accept.c: checks HELLO against the domain, prepares devices, answers. */
int session_accept(struct session *s, struct mig_error *err);
/* resume.c */
/* Whether the source wants to be able to come back, and the key for it. */
int session_agree_resume(struct session *s, struct mig_error *err);
void session_set_resumable(struct session *s, bool resumable);
/* Main thread: a HELLO that wants to go on with this migration; takes the channel over when 0 is returned. */
int session_offer(struct session *s, struct channel *channel, const struct frame_stream *stream,
                  struct json_object *hello, struct mig_error *err);
/* Lock held: whether what attaches shows that it belongs to the connections that stand now. */
bool session_may_attach(struct session *s, struct json_object *hello);
/* The worker, when receiving failed with r and *err: 0 when the source is back on a new control connection,
 * everything else must attach anew. Else what the session ends with. */
int session_resume(struct session *s, int r, struct mig_error *err);
/* digests.c */
/* Before a VMM loads: what is sent below is about the memory as it is now. */
int session_note_digests(struct session *s, struct mig_error *err);
int session_send_digests(struct session *s, struct mig_error *err);
void session_free_digests(struct session *s);
/* heartbeat.c: from "prepare" until the answer to it. The end of it comes before the control connection's. */
int session_start_heartbeat(struct session *s, struct mig_error *err);
void session_end_heartbeat(struct session *s);
/* receive.c */
int session_receive(
    struct session *s,
    struct mig_error *err); /* until "prepare" came and all threads brought what belongs before it */
/* Lock held: a page connection that comes while others already send; NULL when it is not expected. */
struct session_connection *session_expect_another(struct session *s, uint64_t index);
/* Lock held, once it is attached: its thread. */
int session_start_another(struct session *s, struct session_connection *c);
void session_fail(struct session *s, const struct mig_error *why); /* any thread */
/* Main thread, until the session has ended: fails it when the source takes too long for what it brings. */
void session_look_after(struct session *s, struct patience *p);
/* end-receiving.c: ends and joins the threads: afterwards nobody writes memory or device state any more.
 * Always before the workload runs and before what came is dropped. */
void session_end_receiving(struct session *s);
/* session-close.c: ends and joins the threads, closes everything */
void session_close(struct session *s);
/* handover.c: from PREPARED to the end. 0: the workload runs here. -ECANCELED etc.: nothing ran, and the
 * source owns it. -EINPROGRESS: in doubt and the daemon ends. */
int session_handover(struct session *s, struct mig_error *err);
/* The part after the decision, also for a restarted daemon. 0 or, when nothing has run and the record says
 * returned, -errno. */
int session_run_workload(struct session *s, struct mig_error *err);
/* Asks the source until it answers. 0: committed. -ECANCELED: aborted. -EINPROGRESS: the daemon ends.
 * Resolution: 0 none, 1 run, 2 drop. */
int session_ask_decision(struct session *s, struct mig_error *err);
int session_write_record(struct session *s, enum record_state state, struct mig_error *err);
/* Drops what was received: devices stopped and wiped, so that the domain can wait for the next. */
void session_drop(struct session *s, char *problem, size_t size);
