/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/populate-beside.h"
#include "incoming/session.h"

static void end_connection(struct session_connection *c)
{
    if (c->channel)
        c->channel->ops->shutdown(c->channel);
    if (c->has_thread)
        pthread_join(c->thread, NULL);
    c->has_thread = false;
    c->channel = channel_free(c->channel);
}

void session_end_receiving(struct session *s)
{
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    s->threads_run = false;
    pthread_mutex_unlock(&s->lock);
    /* All at once, then one by one: the threads end beside each other. */
    for (size_t i = 0; i < WIRE_CONNECTIONS_MAX; i++)
        if (s->pages[i].channel)
            s->pages[i].channel->ops->shutdown(s->pages[i].channel);
    for (size_t i = 0; i < WIRE_CONNECTIONS_MAX; i++)
        end_connection(&s->pages[i]);
    end_connection(&s->state_connection);
    s->beside = populate_beside_free(s->beside);
}
