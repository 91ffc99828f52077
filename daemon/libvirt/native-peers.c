/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/native-peers.h"
#include "transport/address.h"
#include "transport/security.h"
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define BLANKS   " \t"
#define V4_IN_V6 "::ffff:"

bool native_peers_nth(const char *list, size_t i, char ret[NATIVE_PEERS_MAX])
{
    for (const char *at = list + strspn(list, BLANKS); *at; at += strspn(at, BLANKS)) {
        size_t length = strcspn(at, BLANKS);
        if (i-- == 0) {
            snprintf(ret, NATIVE_PEERS_MAX, "%.*s", (int)length, at);
            return true;
        }
        at += length;
    }
    return false;
}

int native_peers_check(const char *list, struct mig_error *err)
{
    char peer[NATIVE_PEERS_MAX];
    struct address a;
    for (size_t i = 0; native_peers_nth(list, i, peer); i++)
        if (address_parse(&a, peer, NULL) < 0 || a.is_unix || !*a.host)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.100s\" is not a host", peer);
    return 0;
}

/* A listener for both families calls a v4 address so. */
static const char *plain(const char *host)
{
    return strncmp(host, V4_IN_V6, strlen(V4_IN_V6)) == 0 && strchr(host, '.') ? host + strlen(V4_IN_V6)
                                                                               : host;
}

static bool leads_to(const char *host, const char *numeric)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char text[NI_MAXHOST];
    bool found = false;
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return false;
    for (const struct addrinfo *a = list; a && !found; a = a->ai_next)
        found = getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0 &&
                strcmp(text, plain(numeric)) == 0;
    freeaddrinfo(list);
    return found;
}

int native_peers_find(const char *list, const struct channel *c, char ret[NATIVE_PEERS_MAX],
                      struct mig_error *err)
{
    struct address from, a;
    char name[256];
    security_peer_name(c, name, sizeof name);
    bool has_address = address_parse(&from, c->peer, NULL) == 0 && !from.is_unix;
    for (size_t i = 0; native_peers_nth(list, i, ret); i++)
        if (address_parse(&a, ret, NULL) == 0 &&
            ((*name && strcasecmp(name, a.host) == 0) || (has_address && leads_to(a.host, from.host))))
            return 0;
    int r =
        mig_error_set(err, MIG_ERR_NOT_ALLOWED, 0, "%s is none of the hosts in NativePeers here", c->peer);
    mig_error_hint(err, "name it there, in section [Libvirt] of migd.conf");
    return r;
}
