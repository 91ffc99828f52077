/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests of which a migd at another host has said that it will move their memory: its operator was promised
 * that, so such a guest is not moved whole by QEMU when nobody comes for its memory. Forgotten when it has
 * come, when the other takes it back, or after a while. Main thread; times are those of now_usec().
 */
#pragma once
#include "base/error.h"

#define ANNOUNCED_MAX 64u /* the newest */

struct announced;
int announced_new(struct announced **ret);
struct announced *announced_free(struct announced *a);

void announced_add(struct announced *a, const char *uuid, uint64_t until_usec);
/* Whether it was, which is forgotten by that. */
bool announced_take(struct announced *a, const char *uuid, uint64_t now_usec);
