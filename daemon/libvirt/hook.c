/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of each domain lives in a table by name, which only the main thread touches; the list of
 * calls that run has a lock, because whoever talks to libvirt asks it from a thread of his own. */
#include "libvirt/hook.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "base/parse.h"
#include "libvirt/announced.h"
#include "libvirt/hook-filter.h"
#include "libvirt/native-peers.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RUN_DIR       "/run/libvirt/qemu"
#define ARGUMENTS_MAX ((size_t)4 << 20)

static const char *const operation_words[HOOK_OPERATION_MAX] = {
    [HOOK_PREPARE] = "prepare", [HOOK_STARTED] = "started",     [HOOK_STOPPED] = "stopped",
    [HOOK_RELEASE] = "release", [HOOK_MIGRATE] = "migrate",     [HOOK_RESTORE] = "restore",
    [HOOK_ATTACH] = "attach",   [HOOK_RECONNECT] = "reconnect",
};

struct hook_domain {
    char name[HOOK_NAME_MAX + 1], uuid[64];
    pid_t pid;
    bool restored; /* its QEMU waits for a save file, not for a migration */
};

struct hook {
    char run_dir[256];
    struct host_tree tree;
    struct hook_ops ops;
    unsigned rules;
    char labels[256];
    uint64_t reservation_usec;
    struct reservations *reservations;
    struct announced *announced;
    struct hook_domain *domains;
    size_t n_domains;
    pthread_mutex_t lock;    /* of calls */
    struct hook_call *calls; /* that run */
};

struct hook_call {
    struct hook *hook;
    struct hook_call *next;
    enum hook_operation operation;
    char name[HOOK_NAME_MAX + 1];
    struct hook_ops ops; /* as they were when it began */
    char labels[256];
    int end_fd; /* readable: the domain is gone, or its hook */
    char *text; /* libvirt's */
    struct hook_xml *xml;
    struct hook_offers offers;
    bool restored, incoming;
    pid_t pid;
    char *answer;
    char note[480];
};

/* ---- the table ---- */

static struct hook_domain *find_domain(const struct hook *h, const char *name)
{
    for (size_t i = 0; i < h->n_domains; i++)
        if (strcmp(h->domains[i].name, name) == 0)
            return &h->domains[i];
    return NULL;
}

/* A domain that cannot be remembered is served all the same. */
static struct hook_domain *note_domain(struct hook *h, const struct hook_call *c)
{
    struct hook_domain *d = find_domain(h, c->name);
    if (!d && h->n_domains < HOOK_DOMAINS_MAX) {
        struct hook_domain *domains = reallocarray(h->domains, h->n_domains + 1, sizeof *domains);
        if (!domains)
            return NULL;
        h->domains = domains;
        d = &domains[h->n_domains++];
        *d = (struct hook_domain){.pid = 0};
        snprintf(d->name, sizeof d->name, "%s", c->name);
    }
    if (d)
        snprintf(d->uuid, sizeof d->uuid, "%s", hook_xml_uuid(c->xml));
    return d;
}

static void forget_domain(struct hook *h, const char *name)
{
    struct hook_domain *d = find_domain(h, name);
    if (d)
        *d = h->domains[--h->n_domains];
}

pid_t hook_domain_pid(const struct hook *h, const char *name)
{
    const struct hook_domain *d = find_domain(h, name);
    return d ? d->pid : 0;
}

struct announced *hook_announced(struct hook *h)
{
    return h->announced;
}

bool hook_is_running(struct hook *h, const char *name)
{
    bool runs = false;
    pthread_mutex_lock(&h->lock);
    for (struct hook_call *c = h->calls; c; c = c->next)
        runs |= strcmp(c->name, name) == 0;
    pthread_mutex_unlock(&h->lock);
    return runs;
}

