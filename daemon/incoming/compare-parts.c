/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/compare-parts.h"

int compare_malformed(struct mig_error *err, const char *what)
{
    return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO of the source is malformed: %s", what);
}
