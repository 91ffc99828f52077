/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What other hosts ask about libvirt's guests (include/migd-wire.h): "fetch", whether this host moves the
 * memory of a guest that arrives at the other; "receives", whether a guest that arrives here waits for migd
 * there. Main thread; what blocks is done by a helper.
 */
#pragma once
#include "api/api-context.h"
#include "base/json.h"
#include "libvirt/native-peers.h"
#include "libvirt/vm-leaving.h"
#include "transport/frame.h"

/* A question has a helper first, and after "begun" the connection of whoever asked, until that migration has
 * ended. */
struct api_fetch {
    struct api *api;
    struct api_fetch *next;
    struct channel *channel;
    struct frame_stream stream;
    struct json_object *hello;
    struct worker *worker;
    const char *uuid, *name; /* in hello; NULL: "receives" is asked */
    const char *guest;       /* in hello, with "receives": this one is announced; NULL: none */
    char peers[NATIVE_PEERS_MAX], peer[NATIVE_PEERS_MAX], uri[256], here[VM_NAME_MAX + 1];
    bool kept;                   /* the answer was yes, and the end will be told */
    struct migration *migration; /* reference; NULL: it is its operator's, of the domain `here` */
    struct mig_error err;
};

/* For the listener: takes channel and hello over. */
void api_asked_of_guest(struct channel *channel, const struct frame_stream *stream, struct json_object *hello,
                        void *userdata);
/* api-fetches.c */
/* Ends its helper. */
void api_fetch_free(struct api_fetch *f);
/* Who asked for it hears how it ended. */
void api_fetch_ended(struct api *a, struct migration *m);
/* What an operator here began with this domain ended before it was a migration. */
void api_fetch_given_up(struct api *a, const char *name);
/* The daemon ends: no more answers. Joins the helpers. */
void api_fetches_free(struct api *a);
