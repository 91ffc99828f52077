/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * [Libvirt] NativePeers=: hosts between which migd moves the memory of guests that somebody else has libvirt
 * move (virsh migrate). At the destination they are whom it asks, at the source who may ask. Each is an
 * address as of a migration's destination.
 */
#pragma once
#include "transport/channel.h"

#define NATIVE_PEERS_MAX 256u /* bytes of a list, and of one in it */

/* InvalidArgument names the first that is no host. */
int native_peers_check(const char *list, struct mig_error *err);
/* Copies the i-th; false after the last. */
bool native_peers_nth(const char *list, size_t i, char ret[NATIVE_PEERS_MAX]);
/* BLOCKS for the resolver. Which of them is at the other end: the one that TLS shows, or that has its
 * address. NotAllowed: none. */
int native_peers_find(const char *list, const struct channel *c, char ret[NATIVE_PEERS_MAX],
                      struct mig_error *err);
