/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop/bus.h"
#include "base/clock.h"
#include "base/log.h"
#include "migd-bus.h"
#include <poll.h>
#include <string.h>
#include <systemd/sd-bus.h>

/* Messages handled before other descriptors get their turn. */
#define MESSAGES_PER_TURN 32

struct bus {
    struct loop *loop;
    sd_bus *bus;
    struct loop_io *io;
    struct loop_timer *timer;
    uint64_t armed_usec; /* absolute; UINT64_MAX: not armed */
};

/* Nothing more is asked of the bus; what runs gets the chance to end in good order. */
static void lost(struct bus *b, int error)
{
    log_error("Lost the connection to the message bus (%s); ending, and coming back when the service manager "
              "starts migd again",
              strerror(-error));
    b->io = loop_io_free(b->io);
    b->timer = loop_timer_free(b->timer);
    loop_set_prepare(b->loop, NULL, NULL);
    loop_terminate(b->loop, EXIT_FAILURE);
}

static void process(struct bus *b)
{
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        int r = sd_bus_process(b->bus, NULL);
        if (r < 0)
            lost(b, r);
        if (r <= 0)
            return;
    }
}

static void on_io(int fd, void *userdata)
{
    process(userdata);
}

static void on_timer(void *userdata)
{
    struct bus *b = userdata;
    b->armed_usec = UINT64_MAX;
    process(b);
}

static void prepare(void *userdata)
{
    struct bus *b = userdata;
    int events = sd_bus_get_events(b->bus);
    if (events < 0) {
        lost(b, events);
        return;
    }
    loop_io_want_write(b->io, events & POLLOUT);
    uint64_t until = UINT64_MAX;
    if (sd_bus_get_timeout(b->bus, &until) < 0)
        until = UINT64_MAX;
    if (until == b->armed_usec)
        return;
    b->armed_usec = until;
    uint64_t now = now_usec();
    loop_timer_arm(b->timer, until == UINT64_MAX ? UINT64_MAX : until > now ? until - now : 0);
}

static int connect_to(sd_bus **ret, const char *address)
{
    if (!address)
        return sd_bus_open_system(ret);
    _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(bus, true);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(bus);
    return 0;
}

int bus_new(struct bus **ret, struct loop *l, const char *address, struct mig_error *err)
{
    _cleanup_(bus_freep) struct bus *b = calloc(1, sizeof *b);
    if (!b)
        return mig_error_oom(err);
    b->loop = l;
    b->armed_usec = UINT64_MAX;
    const char *unique;
    int r = connect_to(&b->bus, address);
    if (r >= 0)
        r = sd_bus_get_unique_name(b->bus, &unique);
    if (r < 0) {
        r = mig_error_set(err, MIG_ERR_FAILED, -r, "cannot connect to the %s: %s",
                          address ? address : "system bus", strerror(-r));
        mig_error_hint(err, "is dbus running? " MIGD_ENV_BUS_ADDRESS " names another bus");
        return r;
    }
    r = loop_io_new(&b->io, l, sd_bus_get_fd(b->bus), on_io, b);
    if (r == 0)
        r = loop_timer_new(&b->timer, l, on_timer, b);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "cannot watch the message bus: %s", strerror(-r));
    loop_set_prepare(l, prepare, b);
    *ret = TAKE_PTR(b);
    return 0;
}

struct sd_bus *bus_sd(struct bus *b)
{
    return b->bus;
}

struct bus *bus_free(struct bus *b)
{
    if (!b)
        return NULL;
    loop_set_prepare(b->loop, NULL, NULL);
    loop_io_free(b->io);
    loop_timer_free(b->timer);
    sd_bus_flush_close_unref(b->bus);
    free(b);
    return NULL;
}