int hook_new(struct hook **ret, const struct hook_options *options, struct mig_error *err)
{
    _cleanup_(hook_freep) struct hook *h = calloc(1, sizeof *h);
    if (!h)
        return mig_error_oom(err);
    pthread_mutex_init(&h->lock, NULL);
    snprintf(h->run_dir, sizeof h->run_dir, "%s", options->run_dir ? options->run_dir : RUN_DIR);
    h->tree = options->tree;
    if (reservations_new(&h->reservations) < 0 || announced_new(&h->announced) < 0)
        return mig_error_oom(err);
    *ret = TAKE_PTR(h);
    return 0;
}

struct hook *hook_free(struct hook *h)
{
    if (!h)
        return NULL;
    reservations_free(h->reservations);
    announced_free(h->announced);
    free(h->domains);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}

void hook_set_ops(struct hook *h, const struct hook_ops *ops)
{
    h->ops = ops ? *ops : (struct hook_ops){.arriving = NULL};
}

int hook_check_configuration(const struct config *config, struct mig_error *err)
{
    char label[MATCH_TEXT_MAX];
    unsigned rules;
    if (match_rules_parse(config->match_devices, &rules) < 0) {
        mig_error_set(err, MIG_ERR_CONFIG, 0, "%s: \"%.100s\" is not a value for MatchDevices",
                      config_origin(config, "Libvirt", "MatchDevices"), config->match_devices);
        mig_error_hint(err, "expected off, or some of vendor device subsystem driver numa-node");
        return -EINVAL;
    }
    if (match_label(config->device_labels, "", label) < 0) {
        mig_error_set(err, MIG_ERR_CONFIG, 0, "%s: \"%.100s\" is not a value for DeviceLabels",
                      config_origin(config, "Libvirt", "DeviceLabels"), config->device_labels);
        mig_error_hint(err, "expected ADDRESS=LABEL with blanks between them, such as 0000:17:00.*=blue");
        return -EINVAL;
    }
    struct mig_error why = MIG_ERROR_INIT;
    if (native_peers_check(config->native_peers, &why) < 0) {
        mig_error_set(err, MIG_ERR_CONFIG, 0, "%s: %s in the value for NativePeers",
                      config_origin(config, "Libvirt", "NativePeers"), why.message);
        mig_error_hint(err, "expected hosts with blanks between them, such as hostA hostB:16509");
        return -EINVAL;
    }
    return 0;
}

void hook_configure(struct hook *h, const struct config *config)
{
    if (match_rules_parse(config->match_devices, &h->rules) < 0)
        h->rules = 0;
    snprintf(h->labels, sizeof h->labels, "%s", config->device_labels);
    h->reservation_usec = config->reservation_usec;
}

/* ---- a call ---- */

static int parse_operation(const char *word, enum hook_operation *ret, struct mig_error *err)
{
    for (size_t i = 0; i < HOOK_OPERATION_MAX; i++)
        if (strcmp(word, operation_words[i]) == 0) {
            *ret = (enum hook_operation)i;
            return 0;
        }
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.40s\" is no operation of libvirt's hook",
                         word);
}

/* Its domain is gone, so whoever waits for it in another hook waits in vain: that hook was killed. */
static void end_others(struct hook *h, const char *name)
{
    pthread_mutex_lock(&h->lock);
    for (struct hook_call *c = h->calls; c; c = c->next)
        if (strcmp(c->name, name) == 0 && eventfd_write(c->end_fd, 1) < 0)
            log_debug("The hook of %s cannot be told that its domain is gone", name);
    pthread_mutex_unlock(&h->lock);
}

