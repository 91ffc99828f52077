/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager's store of descriptors (FileDescriptorStoreMax= of the unit): what is put there
 * survives this process and is handed to the next one, which finds it by name.
 *
 * A use is a part of an owner ("ram0" of a domain); the name under which its file lies in the store is chosen
 * here and belongs into the owner's saved form. The manager keeps an open file only once, whatever names it
 * is given, and says nothing when it leaves one out; so uses of the same open file share a name, and the file
 * leaves the store with its last use.
 *
 * One store per process, as the manager has it. Any thread; a lock inside. Without a manager that has a store
 * nothing is kept, and names are empty.
 */
#pragma once
#include "base/util.h"

#define FDSTORE_NAME_MAX 200

/* Once, before threads: takes what the manager handed over. */
void fdstore_init(void);
/* The listening socket of a socket unit with this FileDescriptorName=, the caller's from now on; or -1. */
int fdstore_take_listener(const char *name);
/* How many descriptors the store holds. */
size_t fdstore_count(void);
/* Main thread at the end: closes this process' copies; the store keeps its own. */
void fdstore_done(void);
bool fdstore_is_there(void);

/* A saved form is written: between begin and end every part is kept again, and uses of the owner that this
 * process kept before and were not named now end. */
void fdstore_begin(const char *owner);
/* fd is borrowed. "" where there is no store, or the manager could not be told. */
void fdstore_keep(const char *owner, const char *part, int fd, char ret_name[static FDSTORE_NAME_MAX]);
void fdstore_end(const char *owner);
/* All uses of the owner end. */
void fdstore_drop(const char *owner);

/* A duplicate of what the process before put there under this name; it becomes this part's use. -ENOENT:
 * there is none. */
int fdstore_get(const char *owner, const char *part, const char *name, int *ret);
/* When everybody had the chance to ask, for listeners too: the rest is closed, leaves the store, and is
 * logged. Returns how many.
 */
unsigned fdstore_close_unknown(void);
