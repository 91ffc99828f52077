/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that looks at a set of TCP connections to one peer, and shuts all of them down when the network
 * between has been silent for too long: every call that is blocked on one of them then fails at once.
 *
 * Silent means that something waits for an acknowledgement (data, or a keepalive probe of an idle
 * connection), and that the peer's kernel has not sent a single one. A peer that is slow, or whose process
 * stands still, is not silent: its kernel goes on acknowledging; nor is a network whose answer to the latest
 * probe may still be on its way. Connections on this host are not watched.
 */
#pragma once
#include "transport/channel.h"

struct link_watch;
/* channels: borrowed until link_watch_free; the array itself is copied. */
int link_watch_new(struct link_watch **ret, struct channel *const *channels, size_t nchannels,
                   uint64_t silence_usec);
/* Joins the thread. Before any of the channels is freed. */
struct link_watch *link_watch_free(struct link_watch *w);
DEFINE_CLEANUP(struct link_watch *, link_watch_free)
/* Any thread: it has shut the connections down. */
bool link_watch_has_fired(const struct link_watch *w);
