/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS 1.3 with certificates of both sides, by OpenSSL, for the files of this folder; others see security.h.
 *
 *   tls-credentials.c  finds and reads certificates and keys, makes contexts of them
 *   tls-verify.c       whether a peer's certificate is the right one, and the sentences when it is not
 *   tls-handshake.c    makes an encrypted channel of a connected one
 *   channel-tls.c      moves bytes over it
 */
#pragma once
#include "transport/channel.h"
#include <openssl/ssl.h>

#define TLS_TEXT_MAX 256

/* Who is at the other end, from its certificate. */
struct tls_peer {
    char subject[TLS_TEXT_MAX]; /* "C=DE,O=Example,CN=host-a.example" */
    char name[TLS_TEXT_MAX];    /* its first DNS name, or else the CN */
};

struct tls_files { /* "": not configured */
    char folder[TLS_TEXT_MAX];
    char ca[TLS_TEXT_MAX], certificate[TLS_TEXT_MAX], key[TLS_TEXT_MAX];
};

/* One role's half of what this host is: its certificate and key, and the CA that it believes. */
struct tls_credentials {
    SSL_CTX *context;
    char ca[TLS_TEXT_MAX + 32], certificate[TLS_TEXT_MAX + 32], key[TLS_TEXT_MAX + 32];
    int64_t not_before, not_after; /* seconds of the epoch */
};
/* Reads files and blocks as long as they do. server: the certificate that peers are shown, else the one that
 * this host shows where it connects. -ENOKEY with an err that names file and remedy. */
int tls_credentials_load(struct tls_credentials *ret, const struct tls_files *files, bool server,
                         struct mig_error *err);
void tls_credentials_clear(struct tls_credentials *c);
/* Whether the certificate is good at this time of day. */
int tls_credentials_check(const struct tls_credentials *c, struct mig_error *err);

/* What a peer must be, and what came of looking. Hangs on the SSL while it shakes hands. */
struct tls_verify {
    const char *host;          /* that was asked for; NULL: any */
    const char *other_name;    /* a name that will do as well; NULL: none */
    const char *allowed;       /* patterns of peers that may connect; NULL: all */
    const char *ca_path;       /* for the remedy */
    long result;               /* X509_V_... */
    struct tls_peer peer;      /* of the certificate that was looked at last */
    char detail[TLS_TEXT_MAX]; /* the date, or the names that it has */
};
void tls_verify_install(SSL_CTX *context);
void tls_verify_attach(SSL *ssl, struct tls_verify *v);
/* What v->result says, as an error. Returns its -errno. */
int tls_verify_error(const struct tls_verify *v, const char *peer, struct mig_error *err);
void tls_peer_of(X509 *certificate, struct tls_peer *ret);
/* Patterns divided by blanks, with quotes around one that has blanks in it, as in libvirt's
 * tls_allowed_dn_list; each against the subject in both orders, the CN, and every DNS name and IP address. An
 * empty list allows everybody. */
bool tls_peer_allowed(X509 *certificate, const char *patterns);

/* Over the socket of *c, which is replaced; its fields stay. Blocks, at most until *c's deadline. A server
 * looks at v->allowed and says welcome, a client waits for that. v is filled. On failure *c is still there,
 * and good for nothing but its end. */
int tls_handshake(struct channel **c, SSL_CTX *context, bool server, struct tls_verify *v,
                  struct mig_error *err);
/* The channel of an SSL that has shaken hands on the socket of *c. */
int channel_tls_new(struct channel **c, SSL *ssl);
void channel_tls_renew_keys_every(struct channel *c, uint64_t records); /* of a TLS channel; for tests */
X509 *channel_tls_certificate(const struct channel *c);                 /* of the peer; borrowed */
const char *channel_tls_cipher(const struct channel *c);                /* "" for others */
bool channel_tls_in_kernel(const struct channel *c); /* whether the kernel encrypts what is sent */
