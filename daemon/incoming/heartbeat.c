/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * While devices and VMM take their state over, which may be slow, the source waits with the workload paused.
 * A thread of its own tells it each second that this process lives: it falls silent when the process stands
 * still or its host does, and not because a device takes its time.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "incoming/session.h"
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#define HEARTBEAT_INTERVAL_MSEC 1000

static void *beat(void *userdata)
{
    struct session *s = userdata;
    struct pollfd end = {.fd = s->heartbeat.end_fd, .events = POLLIN};
    int r = 0;
    do {
        pthread_mutex_lock(&s->send_lock);
        r = dialogue_send(&s->control_stream, "loading", NULL, NULL);
        pthread_mutex_unlock(&s->send_lock);
    } while (r == 0 && poll(&end, 1, HEARTBEAT_INTERVAL_MSEC) <= 0);
    return NULL; /* a connection that broke is found by who waits on it */
}

int session_start_heartbeat(struct session *s, struct mig_error *err)
{
    if (!s->heartbeat.wanted)
        return 0;
    s->heartbeat.end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->heartbeat.end_fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "An eventfd: %s", strerror(errno));
    if (pthread_create(&s->heartbeat.thread, NULL, beat, s) != 0) {
        close_fd(&s->heartbeat.end_fd);
        return mig_error_oom(err);
    }
    s->heartbeat.runs = true;
    return 0;
}

void session_end_heartbeat(struct session *s)
{
    if (!s->heartbeat.runs)
        return;
    eventfd_write(s->heartbeat.end_fd, 1);
    pthread_join(s->heartbeat.thread, NULL);
    s->heartbeat.runs = false;
    close_fd(&s->heartbeat.end_fd);
}
