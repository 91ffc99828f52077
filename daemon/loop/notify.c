/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop/notify.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

void notify_ready(void)
{
    sd_notify(false, "READY=1");
}

void notify_reloading(void)
{
    sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec());
}

void notify_stopping(void)
{
    sd_notify(false, "STOPPING=1");
}

void notify_status(const char *format, ...)
{
    char text[700] = "STATUS=";
    va_list ap;
    va_start(ap, format);
    vsnprintf(text + 7, sizeof text - 7, format, ap);
    va_end(ap);
    sd_notify(false, text);
}
