/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /metrics over HTTP, by libevent's evhttp on the main loop. Requests are small, answered at once, and
 * given little time. */
#pragma once
#include "base/error.h"

struct evbuffer;
struct loop;
struct metrics_server;

/* expose fills the answer, or fails with -errno. Otherwise see metrics.h. */
int metrics_server_new(struct metrics_server **ret, struct loop *loop, const char *address, int fd,
                       int (*expose)(struct evbuffer *out, void *userdata), void *userdata,
                       struct mig_error *err);
struct metrics_server *metrics_server_free(struct metrics_server *s);
