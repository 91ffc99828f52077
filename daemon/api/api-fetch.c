/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answering: first a helper looks, then this decides. */
#include "api/api-fetch.h"
#include "api/api-vm-native.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/printable.h"
#include "libvirt/announced.h"
#include "libvirt/hook.h"
#include "loop/worker.h"
#include "migration/dialogue.h"
#include "outgoing/outgoing.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FETCHES_MAX    32u
#define ANNOUNCED_USEC (120 * USEC_PER_SEC)             /* libvirt starts its QEMU in this time */
#define HOOK_FILE      "/etc/libvirt/hooks/qemu.d/migd" /* as migctl libvirt enable-hook writes it */

static size_t count(const struct api *a)
{
    size_t n = 0;
    for (const struct api_fetch *f = a->fetches; f; f = f->next)
        n++;
    return n;
}

/* Small frames into an empty socket: the main thread does not wait for them. */
static void answer(struct api_fetch *f, const char *word)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    f->channel->stall_timeout_usec = 0;
    if (o && json_add_bool(o, "ok", true) == 0 && json_add_string(o, "version", PACKAGE_VERSION) == 0 &&
        json_add_string(o, "fetch", word) == 0)
        frame_send_json(&f->stream, WIRE_HELLO, o, NULL);
}

static void refuse(struct api_fetch *f, struct mig_error *why)
{
    make_printable(why->message);
    log_write(LOG_INFO, &(struct log_fields){.domain = f->here, .peer = f->channel->peer},
              "%s asks %s, and the answer is no: %s", f->channel->peer,
              f->uuid ? "for the memory of a guest" : "whether guests wait for it here", why->message);
    f->channel->stall_timeout_usec = 0;
    dialogue_refuse(&f->stream, why);
}

/* ---- "fetch" ---- */

static struct migration *find_running(struct api *a, const char *name)
{
    for (size_t i = 0; i < a->nmigrations; i++) {
        struct migration *m = a->migrations[i]->migration;
        enum mig_state state = migration_get_state(m);
        if (strcmp(migration_domain(m), name) == 0 &&
            (state == MIG_STATE_RUNNING || state == MIG_STATE_IN_DOUBT))
            return m;
    }
    return NULL;
}

static bool is_libvirts(struct migration *m)
{
    struct migration_status s;
    migration_get_status(m, &s);
    return strcmp(s.engine, "libvirt") == 0;
}

static int begin(struct api_fetch *f, struct domain *guest, struct mig_error *err)
{
    struct api *a = f->api;
    struct migration_options o = a->o.defaults;
    snprintf(o.peer_domain, sizeof o.peer_domain, "%s", f->name);
    int r = outgoing_start(&f->migration, a->o.outgoing, guest, f->peer, &o, api_observer(a), err);
    if (r < 0)
        return r;
    migration_set_engine_why(f->migration, "libvirt moves it, and the destination asked for its memory");
    api_add_migration(f->migration, a);
    return 0;
}

/* The word to answer with; NULL: err. */
static const char *decide(struct api_fetch *f, struct mig_error *err)
{
    struct api *a = f->api;
    struct migration *m = find_running(a, f->here);
    if (m && is_libvirts(m)) {
        mig_error_set(err, MIG_ERR_BUSY, 0, "QEMU moves %.80s, as was asked for", f->here);
        return NULL;
    }
    struct domain *guest = api_find_guest(a, f->here, err);
    if (!guest)
        return NULL;
    if (m || domain_check_idle(guest, NULL) < 0)
        return "on-its-way";
    if (a->quitting) {
        mig_error_set(err, MIG_ERR_BUSY, 0, "migd is ending");
        return NULL;
    }
    if (begin(f, guest, err) < 0)
        return NULL;
    log_write(
        LOG_NOTICE,
        &(struct log_fields){.domain = f->here, .migration = migration_id(f->migration), .peer = f->peer},
        "libvirt moves %s to %s, which asks for its memory: migd moves that", f->here, f->peer);
    return "begun";
}