int hook_begin(struct hook *h, const char *name, const char *operation, const char *sub_operation,
               const char *extra, const char *xml, struct hook_call **ret, struct mig_error *err)
{
    enum hook_operation what = HOOK_OPERATION_MAX;
    int r = parse_operation(operation, &what, err);
    if (r < 0)
        return r;
    if (!*name || strlen(name) > HOOK_NAME_MAX || strchr(name, '/'))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.80s\" is not the name of a domain", name);
    _cleanup_(hook_call_freep) struct hook_call *c = calloc(1, sizeof *c);
    if (!c)
        return mig_error_oom(err);
    c->operation = what;
    c->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->ops = h->ops;
    c->text = strdup(xml);
    if (c->end_fd < 0 || !c->text)
        return mig_error_oom(err);
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->labels, sizeof c->labels, "%s", h->labels);
    const struct hook_domain *d = find_domain(h, name);
    c->restored = d && d->restored;
    if (what == HOOK_STOPPED || what == HOOK_RELEASE)
        end_others(h, name);
    pthread_mutex_lock(&h->lock);
    c->hook = h;
    c->next = h->calls;
    h->calls = c;
    pthread_mutex_unlock(&h->lock);
    *ret = TAKE_PTR(c);
    return 0;
}

struct hook_call *hook_call_free(struct hook_call *c)
{
    if (!c)
        return NULL;
    if (c->hook) {
        pthread_mutex_lock(&c->hook->lock);
        struct hook_call **at = &c->hook->calls;
        while (*at != c)
            at = &(*at)->next;
        *at = c->next;
        pthread_mutex_unlock(&c->hook->lock);
    }
    close_fd(&c->end_fd);
    hook_xml_free(c->xml);
    hook_offers_done(&c->offers);
    free(c->text);
    free(c->answer);
    free(c);
    return NULL;
}

static bool is_filter(const struct hook_call *c)
{
    return c->operation == HOOK_MIGRATE || c->operation == HOOK_RESTORE;
}

static bool comes_to_life(const struct hook_call *c)
{
    return c->operation == HOOK_STARTED || c->operation == HOOK_RECONNECT || c->operation == HOOK_ATTACH;
}

static struct hook_event event_of(const struct hook_call *c)
{
    return (struct hook_event){.operation = c->operation,
                               .name = c->name,
                               .uuid = hook_xml_uuid(c->xml),
                               .xml = c->text,
                               .monitor = hook_xml_monitor(c->xml),
                               .incoming = c->incoming,
                               .pid = c->pid};
}

/* ---- on the helper ---- */

/* The file is libvirt's. */
static pid_t read_pid(const struct hook *h, const char *name)
{
    char path[600];
    _cleanup_free_ char *text = NULL;
    uint64_t pid;
    snprintf(path, sizeof path, "%s/%s.pid", h->run_dir, name);
    if (read_file(path, 64, &text, NULL) < 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return parse_unsigned(text, INT32_MAX, &pid) < 0 ? 0 : (pid_t)pid;
}

bool hook_has_process(const struct hook *h, const char *name)
{
    pid_t pid = read_pid(h, name);
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/* libvirt gives its QEMU the UUID; a pid that somebody else has by now shows another. */
static bool has_argument(pid_t pid, const char *wanted)
{
    char path[64];
    _cleanup_free_ char *arguments = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    if (read_file(path, ARGUMENTS_MAX, &arguments, &size) < 0)
        return false;
    for (size_t at = 0; at < size; at += strlen(arguments + at) + 1)
        if (strcmp(arguments + at, wanted) == 0)
            return true;
    return false;
}

pid_t hook_find_process(const struct hook *h, const char *name, const char *uuid)
{
    pid_t pid = read_pid(h, name);
    return pid > 0 && has_argument(pid, uuid) ? pid : 0;
}

/* The arguments say what libvirt does not tell its hooks. */
static void look_at_process(struct hook_call *c)
{
    char path[64];
    _cleanup_free_ char *arguments = NULL;
    size_t size = 0;
    c->pid = read_pid(c->hook, c->name);
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)c->pid);
    if (c->pid <= 0 || read_file(path, ARGUMENTS_MAX, &arguments, &size) < 0)
        return;
    for (size_t at = 0; at < size && c->operation == HOOK_STARTED && !c->restored;
         at += strlen(arguments + at) + 1)
        if (strcmp(arguments + at, "-incoming") == 0)
            c->incoming = true;
}

