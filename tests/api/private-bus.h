/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A message bus of our own for a test program. It ends with the program, whatever happens to it. */
#pragma once
#include <sys/types.h>

struct private_bus {
    char dir[64];
    char address[128];
    pid_t pid;
};

/* 0, or -errno; -ENOENT: there is no dbus-daemon on this machine. */
int private_bus_start(struct private_bus *b);
void private_bus_stop(struct private_bus *b);
