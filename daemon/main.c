/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

int main(void)
{
    log_debug("migd %s", PACKAGE_VERSION);
    return 0;
}
