/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* To the client of a pass-through server, from any thread. */
#include "base/log.h"
#include "vfio-user/passthrough-private.h"
#include <string.h>
#include <sys/socket.h>

void passthrough_cut(struct vfu_passthrough *p, const char *why)
{
    if (why)
        log_warning("The client on %s is cut off: %s", p->path, why);
    pthread_mutex_lock(&p->send_lock);
    if (p->client >= 0)
        shutdown(p->client, SHUT_RDWR);
    pthread_mutex_unlock(&p->send_lock);
}

int passthrough_send(struct vfu_passthrough *p, bool on_twin, struct vfu_header *h, const struct iovec *parts,
                     unsigned nparts, const int *fds, unsigned nfds)
{
    pthread_mutex_lock(&p->send_lock);
    int socket = on_twin ? p->twin : p->client;
    int r = socket < 0 ? -ENODEV : vfu_send(socket, h, parts, nparts, fds, nfds);
    pthread_mutex_unlock(&p->send_lock);
    if (r < 0)
        passthrough_cut(p, r == -ENODEV                      ? NULL
                           : r == -ETIMEDOUT || r == -EPROTO ? "it does not read"
                                                             : strerror(-r));
    return r;
}
