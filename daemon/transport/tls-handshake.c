/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The TLS handshake over a connected channel, under its deadline and its cancel; and what to say when it
 * fails. Any thread but the main one.
 */
#include "base/printable.h"
#include "transport/channel-private.h"
#include "transport/frame.h"
#include "transport/tls.h"
#include <arpa/inet.h>
#include <endian.h>
#include <json-c/json.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static bool is_ip(const char *host)
{
    struct in6_addr a;
    return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* What the peer says of our certificate, by the alert that it sent. */
static int refused_by_peer(const char *peer, int alert, struct mig_error *err)
{
    static const struct {
        int alert;
        const char *text, *hint;
    } alerts[] = {
        {SSL_AD_UNKNOWN_CA, "it does not know the CA that signed this host's certificate",
         "let both hosts have certificates of one CA, and its certificate in ca-cert.pem (cacert.pem)"},
        {SSL_AD_CERTIFICATE_EXPIRED, "this host's certificate has expired by its clock",
         "renew the certificate of this host, or set the clocks of both hosts right"},
        {SSL_AD_CERTIFICATE_REVOKED, "this host's certificate was revoked", "get a new certificate"},
        {SSL_AD_BAD_CERTIFICATE,
         "this host's certificate is not for the name by which it was asked, or is not valid yet by its "
         "clock",
         "use a name that the certificate of this host has, or give it one with the name; and look at the "
         "clocks of both hosts"},
        {SSL_AD_UNSUPPORTED_CERTIFICATE, "this host's certificate may not be used for this",
         "it needs the extended key usages serverAuth and clientAuth, or none at all"},
        {SSL_AD_CERTIFICATE_REQUIRED, "it wants a certificate and got none",
         "give this host a certificate: man migd.conf, CertificateFolder="},
    };
    const char *text = "it ended the TLS handshake", *hint = "the log of migd there says why";
    for (size_t i = 0; i < ELEMENTS(alerts); i++)
        if (alerts[i].alert == alert) {
            text = alerts[i].text;
            hint = alerts[i].hint;
        }
    int r = mig_error_set(err, MIG_ERR_PEER_UNTRUSTED, EACCES, "%s refuses this host: %s (TLS alert %d: %s)",
                          peer, text, alert, SSL_alert_desc_string_long(alert));
    mig_error_hint(err, "%s", hint);
    return r;
}

static int broken(struct channel *c, int r, struct mig_error *err)
{
    if (r == -EPIPE || r == -ECONNRESET) {
        r = mig_error_set(err, MIG_ERR_PEER_LOST, ECONNRESET,
                          "%s closed the connection during the TLS handshake", c->peer);
        mig_error_hint(err, "the log of migd there says why; an older migd, or a proxy, does not speak TLS");
        return r;
    }
    return channel_error(c, r, err, "the TLS handshake");
}

static int explain(struct channel *c, SSL *ssl, int result, const struct tls_verify *v, struct mig_error *err)
{
    int system = errno;
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_SYSCALL:
        return broken(c, system ? channel_socket_errno(system) : -ECONNRESET, err);
    case SSL_ERROR_ZERO_RETURN:
        return broken(c, -EPIPE, err);
    }
    if (v->result != X509_V_OK)
        return tls_verify_error(v, c->peer, err);
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        return refused_by_peer(c->peer, reason - SSL_AD_REASON_OFFSET, err);
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return broken(c, -ECONNRESET, err);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        int r = mig_error_set(err, MIG_ERR_PEER_UNTRUSTED, EKEYREJECTED, "%s shows no certificate", c->peer);
        mig_error_hint(err, "give that host a certificate of the same CA: man migd.conf, CertificateFolder=");
        return r;
    }
    const char *why = ERR_reason_error_string(e);
    int r = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, EPROTO, "the TLS handshake with %s failed: %s", c->peer,
                          why ? why : "no reason given");
    mig_error_hint(err, "check that it is a migd that talks there, and that it can TLS 1.3");
    return r;
}

/* One call of OpenSSL that may have to wait for the socket, until it is done. */
enum step { STEP_HANDSHAKE, STEP_READ, STEP_WRITE };
static int take_step(SSL *ssl, enum step step, void *data, size_t size, size_t *ret)
{
    ERR_clear_error();
    errno = 0;
    switch (step) {
    case STEP_READ:
        return SSL_read_ex(ssl, data, size, ret);
    case STEP_WRITE:
        return SSL_write_ex(ssl, data, size, ret);
    default:
        return SSL_do_handshake(ssl);
    }
}

/* A record of TLS never begins like a frame. */
static bool says_it_plainly(struct channel *c)
{
    uint32_t magic = 0;
    return recv(c->fd, &magic, sizeof magic, MSG_PEEK | MSG_DONTWAIT) == sizeof magic &&
           magic == htole32(WIRE_MAGIC);
}

/* A migd that takes no TLS, or cannot, says so in plain text. Nobody vouches for these words. */
static int hear_plain(struct channel *c, struct mig_error *err)
{
    struct frame_stream s;
    struct wire_header h;
    struct json_object *o = NULL, *text = NULL;
    frame_stream_init(&s, c, true);
    if (frame_recv(&s, &h, NULL) == 0)
        frame_recv_json(&s, &h, &o, NULL);
    if (o)
        json_object_object_get_ex(o, "text", &text);
    char words[400];
    snprintf(words, sizeof words, "%s", text ? json_object_get_string(text) : "it does not say why");
    json_object_put(o);
    int r = mig_error_set(err, MIG_ERR_PEER_UNTRUSTED, EPROTONOSUPPORT, "%s answers TLS in plain text: %s",
                          c->peer, make_printable(words));
    mig_error_hint(err, "set Security=tls in section [Peer] of migd.conf there and give it certificates; or "
                        "Security=plain on both hosts, where the network between them is trusted");
    return r;
}

