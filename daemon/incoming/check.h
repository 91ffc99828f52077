/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A peer that asks what would be in the way of a migration: {"check": true, ...}. */
#pragma once
#include "domain/registry.h"
#include "incoming/greeting.h"
#include "incoming/space-ledger.h"

/* Main thread; takes channel and hello over. A picture of the domain is taken here; a thread of its own
 * compares and answers. Nothing of the domain is borrowed or touched. */
void check_answer(struct greeter *g, struct registry *registry, struct channel *channel,
                  const struct frame_stream *stream, struct json_object *hello, struct space_ledger *ledger,
                  bool accept_overrides);
