/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/virt-link.h"
#include "base/clock.h"
#include "base/fds.h"
#include "libvirt/virt-events.h"
#include "transport/channel.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* A daemon that does not answer is dead after 5 s times 4. */
#define KEEPALIVE_SEC   5
#define KEEPALIVE_COUNT 3
#define KNOCK_USEC      (5 * USEC_PER_SEC)
#define TRY_AGAIN_USEC  (500 * USEC_PER_MSEC)

struct virt_link {
    virConnectPtr connection; /* NULL between two attempts */
    char uri[300];
};

static void hint(const char *uri, struct mig_error *err)
{
    if (strcmp(uri, VIRT_LOCAL_URI) == 0)
        mig_error_hint(err, "see that libvirtd or virtqemud runs here (systemctl status libvirtd)");
    else
        mig_error_hint(
            err,
            "try virsh -c %.120s list as root on this host; DestinationUri= in section [Libvirt] of "
            "migd.conf says how libvirt is reached",
            uri);
}

/* HOST:PORT of an address by TCP or TLS; false for any other. */
static bool where_it_listens(const char *uri, char *ret, size_t size)
{
    const char *tls = strstr(uri, "+tls://"), *tcp = strstr(uri, "+tcp://");
    const char *from = tls ? tls : tcp;
    if (!from)
        return false;
    from += strlen("+tls://");
    int length = (int)strcspn(from, "/?");
    const char *at = memchr(from, '@', (size_t)length);
    if (at) {
        length -= (int)(at + 1 - from);
        from = at + 1;
    }
    const char *bracket = memchr(from, ']', (size_t)length), *host_end = bracket ? bracket : from;
    bool has_port = memchr(host_end, ':', (size_t)length - (size_t)(host_end - from));
    snprintf(ret, size, "%.*s%s", length, from, has_port ? "" : tls ? ":16514" : ":16509");
    return true;
}

/* libvirt itself waits for as long as the kernel tries, which for a silent host is minutes. */
static int knock(const char *uri, struct mig_error *err)
{
    char address[280];
    struct mig_error said = MIG_ERROR_INIT;
    _cleanup_(channel_freep) struct channel *c = NULL;
    if (!where_it_listens(uri, address, sizeof address) ||
        channel_connect(&c, address, KNOCK_USEC, -1, &said) == 0)
        return 0;
    mig_error_set(err, MIG_ERR_PEER_UNREACHABLE, 0, "libvirt at %.120s cannot be reached: %s", uri,
                  said.message);
    hint(uri, err);
    return -EHOSTUNREACH;
}

static int connect_to(struct virt_link *l, struct mig_error *err)
{
    int r = knock(l->uri, err);
    if (r < 0)
        return r;
    l->connection = virt.virConnectOpen(l->uri);
    if (!l->connection) {
        r = virt_error(err, MIG_ERR_PEER_UNREACHABLE, "libvirt at %.120s cannot be reached", l->uri);
        hint(l->uri, err);
        return r;
    }
    /* Those that are in this process (test:///) have none. */
    virt.virConnectSetKeepAlive(l->connection, KEEPALIVE_SEC, KEEPALIVE_COUNT);
    return 0;
}

int virt_link_open(struct virt_link **ret, const char *uri, struct mig_error *err)
{
    int r = virt_events_start(err);
    if (r < 0)
        return r;
    _cleanup_(virt_link_freep) struct virt_link *l = calloc(1, sizeof *l);
    if (!l)
        return mig_error_oom(err);
    if (strlen(uri) >= sizeof l->uri)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "the address of libvirt is too long");
    snprintf(l->uri, sizeof l->uri, "%s", uri);
    r = connect_to(l, err);
    if (r == 0)
        *ret = TAKE_PTR(l);
    return r;
}

struct virt_link *virt_link_free(struct virt_link *l)
{
    if (l && l->connection)
        virt.virConnectClose(l->connection);
    free(l);
    return NULL;
}

virConnectPtr virt_link_connection(struct virt_link *l)
{
    return l->connection;
}

bool virt_link_lives(struct virt_link *l)
{
    return l && l->connection && virt.virConnectIsAlive(l->connection) == 1;
}

int virt_link_renew(struct virt_link *l, uint64_t timeout_usec, int cancel_fd, struct mig_error *err)
{
    uint64_t deadline = deadline_in(timeout_usec);
    if (virt_link_lives(l))
        return 0;
    for (;;) {
        struct mig_error said = MIG_ERROR_INIT;
        if (l->connection)
            virt.virConnectClose(l->connection);
        l->connection = NULL;
        int r = connect_to(l, &said);
        if (r == 0)
            return 0;
        struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
        bool cancelled = poll(&p, 1, (int)(TRY_AGAIN_USEC / USEC_PER_MSEC)) > 0;
        if (cancelled || now_usec() >= deadline) {
            if (err)
                *err = said;
            return r;
        }
    }
}

int virt_link_domain(struct virt_link *l, const char *name, const char *uuid, virDomainPtr *ret,
                     struct mig_error *err)
{
    if (!l->connection)
        return mig_error_set(err, MIG_ERR_PEER_UNREACHABLE, 0, "libvirt at %.120s went away", l->uri);
    *ret = uuid && *uuid ? virt.virDomainLookupByUUIDString(l->connection, uuid)
                         : virt.virDomainLookupByName(l->connection, name);
    if (*ret)
        return 0;
    if (virt_last_code() != VIR_ERR_NO_DOMAIN)
        return virt_error(err, MIG_ERR_FAILED, "libvirt at %.120s cannot be asked for %.80s", l->uri, name);
    int r = mig_error_set(err, MIG_ERR_NO_SUCH_DOMAIN, 0, "libvirt at %.120s has no domain named %.80s",
                          l->uri, name);
    mig_error_hint(err, "virsh -c %.120s list --all shows those that it has", l->uri);
    return r;
}
