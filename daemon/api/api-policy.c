/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Senders are known by their unique names, which a bus never gives to another connection, so what was learned
 * of one stays true. The table is small and forgets at random: the bus is asked again then.
 */
#include "api/api-policy.h"
#include "api/api-audit.h"
#include "api/api-context.h"
#include "base/log.h"
#include "migd-bus.h"
#include <stdio.h>
#include <string.h>

#define KNOWN               64u
#define INTERFACES          4u
#define WAITING_MAX         1024u
#define ASKING_MAX          32u /* of one user, so that nobody fills the place where others wait */
#define ASK_TIMEOUT_USEC    UINT64_C(2000000)
#define POLKIT_TIMEOUT_USEC UINT64_C(10000000)
#define DIALOG_TIMEOUT_USEC UINT64_C(120000000) /* while a person types a password */
#define POLKIT              "org.freedesktop.PolicyKit1"

/* ---- what a method needs ---- */

enum action { INSPECT, REGISTER, MIGRATE, RECEIVE, RESOLVE, DEBUG, ONLY_ROOT };
static const char *const action_ids[] = {
    [INSPECT] = MIGD_BUS_NAME ".inspect",
    [REGISTER] = MIGD_BUS_NAME ".register",
    [MIGRATE] = MIGD_BUS_NAME ".migrate",
    [RECEIVE] = MIGD_BUS_NAME ".receive",
    [RESOLVE] = MIGD_BUS_NAME ".resolve",
    [DEBUG] = MIGD_BUS_NAME ".debug",
    [ONLY_ROOT] = "(root)", /* polkit is not asked */
};

static const struct {
    const char *interface, *method;
    enum action action;
} needs[] = {
    {MIGD_IFACE_MANAGER, "RegisterDomain", REGISTER},
    {MIGD_IFACE_MANAGER, "GetDomain", INSPECT},
    {MIGD_IFACE_MANAGER, "GetMigration", INSPECT},
    {MIGD_IFACE_MANAGER, "GetConfiguration", INSPECT},
    {MIGD_IFACE_MANAGER, "ListDevices", REGISTER}, /* opens devices that nobody holds */
    {MIGD_IFACE_MANAGER, "LinkTest", MIGRATE},     /* connects to a peer, and fills the link for seconds */
    {MIGD_IFACE_MANAGER, "LibvirtHook", ONLY_ROOT},
    {MIGD_IFACE_MANAGER, "ListVms", MIGRATE}, /* these ask libvirt, where migd may do everything */
    {MIGD_IFACE_MANAGER, "CheckVm", MIGRATE},
    {MIGD_IFACE_MANAGER, "StartVm", MIGRATE},
    {MIGD_IFACE_DOMAIN, "AddMemory", REGISTER},
    {MIGD_IFACE_DOMAIN, "MakeMemory", REGISTER},
    {MIGD_IFACE_DOMAIN, "OpenMemory", REGISTER},
    {MIGD_IFACE_DOMAIN, "AddUserDevice", REGISTER},
    {MIGD_IFACE_DOMAIN, "AddContainer", REGISTER},
    {MIGD_IFACE_DOMAIN, "AddDevice", REGISTER},
    {MIGD_IFACE_DOMAIN, "OpenDevice", REGISTER},
    {MIGD_IFACE_DOMAIN, "AddDirtyLog", REGISTER},
    {MIGD_IFACE_DOMAIN, "AddQemu", DEBUG}, /* reaches into a process that the caller may not own */
    {MIGD_IFACE_DOMAIN, "Map", REGISTER},
    {MIGD_IFACE_DOMAIN, "Unmap", REGISTER},
    {MIGD_IFACE_DOMAIN, "SetController", REGISTER},
    {MIGD_IFACE_DOMAIN, "Release", REGISTER},
    {MIGD_IFACE_DOMAIN, "Check", MIGRATE}, /* asks devices, and a peer */
    {MIGD_IFACE_DOMAIN, "Migrate", MIGRATE},
    {MIGD_IFACE_MIGRATION, "Cancel", MIGRATE},
    {MIGD_IFACE_MIGRATION, "SetOptions", MIGRATE},
    {MIGD_IFACE_MIGRATION, "Wait", INSPECT},
    {MIGD_IFACE_MIGRATION, "Resolve", RESOLVE},
};

