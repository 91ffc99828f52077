/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the daemon on the bus share: a bus, a real migd on it, calls with their errors, a domain
 * "demo", a device process. */
#pragma once
#include "base/clock.h"
#include "base/fds.h"
#include "migd-bus.h"
#include "migd-errors.h"
#include "migd-process.h"
#include "private-bus.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <cmocka.h>

#define MIB             (UINT64_C(1) << 20)
#define DEMO            MIGD_BUS_DOMAIN_PREFIX "/demo"
#define ERROR(word)     MIGD_ERROR_PREFIX word
#define CALL_LIMIT_USEC (20 * USEC_PER_SEC)

extern struct private_bus private_bus;
extern struct migd_process migd;
extern sd_bus *bus;
extern char dir[]; /* of the test's own */

/* A call whose arguments are appended by sd_bus_message_append. Returns the name of the error, or NULL;
 * *ret_reply may be NULL. */
const char *call(const char *path, const char *interface, const char *method, sd_bus_message **ret_reply,
                 const char *types, ...);
#define domain_call(...)  call(DEMO, MIGD_IFACE_DOMAIN, __VA_ARGS__)
#define manager_call(...) call(MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, __VA_ARGS__)

#define assert_done(name)                                                                                    \
    do {                                                                                                     \
        const char *_n = (name);                                                                             \
        if (_n)                                                                                              \
            fail_msg("refused with %s", _n);                                                                 \
    } while (0)
#define assert_refused(name, wanted)                                                                         \
    do {                                                                                                     \
        const char *_n = (name);                                                                             \
        if (!_n || strcmp(_n, (wanted)) != 0)                                                                \
            fail_msg("%s instead of %s", _n ? _n : "done", (wanted));                                        \
    } while (0)

char *get_string(const char *path, const char *interface, const char *property);
int connect_to(sd_bus **ret, const char *address);
int memory_fd(uint64_t size);
pid_t start_simdev(const char *socket);
/* Of the domain demo, within five seconds. */
bool wait_state(const char *wanted);

/* For cmocka: around a test that uses demo, which must leave no descriptor behind; around the whole group. */
int register_demo(void **state);
int release_demo(void **state);
int setup(void **state);
int teardown(void **state);
/* Starts the bus, runs the group with setup and teardown; the exit status. */
int run_api_tests(const struct CMUnitTest *tests, size_t n);
