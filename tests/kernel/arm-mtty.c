/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the mtty of another process fail, by the descriptor that it has. Runs inside the lab.
 *
 *   arm-mtty PID FD FAULT    FAULT as for lab_mtty_arm(); prints what was armed before
 *
 * Ends with 0, with 1 when it does not work, and with 77 when the mtty of this kernel cannot.
 */
#include "lab.h"
#include <stdio.h>
#include <sys/syscall.h>

static int device;
static uint32_t fault;

static void arm(void)
{
    printf("%#x\n", lab_mtty_armed(device));
    lab_mtty_arm(device, fault);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {{"arming mtty", arm}};
    if (argc != 4)
        return 2;
    int pidfd = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0u);
    device = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, atoi(argv[2]), 0u);
    if (device < 0) {
        perror("arm-mtty");
        return 1;
    }
    fault = (uint32_t)strtoul(argv[3], NULL, 0);
    int r = lab_run(cases, ELEMENTS(cases));
    return r == 0 && fault != lab_mtty_armed(device) ? 77 : r;
}