/* RegisterDomain(name, {"incoming": true}) makes a domain for a migration that comes in. */
static bool asks_for_incoming(sd_bus_message *m)
{
    bool incoming = false;
    const char *key;
    if (sd_bus_message_skip(m, "s") >= 0 && sd_bus_message_enter_container(m, 'a', "{sv}") >= 0)
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
            int value = 0;
            if (sd_bus_message_read(m, "s", &key) < 0 ||
                (strcmp(key, "incoming") == 0 ? sd_bus_message_read(m, "v", "b", &value)
                                              : sd_bus_message_skip(m, "v")) < 0)
                break;
            incoming |= value;
            if (sd_bus_message_exit_container(m) < 0)
                break;
        }
    sd_bus_message_rewind(m, true);
    return incoming;
}

/* False: nobody but root. */
static bool find_action(sd_bus_message *m, void *object, enum action *ret)
{
    const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m);
    for (size_t i = 0; i < ELEMENTS(needs); i++) {
        if (!interface || strcmp(needs[i].interface, interface) != 0 || strcmp(needs[i].method, member) != 0)
            continue;
        *ret = needs[i].action;
        if (*ret == REGISTER && strcmp(interface, MIGD_IFACE_DOMAIN) == 0 &&
            ((const struct api_domain *)object)->domain->incoming)
            *ret = RECEIVE;
        if (strcmp(member, "RegisterDomain") == 0 && asks_for_incoming(m))
            *ret = RECEIVE;
        return true;
    }
    return false;
}

/* ---- who is there ---- */

struct known {
    char name[32];
    uint32_t uid;
};

struct face { /* an interface with methods */
    const char *interface;
    struct api *api;
    sd_bus_object_find_t find;
    const struct api_method *methods;
};

/* A call that waits for an answer about its sender. */
struct waiting {
    struct waiting *next;
    struct api_policy *policy;
    const struct face *face;
    sd_bus_message *message;
    sd_bus_slot *slot;
    enum action action;
    uint32_t uid;
    bool asking; /* polkit */
};

struct api_policy {
    struct known known[KNOWN];
    struct face faces[INTERFACES];
    size_t nfaces;
    struct waiting *waiting;
    size_t nwaiting;
    const struct api_audit *current; /* while a method's handler runs */
};

/* api_authorized is given the object, and sd-bus nothing else: there is one api in a process, as there is one
 * bus. */
static struct api_policy *the_policy;

struct api_policy *api_policy_new(void)
{
    return the_policy = calloc(1, sizeof(struct api_policy));
}

static struct known *place_of(struct api_policy *p, const char *name)
{
    unsigned h = 5381;
    for (const char *c = name; *c; c++)
        h = h * 33 + (unsigned char)*c;
    return &p->known[h % KNOWN];
}

static bool is_known(struct api_policy *p, const char *sender, uint32_t *ret)
{
    const struct known *k = place_of(p, sender);
    if (strcmp(k->name, sender) != 0)
        return false;
    *ret = k->uid;
    return true;
}

static void learn(struct api_policy *p, const char *sender, uint32_t uid)
{
    struct known *k = place_of(p, sender);
    snprintf(k->name, sizeof k->name, "%s", sender);
    k->uid = uid;
}

static bool is_root(uint32_t uid)
{
    return uid == 0 || uid == geteuid();
}

/* ---- the end of a decision ---- */

/* Looking is free, and nobody wants a line for it. */
static void audit(const struct api_audit *a, bool allowed, enum action action, const char *why)
{
    if (!allowed || action != INSPECT)
        api_audit_decided(a, allowed, why);
}

static void audit_end(const struct api_audit *a, enum action action, const sd_bus_error *error)
{
    if (action != INSPECT)
        api_audit_ended(a, error);
}