/* libvirt does not hear that this QEMU ended before its hook has returned. */
static int wait_for_memory(struct hook_call *c, int cancel_fd, struct mig_error *err)
{
    const struct hook_event event = event_of(c);
    _cleanup_close_ int either = epoll_create1(EPOLL_CLOEXEC),
                        process = c->pid > 0 ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;
    struct epoll_event readable = {.events = EPOLLIN};
    if (either < 0 || epoll_ctl(either, EPOLL_CTL_ADD, c->end_fd, &readable) < 0 ||
        (process >= 0 && epoll_ctl(either, EPOLL_CTL_ADD, process, &readable) < 0) ||
        (cancel_fd >= 0 && epoll_ctl(either, EPOLL_CTL_ADD, cancel_fd, &readable) < 0))
        return mig_error_set(err, MIG_ERR_FAILED, errno, "domain %.80s cannot be waited for: %s", c->name,
                             strerror(errno));
    return c->ops.arriving(&event, either, c->ops.userdata, err);
}

int hook_run(struct hook_call *c, int cancel_fd, struct mig_error *err)
{
    int r = hook_xml_parse(&c->xml, c->text, err);
    if (r == 0 && is_filter(c) && hook_xml_count(c->xml))
        r = hook_offers_take(&c->offers, &c->hook->tree, c->labels, err);
    if (r == 0 && comes_to_life(c))
        look_at_process(c);
    if (r == 0 && c->incoming && c->ops.arriving)
        r = wait_for_memory(c, cancel_fd, err);
    return r;
}

/* ---- and back on the main thread ---- */

static int filter(struct hook_call *c, struct mig_error *err)
{
    struct hook *h = c->hook;
    uint64_t now = now_usec();
    const struct hook_filter f = {.rules = h->rules,
                                  .reservations = h->reservations,
                                  .now_usec = now,
                                  .until_usec = now + h->reservation_usec};
    int r =
        hook_xml_count(c->xml) ? hook_filter_run(&f, c->xml, &c->offers, c->note, sizeof c->note, err) : 0;
    return r < 0 ? r : hook_xml_write(c->xml, &c->answer, err);
}

static void note(struct hook_call *c)
{
    struct hook *h = c->hook;
    const char *uuid = hook_xml_uuid(c->xml);
    if (c->operation == HOOK_RELEASE) {
        reservations_release(h->reservations, uuid);
        forget_domain(h, c->name);
        return;
    }
    struct hook_domain *d = note_domain(h, c);
    if (c->operation == HOOK_PREPARE || c->operation == HOOK_STARTED)
        reservations_take(h->reservations, uuid, now_usec());
    if (!d)
        return;
    if (is_filter(c))
        d->restored = c->operation == HOOK_RESTORE;
    else if (c->operation != HOOK_PREPARE)
        d->pid = c->operation == HOOK_STOPPED ? 0 : c->pid;
}

int hook_finish(struct hook_call *c, struct mig_error *err)
{
    int r = is_filter(c) ? filter(c, err) : 0;
    if (r < 0)
        return r;
    note(c);
    const struct hook_event event = event_of(c);
    if (c->ops.told)
        c->ops.told(&event, c->ops.userdata);
    log_write(LOG_INFO, &(struct log_fields){.domain = c->name}, "libvirt domain %s: %s%s%s%s", c->name,
              operation_words[c->operation], c->incoming ? ", its guest comes in" : "",
              c->answer && *c->answer ? ", with other devices" : "",
              c->note[0] ? "; see its hook's message" : "");
    return 0;
}

const char *hook_call_xml(const struct hook_call *c)
{
    return c->answer ? c->answer : "";
}

const char *hook_call_message(const struct hook_call *c)
{
    return c->note;
}
