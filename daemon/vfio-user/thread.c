/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio-user/thread.h"
#include <signal.h>

int vfu_thread_start(pthread_t *ret, const char *name, void *(*run)(void *userdata), void *userdata)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(ret, NULL, run, userdata);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        pthread_setname_np(*ret, name);
    return -r;
}