static int carry_out(struct api_policy *p, const struct api_audit *a, enum action action,
                     sd_bus_message_handler_t handler, void *object, sd_bus_error *error)
{
    p->current = a;
    int r = handler(a->call, object, error);
    p->current = NULL;
    audit_end(a, action, error);
    return r;
}

static int refuse(sd_bus_message *m, uint32_t uid, enum action action, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, 0, "%s is not allowed for user %u",
                          sd_bus_message_get_member(m), uid);
    if (action == ONLY_ROOT)
        mig_error_hint(err, "call it as root");
    else
        mig_error_hint(err, "call it as root, or let a rule of polkit allow %s", action_ids[action]);
    return r;
}

static sd_bus_message_handler_t find_handler(const struct face *f, const char *member)
{
    for (const struct api_method *method = f->methods; method->name; method++)
        if (strcmp(method->name, member) == 0)
            return method->handler;
    return NULL;
}

static struct waiting *forget(struct waiting *w)
{
    for (struct waiting **at = &w->policy->waiting; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            w->policy->nwaiting--;
            break;
        }
    sd_bus_slot_unref(w->slot);
    sd_bus_message_unref(w->message);
    free(w);
    return NULL;
}

static void answer_error(struct waiting *w, const struct mig_error *e)
{
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    api_error(&error, e);
    sd_bus_reply_method_error(w->message, &error);
}

/* An incoming domain that has arrived since is no longer for those who may only receive, and another one may
 * bear its name by now. */
static bool needs_another(struct waiting *w, void *object)
{
    enum action now;
    sd_bus_message_rewind(w->message, true);
    return !find_action(w->message, object, &now) || now != w->action;
}

/* 0: it is gone. */
static int find_object(const struct waiting *w, void **ret, sd_bus_error *error)
{
    sd_bus_message *m = w->message;
    *ret = w->face->api;
    if (!w->face->find)
        return 1;
    return w->face->find(sd_bus_message_get_bus(m), sd_bus_message_get_path(m), w->face->interface,
                         w->face->api, ret, error);
}

/* As the vtable would have called it, had the answer been known. r and error: of find_object. */
static void call_now(struct waiting *w, const struct api_audit *a, void *object, int r, sd_bus_error *error)
{
    sd_bus_message *m = w->message;
    if (r == 0)
        sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "there is no %s any more",
                          sd_bus_message_get_path(m));
    if (r > 0 && needs_another(w, object)) {
        struct mig_error e = MIG_ERROR_INIT;
        mig_error_set(&e, MIG_ERR_WRONG_STATE, 0, "%s changed while %s waited for its authorization",
                      sd_bus_message_get_path(m), sd_bus_message_get_member(m));
        mig_error_hint(&e, "look at it again, and call again");
        r = api_error(error, &e);
    }
    if (r > 0) {
        sd_bus_message_rewind(m, true);
        r = carry_out(w->policy, a, w->action, find_handler(w->face, sd_bus_message_get_member(m)), object,
                      error);
    } else {
        audit_end(a, w->action, error);
    }
    if (sd_bus_error_is_set(error))
        sd_bus_reply_method_error(m, error);
    else if (r < 0)
        sd_bus_reply_method_errno(m, r, NULL);
}

static void decide(struct waiting *w, bool allowed, const char *why)
{
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    void *object = NULL;
    struct api_audit a;
    int r = find_object(w, &object, &error);
    api_audit_begin(&a, w->message, action_ids[w->action], w->uid, r > 0 ? object : NULL);
    audit(&a, allowed, w->action, why);
    if (allowed) {
        call_now(w, &a, object, r, &error);
    } else {
        struct mig_error e = MIG_ERROR_INIT;
        refuse(w->message, w->uid, w->action, &e);
        answer_error(w, &e);
    }
    forget(w);
}

/* ---- polkit ---- */