static int run_step(struct channel *c, SSL *ssl, enum step step, void *data, size_t size,
                    const struct tls_verify *v, struct mig_error *err)
{
    size_t done = 0;
    for (;;) {
        size_t n = 0;
        int ok = take_step(ssl, step, (char *)data + done, size - done, &n), r;
        done += n;
        if (ok == 1 && done == size)
            return 0;
        if (ok == 1)
            continue;
        switch (SSL_get_error(ssl, ok)) {
        case SSL_ERROR_WANT_READ:
            r = channel_wait_readable(c, c->stall_timeout_usec);
            break;
        case SSL_ERROR_WANT_WRITE:
            r = channel_wait_writable(c);
            break;
        default:
            r = explain(c, ssl, ok, v, err);
            ERR_clear_error();
            return r;
        }
        if (r < 0)
            return broken(c, r, err);
    }
}

/* ---- the welcome: a client of TLS 1.3 has done its part before the server has looked at its certificate
 * ----
 */

static int welcome_client(struct channel *c, SSL *ssl, struct tls_verify *v, struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    uint8_t message[sizeof(struct wire_welcome) + sizeof why.message];
    if (!tls_peer_allowed(SSL_get0_peer_certificate(ssl), v->allowed)) {
        mig_error_set(&why, MIG_ERR_NOT_ALLOWED, 0,
                      "the certificate of %s, \"%.200s\", is not among AllowedPeers", c->peer,
                      v->peer.subject);
        mig_error_hint(&why,
                       "add its subject or one of its names to AllowedPeers= in section [Peer] of migd.conf");
    }
    size_t length = strlen(why.message);
    struct wire_welcome w = {htole32(WIRE_MAGIC), htole16(why.code != MIG_ERR_NONE),
                             htole16((uint16_t)length)};
    memcpy(message, &w, sizeof w);
    memcpy(message + sizeof w, why.message, length);
    int r = run_step(c, ssl, STEP_WRITE, message, sizeof w + length, v, err);
    if (r < 0 || why.code == MIG_ERR_NONE)
        return r;
    SSL_shutdown(ssl);
    if (err)
        *err = why;
    return -why.err;
}

static int be_welcome(struct channel *c, SSL *ssl, const struct tls_verify *v, struct mig_error *err)
{
    struct wire_welcome w;
    char text[sizeof err->message] = "";
    int r = run_step(c, ssl, STEP_READ, &w, sizeof w, v, err);
    if (r < 0)
        return r;
    size_t length = le16toh(w.length);
    if (w.magic != htole32(WIRE_MAGIC) || length >= sizeof text) {
        r = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, EPROTO, "%s speaks TLS, but not as migd does", c->peer);
        mig_error_hint(err, "check the address and the port");
        return r;
    }
    r = length ? run_step(c, ssl, STEP_READ, text, length, v, err) : 0;
    if (r < 0 || !w.refused)
        return r;
    r = mig_error_set(err, MIG_ERR_PEER_UNTRUSTED, EACCES, "%s refuses this host: %s", c->peer,
                      make_printable(text));
    mig_error_hint(err, "add this host to AllowedPeers= in section [Peer] of migd.conf there");
    return r;
}

/* The client's first word, with nothing to read for OpenSSL: what comes back may be no TLS at all, and is
 * looked at first. */
static int speak_first(struct channel *c, SSL *ssl, struct mig_error *err)
{
    BIO *nothing = BIO_new(BIO_s_mem()), *from_socket = BIO_new_socket(c->fd, BIO_NOCLOSE);
    if (!nothing || !from_socket) {
        BIO_free(nothing);
        BIO_free(from_socket);
        return mig_error_oom(err);
    }
    BIO_set_mem_eof_return(nothing, -1);
    SSL_set0_rbio(ssl, nothing);
    take_step(ssl, STEP_HANDSHAKE, NULL, 0, NULL);
    SSL_set0_rbio(ssl, from_socket);
    int r = channel_wait_readable(c, c->stall_timeout_usec);
    if (r < 0)
        return broken(c, r, err);
    return says_it_plainly(c) ? hear_plain(c, err) : 0;
}

int tls_handshake(struct channel **c, SSL_CTX *context, bool server, struct tls_verify *v,
                  struct mig_error *err)
{
    SSL *ssl = SSL_new(context);
    if (!ssl || !SSL_set_fd(ssl, (*c)->fd)) {
        SSL_free(ssl);
        return mig_error_oom(err);
    }
    tls_verify_attach(ssl, v);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    if (!server && v->host && !is_ip(v->host))
        SSL_set_tlsext_host_name(ssl, v->host);
    int r = server ? 0 : speak_first(*c, ssl, err);
    if (r == 0)
        r = run_step(*c, ssl, STEP_HANDSHAKE, NULL, 0, v, err);
    /* Whatever a callback did or did not do. */
    if (r == 0 && (SSL_get_verify_result(ssl) != X509_V_OK || v->result != X509_V_OK ||
                   !SSL_get0_peer_certificate(ssl)))
        r = tls_verify_error(v, (*c)->peer, err);
    if (r == 0)
        r = server ? welcome_client(*c, ssl, v, err) : be_welcome(*c, ssl, v, err);
    tls_verify_attach(ssl, NULL);
    if (r == 0 && channel_tls_new(c, ssl) < 0)
        r = mig_error_oom(err);
    if (r < 0)
        SSL_free(ssl);
    return r;
}
