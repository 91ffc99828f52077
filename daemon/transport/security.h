/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How connections between hosts are protected: mutual TLS 1.3, or not at all where the configuration says so.
 * A connection is opened and accepted through here; what comes out is a channel like any other. UNIX sockets
 * are left alone: whoever may open one is a matter of its rights.
 *
 * One per daemon. It is configured by the main thread, at the start and at each reload; every other function
 * may be called by any thread. NULL in the place of one is a daemon that was configured to be plain.
 */
#pragma once
#include "transport/channel.h"

struct config;
struct security;

int security_new(struct security **ret);
struct security *security_free(struct security *s);
DEFINE_CLEANUP(struct security *, security_free)

/* Reads certificates and keys. On failure what was read before stays in use, and when there was nothing,
 * every use fails with the same err. */
int security_configure(struct security *s, const struct config *c, struct mig_error *err);
bool security_is_tls(struct security *s);
/* Whether this host could show itself to a peer today, in both roles; 0 where that is not asked for. */
int security_check(struct security *s, struct mig_error *err);

/* channel_connect, and TLS on it where it is due. The peer's certificate must be for the host in the address
 * or for other_name (NULL: none). Errors beside those of channel_connect: MIG_ERR_CREDENTIALS: this host's
 * own files; MIG_ERR_PEER_UNTRUSTED: EKEYREJECTED, the peer's certificate; EACCES, the peer refuses ours;
 * EPROTONOSUPPORT, one of both takes TLS and the other does not. */
int security_connect(struct security *s, struct channel **ret, const char *address, const char *other_name,
                     uint64_t timeout_usec, int cancel_fd, struct mig_error *err);
/* The same to where the first connection went, see channel_connect_again; the certificate must still be for
 * the name. */
int security_connect_again(struct security *s, struct channel **ret, const char *address,
                           struct channel_place *place, uint64_t timeout_usec, int cancel_fd,
                           struct mig_error *err);
/* security_connect for a connection that was accepted: until *c's deadline. -EPROTONOSUPPORT or -ENOKEY: *c
 * is still plain, and the peer wants to be told so with a refusal in plain text. */
int security_accept(struct security *s, struct channel **c, struct mig_error *err);
/* The name by which the peer of a TLS channel can be known again; "" for others. */
void security_peer_name(const struct channel *c, char *name, size_t size);
/* What encrypts a TLS channel, "TLS_AES_128_GCM_SHA256"; "" for others. */
const char *security_cipher(const struct channel *c);
