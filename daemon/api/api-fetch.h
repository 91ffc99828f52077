/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What other hosts ask about libvirt's guests (include/migd-wire.h): "fetch", whether this host moves the
 * memory of a guest that arrives at the other; "receives", whether a guest that arrives here waits for migd
 * there. Main thread; what blocks is done by a helper.
 */
#pragma once
#include "api/api-context.h"
#include "base/json.h"
#include "transport/frame.h"

/* For the listener: takes channel and hello over. */
void api_asked_of_guest(struct channel *channel, const struct frame_stream *stream, struct json_object *hello,
                        void *userdata);
/* Who asked for it hears how it ended. */
void api_fetch_ended(struct api *a, struct migration *m);
/* What an operator here began with this domain ended before it was a migration. */
void api_fetch_given_up(struct api *a, const char *name);
/* The daemon ends: no more answers. Joins the helpers. */
void api_fetches_free(struct api *a);