/* ---- "receives" ---- */

static int receives(const struct api *a, struct mig_error *err)
{
    if (a->o.config->arrival_wait_usec == 0) {
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "guests that arrive do not wait for migd");
        mig_error_hint(err, "set ArrivalWait= there, in section [Libvirt] of migd.conf");
        return -err->err;
    }
    if (access(HOOK_FILE, X_OK) < 0) {
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "libvirt's hook is not enabled");
        mig_error_hint(err, "migctl libvirt enable-hook there, and a restart of libvirtd");
        return -err->err;
    }
    return 0;
}

static void take_announcement(const struct api_fetch *f)
{
    struct announced *all = hook_announced(f->api->o.hook);
    if (json_bool_or(f->hello, "comes", true))
        announced_add(all, f->guest, deadline_in(ANNOUNCED_USEC));
    else
        (void)announced_take(all, f->guest, now_usec());
}

/* ---- both ---- */

static int look(struct worker *w, void *userdata)
{
    struct api_fetch *f = userdata;
    int r = f->uuid || f->peers[0] ? native_peers_find(f->peers, f->channel, f->peer, &f->err) : 0;
    return r < 0 || !f->uuid ? r : vm_leaving(f->uri, f->uuid, f->here, &f->err);
}

static void looked(void *userdata, int result)
{
    struct api_fetch *f = userdata;
    const char *word = NULL;
    f->worker = worker_free(f->worker);
    if (result == 0 && f->uuid)
        word = decide(f, &f->err);
    else if (result == 0)
        word = receives(f->api, &f->err) == 0 ? "receives" : NULL;
    if (word && f->guest && f->api->o.hook)
        take_announcement(f);
    f->kept = word && f->uuid;
    if (word)
        answer(f, word);
    else
        refuse(f, &f->err);
    if (!f->kept)
        api_fetch_free(f);
}

static int read_question(struct api_fetch *f, struct mig_error *err)
{
    const struct api *a = f->api;
    bool asked;
    if (json_get_bool(f->hello, "receives", &asked) < 0 &&
        (json_get_string(f->hello, "fetch", &f->uuid) < 0 || strlen(f->uuid) > 36 ||
         json_get_string(f->hello, "domain", &f->name) < 0))
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO names no guest");
    if (json_get_string(f->hello, "guest", &f->guest) == 0 && strlen(f->guest) > 36)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO announces no guest");
    if (f->uuid && strlen(f->name) >= sizeof((struct migration_options *)0)->peer_domain)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO names a guest with too long a name");
    /* Libvirt would not answer before its hook has. */
    if (f->uuid && a->o.hook && hook_is_running(a->o.hook, f->name))
        return mig_error_set(err, MIG_ERR_BUSY, 0, "libvirt starts or receives %.80s here", f->name);
    if (count(a) > FETCHES_MAX)
        return mig_error_set(err, MIG_ERR_BUSY, 0, "too many guests are asked for");
    snprintf(f->peers, sizeof f->peers, "%s", a->o.config->native_peers);
    snprintf(f->uri, sizeof f->uri, "%s", a->o.config->libvirt_uri);
    return 0;
}

void api_asked_of_guest(struct channel *channel, const struct frame_stream *stream, struct json_object *hello,
                        void *userdata)
{
    struct api *a = userdata;
    struct api_fetch *f = calloc(1, sizeof *f);
    if (!f) {
        channel_free(channel);
        json_object_put(hello);
        return;
    }
    f->api = a;
    f->channel = channel;
    f->stream = *stream;
    f->hello = hello;
    f->next = a->fetches;
    a->fetches = f;
    int r = read_question(f, &f->err);
    if (r == 0 && worker_start(&f->worker, a->o.loop, "fetch", look, looked, f) < 0)
        r = mig_error_oom(&f->err);
    if (r < 0) {
        refuse(f, &f->err);
        api_fetch_free(f);
    }
}
