/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text from outside (a command's name, a file in sysfs, a sentence that was cut) made fit for D-Bus, JSON and
 * terminals. No state, any thread. */
#pragma once

/* In place: bytes that are not UTF-8 and control characters become '?'. Returns s. */
char *make_printable(char *s);
