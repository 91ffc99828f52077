/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every decision about who may do what. Reading is open (the bus's own policy may close it); everything else
 * is denied unless this file says yes. */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

struct api_policy;
struct api_policy *api_policy_new(void);
struct api_policy *api_policy_free(struct api_policy *p);

/* Whether the sender of this message may change things or get at guest memory: root and the user that migd
 * runs as. Every handler that does so asks first. */
int api_policy_check(struct api_policy *p, sd_bus_message *m, struct mig_error *err);
