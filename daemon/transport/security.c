/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport/security.h"
#include "base/clock.h"
#include "config/config.h"
#include "transport/address.h"
#include "transport/tls.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HANDSHAKE_MIN_USEC (5 * USEC_PER_SEC)

#define TLS_FIRST_BYTE 0x16 /* of a ClientHello; a frame of migd's begins with another */

struct role {
    struct tls_credentials credentials;
    struct mig_error problem; /* why there are none */
};

struct security {
    pthread_mutex_t lock; /* of what follows; contexts of OpenSSL count their users themselves */
    bool tls;
    char allowed[TLS_TEXT_MAX];
    struct role server, client;
};

int security_new(struct security **ret)
{
    struct security *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

struct security *security_free(struct security *s)
{
    if (!s)
        return NULL;
    tls_credentials_clear(&s->server.credentials);
    tls_credentials_clear(&s->client.credentials);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

static int load(struct security *s, struct role *role, const struct tls_files *files, bool server,
                struct mig_error *err)
{
    struct tls_credentials next;
    struct mig_error why = MIG_ERROR_INIT;
    int r = tls_credentials_load(&next, files, server, &why);
    pthread_mutex_lock(&s->lock);
    if (r == 0) {
        struct tls_credentials old = role->credentials;
        role->credentials = next;
        next = old;
    } else {
        role->problem = why;
    }
    pthread_mutex_unlock(&s->lock);
    if (r == 0)
        tls_credentials_clear(&next);
    else if (err)
        *err = why;
    return r;
}

int security_configure(struct security *s, const struct config *c, struct mig_error *err)
{
    struct tls_files files;
    snprintf(files.folder, sizeof files.folder, "%s", c->certificate_folder);
    snprintf(files.ca, sizeof files.ca, "%s", c->ca_file);
    snprintf(files.certificate, sizeof files.certificate, "%s", c->certificate_file);
    snprintf(files.key, sizeof files.key, "%s", c->key_file);
    pthread_mutex_lock(&s->lock);
    s->tls = c->peer_tls;
    snprintf(s->allowed, sizeof s->allowed, "%s", c->allowed_peers);
    pthread_mutex_unlock(&s->lock);
    if (!c->peer_tls)
        return 0;
    int r = load(s, &s->client, &files, false, err),
        r2 = load(s, &s->server, &files, true, r == 0 ? err : NULL);
    return r < 0 ? r : r2 < 0 ? r2 : security_check(s, err);
}

bool security_is_tls(struct security *s)
{
    if (!s)
        return false;
    pthread_mutex_lock(&s->lock);
    bool tls = s->tls;
    pthread_mutex_unlock(&s->lock);
    return tls;
}

/* A copy with a reference of its own to the context. */
static int take(struct security *s, const struct role *role, struct tls_credentials *ret, char *allowed,
                struct mig_error *err)
{
    pthread_mutex_lock(&s->lock);
    *ret = role->credentials;
    if (ret->context)
        SSL_CTX_up_ref(ret->context);
    else if (err)
        *err = role->problem;
    if (allowed)
        memcpy(allowed, s->allowed, sizeof s->allowed);
    pthread_mutex_unlock(&s->lock);
    int r = ret->context ? tls_credentials_check(ret, err) : -ENOKEY;
    if (r < 0)
        tls_credentials_clear(ret);
    return r;
}

int security_check(struct security *s, struct mig_error *err)
{
    if (!security_is_tls(s))
        return 0;
    struct tls_credentials c;
    int r = take(s, &s->client, &c, NULL, err);
    if (r == 0) {
        tls_credentials_clear(&c);
        r = take(s, &s->server, &c, NULL, err);
        tls_credentials_clear(&c);
    }
    return r;
}

static int connect_safely(struct security *s, struct channel **ret, const char *address,
                          const char *other_name, struct channel_place *place, uint64_t timeout_usec,
                          int cancel_fd, struct mig_error *err)
{
    struct address a;
    struct tls_credentials mine = {0};
    int r = address_parse(&a, address, err);
    if (r < 0)
        return r;
    bool tls = !a.is_unix && security_is_tls(s);
    /* Before anybody is bothered. */
    if (tls && (r = take(s, &s->client, &mine, NULL, err)) < 0)
        return mig_error_wrap(err, "connecting to %s", address);
    _cleanup_(channel_freep) struct channel *c = NULL;
    r = channel_connect_again(&c, address, place, timeout_usec, cancel_fd, err);
    if (r == 0 && tls) {
        struct tls_verify v = {.host = a.host, .other_name = other_name, .ca_path = mine.ca};
        /* Somebody is there: a host that is slow at it is no reason to try once more. */
        c->deadline_usec = deadline_in(MAX(timeout_usec, HANDSHAKE_MIN_USEC));
        r = tls_handshake(&c, mine.context, false, &v, err);
        c->deadline_usec = 0;
    }
    tls_credentials_clear(&mine);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}

int security_connect(struct security *s, struct channel **ret, const char *address, const char *other_name,
                     uint64_t timeout_usec, int cancel_fd, struct mig_error *err)
{
    return connect_safely(s, ret, address, other_name, NULL, timeout_usec, cancel_fd, err);
}

int security_connect_again(struct security *s, struct channel **ret, const char *address,
                           struct channel_place *place, uint64_t timeout_usec, int cancel_fd,
                           struct mig_error *err)
{
    return connect_safely(s, ret, address, NULL, place, timeout_usec, cancel_fd, err);
}

/* Waits for the first byte and leaves it there. */
static int first_byte(struct channel *c, struct mig_error *err)
{
    uint8_t byte;
    int r = c->ops->wait_readable(c, c->stall_timeout_usec);
    if (r < 0)
        return channel_error(c, r, err, "waiting for the first byte");
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return channel_error(c, n == 0 ? -EPIPE : -errno, err, "waiting for the first byte");
    return byte;
}

static int mismatch(const struct channel *c, bool tls_here, struct mig_error *err)
{
    int r = mig_error_set(
        err, MIG_ERR_PEER_UNTRUSTED, EPROTONOSUPPORT,
        tls_here ? "this host takes connections with TLS only (Security=tls), and this one came in "
                   "plain text"
                 : "this host takes connections in plain text (Security=plain), and this one came "
                   "with TLS");
    mig_error_hint(
        err, "set Security=tls in section [Peer] of migd.conf on both hosts; or plain on both, where the "
             "network between them is trusted");
    return r;
}

int security_accept(struct security *s, struct channel **c, struct mig_error *err)
{
    if (strcmp((*c)->ops->kind, "tcp") != 0)
        return 0;
    bool tls = security_is_tls(s);
    int byte = first_byte(*c, err);
    if (byte < 0)
        return byte;
    if (!tls)
        return byte == TLS_FIRST_BYTE ? mismatch(*c, false, err) : 0;
    if (byte != TLS_FIRST_BYTE)
        return mismatch(*c, true, err);
    char allowed[TLS_TEXT_MAX];
    struct tls_credentials mine;
    int r = take(s, &s->server, &mine, allowed, err);
    if (r < 0)
        return r;
    struct tls_verify v = {.allowed = allowed, .ca_path = mine.ca};
    r = tls_handshake(c, mine.context, true, &v, err);
    tls_credentials_clear(&mine);
    return r;
}

void security_peer_name(const struct channel *c, char *name, size_t size)
{
    X509 *certificate = channel_tls_certificate(c);
    struct tls_peer peer = {0};
    if (certificate)
        tls_peer_of(certificate, &peer);
    snprintf(name, size, "%s", peer.name);
}

const char *security_cipher(const struct channel *c)
{
    return channel_tls_cipher(c);
}
