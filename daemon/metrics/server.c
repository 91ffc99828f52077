/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metrics/server.h"
#include "base/fds.h"
#include "base/log.h"
#include "loop/loop.h"
#include "transport/address.h"
#include "transport/channel.h"
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define REQUEST_MAX_BYTES 4096
#define TIMEOUT_SEC       5
#define CONTENT_TYPE      "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct metrics_server {
    struct evhttp *http;
    int (*expose)(struct evbuffer *out, void *userdata);
    void *userdata;
};

static void answer(struct evhttp_request *request, void *userdata)
{
    struct metrics_server *s = userdata;
    struct evbuffer *out = evbuffer_new();
    int r = out ? s->expose(out, s->userdata) : -ENOMEM;
    if (r < 0) {
        log_warning("Metrics could not be told: %s", strerror(-r));
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
    } else {
        evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", CONTENT_TYPE);
        evhttp_send_reply(request, HTTP_OK, NULL, out);
    }
    if (out)
        evbuffer_free(out);
}

static bool is_local(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return false;
    switch (a.ss_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return ntohl(((struct sockaddr_in *)&a)->sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&a)->sin6_addr);
    default:
        return false;
    }
}

/* What nobody authenticates is for this host only. */
static int refuse_far(const char *address, struct mig_error *err)
{
    int r =
        mig_error_set(err, MIG_ERR_CONFIG, 0, "Metrics are not told to other hosts, and %s would reach them",
                      *address ? address : "the socket of the service manager");
    mig_error_hint(err, "Use unix:PATH, 127.0.0.1:PORT or [::1]:PORT, and a scraper or a proxy on this host");
    return r;
}

static int listen_at(const char *address, int *ret, struct mig_error *err)
{
    _cleanup_free_ char *bound = NULL;
    struct address parsed;
    int r = address_parse(&parsed, address, err);
    if (r < 0)
        return r;
    if (!parsed.is_unix && strcmp(parsed.host, "localhost") != 0 && strncmp(parsed.host, "127.", 4) != 0 &&
        strcmp(parsed.host, "::1") != 0)
        return refuse_far(address, err);
    return channel_listen(ret, &bound, address, err);
}

int metrics_server_new(struct metrics_server **ret, struct loop *loop, const char *address, int fd,
                       int (*expose)(struct evbuffer *out, void *userdata), void *userdata,
                       struct mig_error *err)
{
    _cleanup_close_ int listener = fd;
    int r = listener < 0 ? listen_at(address, &listener, err) : 0;
    if (r < 0)
        return r;
    if (!is_local(listener))
        return refuse_far(fd >= 0 ? "" : address, err);
    fd_set_nonblock(listener, true);
    struct metrics_server *s = calloc(1, sizeof *s);
    struct evhttp *http = s ? evhttp_new(loop_base(loop)) : NULL;
    if (!http || evhttp_accept_socket(http, listener) < 0 || evhttp_set_cb(http, "/metrics", answer, s) < 0) {
        if (http)
            evhttp_free(http);
        free(s);
        return mig_error_oom(err);
    }
    TAKE_FD(listener); /* evhttp closes it */
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(http, REQUEST_MAX_BYTES);
    evhttp_set_max_body_size(http, 0);
    evhttp_set_timeout(http, TIMEOUT_SEC);
    *s = (struct metrics_server){.http = http, .expose = expose, .userdata = userdata};
    *ret = s;
    return 0;
}

struct metrics_server *metrics_server_free(struct metrics_server *s)
{
    if (s)
        evhttp_free(s->http);
    free(s);
    return NULL;
}