static int polkit_answered(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct waiting *w = userdata;
    int authorized = 0, challenge = 0;
    const sd_bus_error *failed = sd_bus_message_get_error(reply);
    if (failed) {
        log_debug("polkit: %s", failed->message ? failed->message : failed->name);
        decide(w, w->action == INSPECT, "polkit does not answer");
    } else if (sd_bus_message_enter_container(reply, 'r', "bba{ss}") < 0 ||
               sd_bus_message_read(reply, "bb", &authorized, &challenge) < 0) {
        decide(w, false, "polkit's answer makes no sense");
    } else {
        decide(w, authorized, authorized ? "polkit" : challenge ? "polkit wants a password" : "polkit");
    }
    return 0;
}

static int ask_polkit(struct waiting *w)
{
    sd_bus *bus = sd_bus_message_get_bus(w->message);
    bool dialog = sd_bus_message_get_allow_interactive_authorization(w->message) > 0;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, POLKIT, "/org/freedesktop/PolicyKit1/Authority",
                                           POLKIT ".Authority", "CheckAuthorization");
    if (r >= 0)
        r = sd_bus_message_append(call, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
                                  sd_bus_message_get_sender(w->message), action_ids[w->action], 0,
                                  dialog ? 1u : 0u, "");
    sd_bus_slot *slot = NULL;
    if (r >= 0)
        r = sd_bus_call_async(bus, &slot, call, polkit_answered, w,
                              dialog ? DIALOG_TIMEOUT_USEC : POLKIT_TIMEOUT_USEC);
    if (r >= 0) {
        sd_bus_slot_unref(w->slot);
        w->slot = slot;
        w->asking = true;
    }
    return r;
}

static unsigned count_asking(const struct api_policy *p, uint32_t uid)
{
    unsigned n = 0;
    for (const struct waiting *w = p->waiting; w; w = w->next)
        n += w->asking && w->uid == uid;
    return n;
}

static void go_on(struct waiting *w)
{
    if (is_root(w->uid))
        decide(w, true, "root");
    else if (w->action == ONLY_ROOT)
        decide(w, false, "for root only");
    else if (count_asking(w->policy, w->uid) >= ASKING_MAX)
        decide(w, false, "too many calls of this user wait for polkit");
    else if (ask_polkit(w) < 0)
        decide(w, false, "polkit cannot be asked");
}

static int uid_answered(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct waiting *w = userdata;
    if (sd_bus_message_get_error(reply) || sd_bus_message_read(reply, "u", &w->uid) < 0) {
        w->uid = API_UID_UNKNOWN;
        decide(w, false, "the bus does not say who calls");
        return 0;
    }
    learn(w->policy, sd_bus_message_get_sender(w->message), w->uid);
    go_on(w);
    return 0;
}

/* ---- a call comes in ---- */

static int put_aside(struct api_policy *p, const struct face *f, sd_bus_message *m, enum action action,
                     struct waiting **ret, struct mig_error *err)
{
    if (p->nwaiting >= WAITING_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "%u calls wait for their authorization already",
                             WAITING_MAX);
    struct waiting *w = calloc(1, sizeof *w);
    if (!w)
        return mig_error_oom(err);
    *w = (struct waiting){.next = p->waiting,
                          .policy = p,
                          .face = f,
                          .message = sd_bus_message_ref(m),
                          .action = action,
                          .uid = API_UID_UNKNOWN};
    p->waiting = w;
    p->nwaiting++;
    *ret = w;
    return 0;
}

static const struct face *find_face(const struct api_policy *p, const char *interface)
{
    for (size_t i = 0; interface && i < p->nfaces; i++)
        if (strcmp(p->faces[i].interface, interface) == 0)
            return &p->faces[i];
    return NULL;
}

