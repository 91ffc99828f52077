/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A worker: the one thread that runs one migration. It may block. Cancellation is an eventfd that every
 * blocking wait of the worker polls.
 */
#pragma once
#include "loop/loop.h"

struct worker;
/* Starts run(w, userdata) on a new thread named `name` (at most 15 bytes); when it returned, done(userdata,
 * result) is posted to the main thread, where worker_free may be called. */
int worker_start(struct worker **ret, struct loop *l, const char *name,
                 int (*run)(struct worker *w, void *userdata), void (*done)(void *userdata, int result),
                 void *userdata);
/* Any thread, idempotent. */
void worker_cancel(struct worker *w);
/* Readable once cancelled; never drained. Borrowed. */
int worker_cancel_fd(const struct worker *w);
bool worker_cancelled(const struct worker *w);
/* Joins: from done, or any time after worker_cancel; done is not called any more then. */
struct worker *worker_free(struct worker *w);
