/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's machine protocol: one command after the other over a UNIX socket, each with a deadline. For workers:
 * every call blocks. A monitor serves one client at a time, so a connection is made for what is to be done
 * and closed after it. Events are read over.
 *
 * The other end is a process that a guest may have taken over: lines have a limit, what is not JSON or not an
 * answer ends the connection with an error that names the socket.
 */
#pragma once
#include "base/error.h"
#include "base/json.h"
#include <sys/types.h>

struct qmp;

/* Connects, reads the greeting and leaves capabilities mode. */
int qmp_open(struct qmp **ret, const char *path, uint64_t deadline_usec, struct mig_error *err);
struct qmp *qmp_free(struct qmp *q);
DEFINE_CLEANUP(struct qmp *, qmp_free)

/* arguments: taken over, also on failure; NULL: none. fd: passed with the command; -1: none. *ret: what
 * "return" holds, for json_object_put; ret may be NULL. An error of QEMU's is told in its words. */
int qmp_call(struct qmp *q, const char *command, struct json_object *arguments, int fd,
             uint64_t deadline_usec, struct json_object **ret, struct mig_error *err);
/* {key: value}, the arguments of many commands; NULL without memory. */
struct json_object *qmp_argument(const char *key, const char *value);
/* What the human monitor answers; malloc'ed. */
int qmp_human(struct qmp *q, const char *line, uint64_t deadline_usec, char **ret, struct mig_error *err);
/* The process that listens on the socket, as the kernel knows it. */
pid_t qmp_pid(const struct qmp *q);
/* For messages. */
const char *qmp_path(const struct qmp *q);