static int hold(struct api_policy *p, const struct face *f, sd_bus_message *m, enum action action,
                bool uid_known, uint32_t uid, struct mig_error *err)
{
    struct waiting *w = NULL;
    int r = put_aside(p, f, m, action, &w, err);
    if (r < 0)
        return r;
    if (uid_known) {
        w->uid = uid;
        go_on(w);
        return 0;
    }
    r = sd_bus_call_method_async(sd_bus_message_get_bus(m), &w->slot, "org.freedesktop.DBus",
                                 "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixUser",
                                 uid_answered, w, "s", sd_bus_message_get_sender(m));
    if (r < 0)
        decide(w, false, "the bus cannot be asked who calls");
    return 0;
}

int api_authorized(sd_bus_message *m, void *object, sd_bus_error *error)
{
    struct api_policy *p = the_policy;
    const char *sender = sd_bus_message_get_sender(m), *member = sd_bus_message_get_member(m);
    const struct face *f = find_face(p, sd_bus_message_get_interface(m));
    sd_bus_message_handler_t handler = f ? find_handler(f, member) : NULL;
    struct mig_error e = MIG_ERROR_INIT;
    enum action action;
    struct api_audit a;
    uint32_t uid = API_UID_UNKNOWN;
    if (!sender || strlen(sender) >= sizeof p->known[0].name || !handler ||
        !find_action(m, object, &action)) {
        api_audit_begin(&a, m, "(none)", API_UID_UNKNOWN, NULL);
        api_audit_decided(&a, false, "migd cannot tell who calls, or has no rule for it");
        mig_error_set(&e, MIG_ERR_NOT_ALLOWED, 0,
                      "%s is not allowed: migd cannot tell who calls, or has no rule for it", member);
        return api_error(error, &e);
    }
    bool uid_known = is_known(p, sender, &uid);
    api_audit_begin(&a, m, action_ids[action], uid, object);
    if (uid_known && is_root(uid)) {
        audit(&a, true, action, "root");
        return carry_out(p, &a, action, handler, object, error);
    }
    if (hold(p, f, m, action, uid_known, uid, &e) < 0) {
        api_audit_decided(&a, false, e.message);
        return api_error(error, &e);
    }
    return 1;
}

int api_policy_add(struct api_policy *p, struct api *a, const char *interface, sd_bus_object_find_t find,
                   const struct api_method *methods)
{
    if (p->nfaces == INTERFACES)
        return -E2BIG;
    p->faces[p->nfaces++] = (struct face){interface, a, find, methods};
    return 0;
}

const struct api_audit *api_policy_current(const struct api_policy *p)
{
    return p->current;
}

struct api_policy *api_policy_free(struct api_policy *p)
{
    struct mig_error e = MIG_ERROR_INIT;
    mig_error_set(&e, MIG_ERR_BUSY, 0, "migd is ending");
    while (p && p->waiting) {
        answer_error(p->waiting, &e);
        forget(p->waiting);
    }
    if (the_policy == p)
        the_policy = NULL;
    free(p);
    return NULL;
}

/* ---- properties ---- */

/* Asks the bus driver, which answers from its memory: the one call that the main thread waits for. */
static int ask_uid(sd_bus *bus, const char *sender, uint32_t *ret)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetConnectionUnixUser");
    if (r >= 0)
        r = sd_bus_message_append(call, "s", sender);
    if (r >= 0)
        r = sd_bus_call(bus, call, ASK_TIMEOUT_USEC, NULL, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "u", ret);
    return r < 0 ? r : 0;
}

int api_policy_check_root(struct api_policy *p, sd_bus_message *m, struct mig_error *err)
{
    const char *sender = sd_bus_message_get_sender(m);
    uint32_t uid = API_UID_UNKNOWN;
    if (sender && strlen(sender) < sizeof p->known[0].name && !is_known(p, sender, &uid) &&
        ask_uid(sd_bus_message_get_bus(m), sender, &uid) == 0)
        learn(p, sender, uid);
    bool allowed = uid != API_UID_UNKNOWN && is_root(uid);
    struct api_audit a;
    api_audit_begin(&a, m, action_ids[ONLY_ROOT], uid, NULL);
    api_audit_decided(&a, allowed, "a property that only root sets");
    return allowed ? 0 : refuse(m, uid, ONLY_ROOT, err);
}
