/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt's hook asks. One call has three steps: hook_begin on the main thread, hook_run on a helper,
 * which may block, hook_finish on the main thread, whose result the hook gives to libvirt. Until it is freed
 * libvirt waits for its hook, and nobody may call libvirt about that domain (hook_is_running): libvirt would
 * wait for the hook, and the hook for us.
 *
 * Operations: `migrate` and `restore` are filters: devices that this host has not, or that are in use, are
 * swapped for others that match, which are reserved; `prepare` and `started` take the reservation, `release`
 * gives it back; `started` of a guest that comes in is a barrier for whoever moves its memory (hook_ops);
 * `stopped`, `reconnect` and `attach` are noted.
 */
#pragma once
#include "base/error.h"
#include "config/config.h"
#include "host/tree.h"

#define HOOK_DOMAINS_MAX 1024u
#define HOOK_NAME_MAX    255u

enum hook_operation {
    HOOK_PREPARE,
    HOOK_STARTED,
    HOOK_STOPPED,
    HOOK_RELEASE,
    HOOK_MIGRATE,
    HOOK_RESTORE,
    HOOK_RECONNECT,
    HOOK_ATTACH,
    HOOK_OPERATION_MAX,
};

/* A domain at the moment of a call. Borrowed strings. */
struct hook_event {
    enum hook_operation operation;
    const char *name, *uuid, *xml;
    const char *monitor; /* path of a QMP monitor that libvirt does not use; "": it has none */
    bool incoming;       /* its QEMU waits for a migration: nothing is loaded yet */
    pid_t pid;           /* of its QEMU; 0: not known */
};

/* Whoever moves memory for libvirt's domains fills this. */
struct hook_ops {
    /* On a helper thread, at `started` of a guest that comes in; libvirt's source sends nothing before it
     * returns. It may block until cancel_fd becomes readable. On failure libvirt gives the migration up, and
     * the guest runs on at the source. */
    int (*arriving)(const struct hook_event *event, int cancel_fd, void *userdata, struct mig_error *err);
    /* Main thread, after each operation that was successful. May be NULL. */
    void (*told)(const struct hook_event *event, void *userdata);
    void *userdata;
};

struct announced;
struct hook;
struct hook_call;

struct hook_options {
    const char *run_dir; /* of libvirt's QEMU driver, with NAME.pid; NULL: the real one */
    struct host_tree tree;
};

int hook_new(struct hook **ret, const struct hook_options *options, struct mig_error *err);
/* No call may be left. */
struct hook *hook_free(struct hook *h);
DEFINE_CLEANUP(struct hook *, hook_free)
/* Copied; for calls that begin from now on. NULL: nobody. */
void hook_set_ops(struct hook *h, const struct hook_ops *ops);
/* [Libvirt] MatchDevices=, DeviceLabels=, ReservationTimeout=. */
void hook_configure(struct hook *h, const struct config *config);
/* Whether [Libvirt] says what it must; for the configuration's check. */
int hook_check_configuration(const struct config *config, struct mig_error *err);

/* InvalidArgument for words that libvirt does not have, Busy when a hook of this domain runs already. */
int hook_begin(struct hook *h, const char *name, const char *operation, const char *sub_operation,
               const char *extra, const char *xml, struct hook_call **ret, struct mig_error *err);
int hook_run(struct hook_call *c, int cancel_fd, struct mig_error *err);
int hook_finish(struct hook_call *c, struct mig_error *err);
/* After hook_finish: the XML that takes the place of libvirt's, or "". */
const char *hook_call_xml(const struct hook_call *c);
/* What the administrator should know although nothing failed; "": nothing. */
const char *hook_call_message(const struct hook_call *c);
struct hook_call *hook_call_free(struct hook_call *c);
DEFINE_CLEANUP(struct hook_call *, hook_call_free)

/* Guests that other hosts said will come; borrowed. */
struct announced *hook_announced(struct hook *h);

/* Whether a hook of the domain with this name runs. Any thread. */
bool hook_is_running(struct hook *h, const char *name);
/* Whether libvirt has a QEMU of this name, which lives. Any thread. */
bool hook_has_process(const struct hook *h, const char *name);
/* Of the QEMU that libvirt has for this domain; 0: there is none. Any thread. */
pid_t hook_find_process(const struct hook *h, const char *name, const char *uuid);
/* Known from its hooks to be running or arriving, by name; the pid of its QEMU, 0 if not. Main thread. */
pid_t hook_domain_pid(const struct hook *h, const char *name);
