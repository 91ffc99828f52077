/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fault points, for tests only: with `configure --enable-fault-points` the environment
 * MIGD_FAULT="NAME:ACTION[,NAME:ACTION]" makes the daemon do something at a named point: kill (SIGKILL to
 * itself), stop (SIGSTOP to itself), sleep=MSEC, fail (the call returns -EIO). MIGD_FAULT=@FILE takes what
 * stands in the file at that moment, for a daemon that runs already. Without the switch every point is
 * compiled to nothing. Names of phases are points of their own: each phase passes the point "PHASE"
 * (outgoing) or "in-PHASE" (incoming) where it begins; tests/lint/check-phases holds that.
 */
#pragma once
#include "base/util.h"

#ifdef FAULT_POINTS
int fault_point(const char *name);
#else
static inline int fault_point(const char *name)
{
    return 0;
}
#endif
