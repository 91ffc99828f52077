/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main thread's event loop: libevent, with a mailbox through which other threads hand it work. Everything
 * but loop_post belongs to the main thread. News of workers come up as posted functions; workers never touch
 * the bus.
 */
#pragma once
#include "base/util.h"

struct event_base;
struct loop;

int loop_new(struct loop **ret);
struct loop *loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop *, loop_free)
struct event_base *loop_base(struct loop *l);
/* Runs until loop_exit; returns its code. SIGTERM and SIGINT exit with 0. */
int loop_run(struct loop *l);
void loop_exit(struct loop *l, int code);
/* The first SIGTERM or SIGINT calls this instead, for whoever has to end things first and calls loop_exit
 * then; the second one exits. */
void loop_set_terminate(struct loop *l, void (*terminate)(void *userdata), void *userdata);
/* Each SIGHUP calls this; without it they are ignored. */
void loop_set_reload(struct loop *l, void (*reload)(void *userdata), void *userdata);
/* As such a signal does; the loop's code is this one then, unless loop_exit gives another that is not 0. */
void loop_terminate(struct loop *l, int code);
/* prepare(userdata) runs each time before the loop waits, so that whoever queued something during the last
 * round (sd-bus messages, whose wanted events and deadline change with them) is asked again without having to
 * be told. One for each loop; NULL takes it away. */
void loop_set_prepare(struct loop *l, void (*prepare)(void *userdata), void *userdata);

/* Any thread: fn(userdata) runs once on the main thread, in order of posting. -ENOMEM; nothing runs after
 * loop_free. */
int loop_post(struct loop *l, void (*fn)(void *userdata), void *userdata);
/* Another thread: fn(userdata) runs on the main thread, and this returns what it returned. -ECANCELED when
 * the loop has ended and fn was not called; -ENOMEM. */
int loop_call(struct loop *l, int (*fn)(void *userdata), void *userdata);
/* Main thread: takes back what was posted with these two and has not run yet, before userdata is freed. */
void loop_retract(struct loop *l, void (*fn)(void *userdata), void *userdata);

/* A timer of the main thread: fn after usec, once; re-armed by loop_timer_arm, taken back by loop_timer_arm
 * with UINT64_MAX. It may be freed from fn. */
struct loop_timer;
int loop_timer_new(struct loop_timer **ret, struct loop *l, void (*fn)(void *userdata), void *userdata);
void loop_timer_arm(struct loop_timer *t, uint64_t usec);
struct loop_timer *loop_timer_free(struct loop_timer *t);
/* fn(fd, userdata) on the main thread whenever fd is readable. */
struct loop_io;
int loop_io_new(struct loop_io **ret, struct loop *l, int fd, void (*fn)(int fd, void *userdata),
                void *userdata);
/* Also while fd is writable; off at first. */
void loop_io_want_write(struct loop_io *io, bool want);
struct loop_io *loop_io_free(struct loop_io *io);
