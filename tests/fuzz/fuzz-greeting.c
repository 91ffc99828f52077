/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whoever connects to the listener and says anything (frames.h), up to a HELLO that is understood: on a host
 * that takes plain connections, and with CHOICE_TLS on one that takes TLS only, where plain text must be
 * refused and a ClientHello comes as far as the certificate that this host does not have. Questions of peers
 * in doubt are answered from two records; only who shows the token hears what they say.
 *
 * The first byte is looked at in a socket, so there is one, with that byte.
 */
#include "base/log.h"
#include "config/config.h"
#include "frames.h"
#include "fuzz.h"
#include "incoming/greeting.h"
#include "migration/record.h"
#include "transport/security.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID    "0123456789abcdef0123456789abcdef"
#define TOKEN "00112233445566778899aabbccddeeff"

static struct greeter plain, tls;
static char folder[] = "/tmp/migd-fuzz-XXXXXX";

static void remove_records(void)
{
    char path[100];
    record_remove(folder, ID, false);
    record_remove(folder, ID, true);
    snprintf(path, sizeof path, "%s/migrations", folder);
    rmdir(path);
    rmdir(folder);
}

static void make_greeters(void)
{
    char path[100];
    struct record r = {.state = RECORD_COMMITTED, .id = ID, .token = TOKEN, .domain = "dom"};
    struct config c = {.peer_tls = true};
    if (plain.runtime_dir)
        return;
    log_set_max_level(LOG_ERR);
    if (!mkdtemp(folder))
        give_up("no folder");
    atexit(remove_records);
    snprintf(path, sizeof path, "%s/migrations", folder);
    if (mkdir(path, 0700) < 0 || record_write(folder, &r, NULL) < 0)
        give_up("no record");
    r.incoming = true;
    r.state = RECORD_ACTIVE;
    snprintf(c.certificate_folder, sizeof c.certificate_folder, "%s", folder);
    if (record_write(folder, &r, NULL) < 0 || security_new(&tls.security) < 0)
        give_up("no record");
    security_configure(tls.security, &c, NULL); /* there are no certificates */
    plain.runtime_dir = tls.runtime_dir = folder;
}

/* A memory channel that says that it is TCP. */
static struct channel_ops as_tcp;

static int open_socket(struct memory_channel *m)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        give_up("no socket");
    if (m->left_bytes > 0 && write(fds[1], m->data, 1) != 1)
        give_up("no byte");
    close(fds[1]);
    as_tcp = *m->base.ops;
    as_tcp.kind = "tcp";
    m->base.ops = &as_tcp;
    m->base.fd = fds[0];
    return fds[0];
}

static void greet(const struct greeter *g, struct memory_channel *channel, struct frame_stream *stream)
{
    struct json_object *hello = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    const char *token = "";
    int r = greeting_hear(g, stream, &hello, &err);
    if ((r < 0) != mig_error_is_set(&err))
        give_up("an error without words, or words without an error");
    if (r == 0 && g == &tls)
        give_up("a host that takes TLS only heard a HELLO in plain text");
    if (r == 0 && !json_object_is_type(hello, json_type_object))
        give_up("something else than an object is a HELLO");
    if (r == 0) {
        uint64_t before = channel->base.sent_bytes;
        bool answered = greeting_answer(g, stream, hello);
        if (answered != (channel->base.sent_bytes > before))
            give_up("a question without an answer, or an answer without a question");
        json_get_string(hello, "token", &token);
        if (answered && strcmp(token, TOKEN) != 0 && channel->base.sent_bytes - before < 100)
            give_up("somebody without the token was answered");
    }
    json_object_put(hello);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_channel channel;
    struct frame_stream stream;
    int choice = frames_from_input(data, size, &channel, &stream);
    if (choice < 0)
        return 0;
    make_greeters();
    int fd = open_socket(&channel);
    greet((unsigned)choice & CHOICE_TLS ? &tls : &plain, &channel, &stream);
    close(fd);
    return 0;
}
