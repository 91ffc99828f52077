/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An outgoing job: everything its worker has in its hands. course.c tells the whole course; the other files
 * of this folder are its steps, in the order of the data path: setup and handshake (who, how many
 * connections) -> rounds (precopy) -> switch-over (the blackout up to the decision) with gate and verify ->
 * handover (after it) or rollback.
 *
 * All functions here run on the worker and return 0 or -errno with err filled. Nothing here touches the bus.
 */
#pragma once
#include "check/check.h"
#include "dirty/harvest.h"
#include "domain/domain.h"
#include "migration/dialogue.h"
#include "migration/migration.h"
#include "migration/record.h"
#include "outgoing/convergence.h"
#include "outgoing/growth.h"
#include "outgoing/page-stream.h"
#include "outgoing/state-stream.h"
#include "transport/link-watch.h"
#include <pthread.h>

#define JOB_HISTORY_MAX 64u

enum job_resolution { RESOLUTION_NONE, RESOLUTION_RUN, RESOLUTION_DROP };

struct job_end { /* how it ended, for the main thread */
    enum mig_state state;
    enum domain_state domain_state;
    char problem[400]; /* what could not be undone; makes the domain broken */
    struct mig_error error;
};

struct job {
    struct migration *migration; /* borrowed: it owns us */
    struct domain *domain;       /* referenced and borrowed from the main thread */
    const char *runtime_dir;
    const char *decision_address;
    struct security *security; /* borrowed */
    struct ratelimit *total;   /* borrowed: the cap over all migrations; NULL: none */
    int cancel_fd;
    struct migration_options options; /* as at start; what may change is read anew */
    struct check_request request;     /* points into this struct */
    char destination[256];
    struct channel_place place; /* where the first connection found it; the worker's */
    char token[33];
    char resume_key[33]; /* "": the destination cannot take a migration up again */

    struct channel *control;
    struct frame_stream control_stream;
    struct channel *page_channels[WIRE_CONNECTIONS_MAX];
    size_t npage_channels;
    bool grows;          /* the destination takes more of them while the migration runs */
    size_t granted;      /* so many in all */
    char attach_key[33]; /* what they show; "" until connections were made anew */
    struct growth growth;
    bool heartbeat;         /* the destination says "loading" each second while it loads */
    bool codecs[CODEC_MAX]; /* that the destination unpacks */
    struct channel *state_channel;
    struct link_watch *watch; /* of all of them */
    struct page_stream *pages;
    pthread_mutex_t
        pages_lock; /* of what the main thread sees of it: to set the bandwidth, to ask how far it is */
    struct page_stream *live_pages; /* NULL before and after */
    struct state_stream *state;

    struct harvest_set set;
    struct region **regions; /* array behind set.regions */
    uint64_t **sent_digests; /* per region; NULL in it until verify or the gate needs them */

    struct convergence_round history[JOB_HISTORY_MAX];
    size_t nhistory;
    uint32_t round;
    uint64_t harvest_usec;                   /* of the newest harvest: when it ended */
    uint64_t last_harvest_usec, answer_usec; /* measured: how long it took, and the peer's quickest answer */
    uint64_t precopy_deadline_usec;
    uint64_t initial_bytes; /* of device state, after the newest round that only waited for them (R11) */
    unsigned initial_rounds, idle_initial_rounds; /* such rounds, and those in a row that got nothing */
    uint64_t blackout_usec;                       /* when it began; 0 before */

    /* Facts, each of which rollback undoes on its own. */
    bool tracking, recorded, paused, devices_touched;

    struct record record;   /* job_recover: what the daemon before this one left */
    _Atomic int resolution; /* enum job_resolution: the operator's word, set by the main thread */
    struct job_end end;
};

