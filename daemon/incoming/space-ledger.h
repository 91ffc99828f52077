/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the migrations that come at the moment will still take of this host's file systems, and so of its
 * memory: each was let in because there was room, and the next must find that room taken, although not a page
 * of it is there yet. What has arrived counts in the file system already. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct space_ledger;
int space_ledger_new(struct space_ledger **ret);
struct space_ledger *space_ledger_ref(struct space_ledger *l); /* NULL stays NULL, here and below */
struct space_ledger *space_ledger_unref(struct space_ledger *l);
/* who: any pointer that is one migration's. fd: a file that will have file_bytes allocated; not taken over.
 * in_memory: its pages are memory of this host. */
int space_ledger_promise(struct space_ledger *l, const void *who, int fd, uint64_t file_bytes,
                         bool in_memory);
void space_ledger_forget(struct space_ledger *l, const void *who);
/* Bytes that all but who have been promised and do not have yet: on a file system, and of memory. l NULL: 0.
 */
uint64_t space_ledger_on(struct space_ledger *l, const void *who, dev_t dev);
uint64_t space_ledger_in_memory(struct space_ledger *l, const void *who);
