/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A peer that measures the link (migctl link-test): {"probe": true, "token"}. */
#pragma once
#include "base/json.h"
#include "transport/frame.h"

#define PROBES_MAX     4u /* at the same time, with WIRE_PROBE_STREAMS_MAX connections each */
#define PROBE_MAX_USEC UINT64_C(15000000)

/* Main thread; takes channel and hello over. A thread of its own takes what comes and throws it away, until
 * the peer has enough, its time is over, or cancel_fd (borrowed for this call only) is readable. Not counted
 * among the greetings. */
void probe_answer(struct channel *channel, const struct frame_stream *stream, struct json_object *hello,
                  int cancel_fd);
