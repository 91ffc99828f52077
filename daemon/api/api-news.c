/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-context.h"
#include "base/clock.h"
#include "loop/loop.h"

static void on_timer(void *userdata)
{
    api_news_now(userdata);
}

int api_news_init(struct api_news *n, struct loop *l, void (*tell)(void *userdata), void *userdata)
{
    *n = (struct api_news){.tell = tell, .userdata = userdata};
    return loop_timer_new(&n->timer, l, on_timer, n);
}

void api_news_clear(struct api_news *n)
{
    n->timer = loop_timer_free(n->timer);
}

void api_news_now(struct api_news *n)
{
    n->told_usec = now_usec();
    n->armed = false;
    loop_timer_arm(n->timer, USEC_INFINITY);
    n->tell(n->userdata);
}

void api_news_touch(struct api_news *n)
{
    uint64_t now = now_usec();
    if (n->armed)
        return;
    if (!n->told_usec || now - n->told_usec >= API_NEWS_USEC) {
        api_news_now(n);
        return;
    }
    n->armed = true;
    loop_timer_arm(n->timer, API_NEWS_USEC - (now - n->told_usec));
}