/* course.c: the whole of it. The result and job.end tell how it ended. */
int job_migrate(struct job *j);
int job_recover(struct job *j);
/* setup.c */
int job_set_up(struct job *j, struct mig_error *err);
void job_close(struct job *j);
/* sent-digests.c. Digests of what is sent, once the proof or a gate that cannot ask a tracker needs them.
 * Between rounds: a tracker may turn out to know nothing at any harvest. From then on each harvest reports
 * all that it covers, so what is sent last of those pages has a digest. */
int job_prepare_digests(struct job *j, struct mig_error *err);
/* handshake.c */
int job_handshake(struct job *j, struct mig_error *err);
/* One of the other connections. key: "" for the first ones, else what the answer to a resume said. */
struct attachment {
    const char *role, *key;
    size_t index;
    uint64_t timeout_usec;
};
int job_attach(struct job *j, const struct attachment *a, struct channel **ret, struct mig_error *err);
int job_watch_link(struct job *j, struct mig_error *err);
/* setup.c: over the page connections that stand. */
int job_start_pages(struct job *j, bool resumed, struct mig_error *err);
/* more-connections.c: has the stream look for what the link gives, from the beginning or as it goes on. */
void job_start_growth(struct job *j);
void job_end_growth(struct job *j);
/* reconnect.c: whether the failure is one of the connections alone, in a phase in which they may be made
 * anew. */
bool job_may_reconnect(const struct job *j, int r, const struct mig_error *err);
/* Tries until --reconnect-timeout is over. 0: all stands again, and what may have been lost is dirty. */
int job_reconnect(struct job *j, struct mig_error *err);
/* A round trip, and no connection that has ended: what a switch-over should know before it pauses anybody. */
int job_check_link(struct job *j, struct mig_error *err);
/* rounds.c: from the full send to the decision to switch over. */
int job_rounds(struct job *j, struct mig_error *err);
/* One round on the wire: pages, fences, and the device state that is there; counters and history are the
 * caller's. */
int job_send_round(struct job *j, bool final, struct page_round *ret, struct mig_error *err);
/* explain-break.c: the peer often has said why on the control connection, and err becomes that. Returns
 * -errno. */
int job_explain_break(struct job *j, int error, struct mig_error *err);
/* observe.c: figures of the trackers into the status. */
void job_publish_trackers(struct job *j);
/* " (tracker a, b cannot tell what is written)", or nothing. */
void job_name_blind(struct job *j, char *buf, size_t size);
/* DeviceGone when a device, or the process that holds it, has died. */
int job_check_gone(struct job *j, struct mig_error *err);
/* switch-over.c: pause to PREPARED, gate, verify, up to the decision record. */
int job_switch_over(struct job *j, struct mig_error *err);
/* gate.c */
int job_gate(struct job *j, struct mig_error *err);
/* After the decision, before tracking goes off: pages that were written in between, and by whom. A device
 * that writes after its state was taken writes into memory that is nobody's any more: that cannot be mended,
 * but must not stay a secret. */
uint64_t job_gate_late(struct job *j, char *who, size_t size);
/* verify.c: strict before the commit, post after it. A post failure is an error too, but changes no owner. */
int job_verify_strict(struct job *j, struct mig_error *err);
int job_verify_post(struct job *j, struct mig_error *err);
/* describe-pages.c: pages of a region in words, with the IOVAs at which the device (NULL: every device) has
 * them: for messages.
 */
void job_describe_pages(struct job *j, const struct region *r, uint64_t first, uint64_t count,
                        const char *device, char *buf, size_t size);
/* handover.c: COMMIT and what follows. 0: the destination runs. -EREMOTEIO: it gave the workload back, and
 * the source may go on. -EINPROGRESS: not known. */
int job_handover(struct job *j, struct mig_error *err);
/* A step of the blackout: adds the time since *since to a counter and moves *since on. */
void job_account(struct job *j, size_t counter_offset, uint64_t *since_usec);
#define JOB_ACCOUNT(j, field, since) job_account((j), offsetof(struct migration_counters, field), (since))

/* write-record.c: how far it is, for a daemon that comes after this one. */
int job_write_record(struct job *j, enum record_state state, struct mig_error *err);
