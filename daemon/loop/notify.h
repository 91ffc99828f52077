/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Telling the service manager how it stands. Without one these do nothing. */
#pragma once
#include "base/util.h"

void notify_ready(void);
/* notify_ready() says that it is done. */
void notify_reloading(void);
void notify_stopping(void);
void notify_status(const char *format, ...) _printf_(1, 2);
