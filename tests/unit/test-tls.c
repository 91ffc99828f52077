/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS between two hosts, over the loopback: who may talk with whom, what both sides read when they may not
 * (printed as a table), and that the channel behaves as every other one. Certificates are made by
 * contrib/make-test-ca.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "config/config.h"
#include "base/json.h"
#include "transport/frame.h"
#include "transport/security.h"
#include "transport/tls.h"
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#define DEADLINE_USEC (30 * USEC_PER_SEC)

static char scratch[64];

static void run(const char *format, ...) _printf_(1, 2);
static void run(const char *format, ...)
{
    char command[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* ---- two hosts ---- */

static struct security *host(const char *folder, const char *allowed, struct mig_error *err)
{
    struct security *s;
    struct config c;
    char path[128] = "";
    config_init(&c);
    if (folder)
        snprintf(path, sizeof path, "%s/%s", scratch, folder);
    assert_int_equal(config_set(&c, "Peer", "Security", folder ? "tls" : "plain", "test", NULL), 0);
    assert_int_equal(config_set(&c, "Peer", "CertificateFolder", path, "test", NULL), 0);
    assert_int_equal(config_set(&c, "Peer", "AllowedPeers", allowed ? allowed : "", "test", NULL), 0);
    assert_int_equal(security_new(&s), 0);
    security_configure(s, &c, err);
    return s;
}

struct meeting {
    struct security *server_security, *client_security;
    const char *careless; /* folder of a server that does not look at its certificate first */
    const char *other_name;
    int listener;
    char address[64]; /* as the client asks for it */
    int server_result, client_result;
    struct mig_error server_error, client_error;
    struct channel *server, *client;
};

static int serve_carelessly(struct meeting *m)
{
    struct tls_credentials c;
    struct tls_files files = {0};
    snprintf(files.folder, sizeof files.folder, "%s/%s", scratch, m->careless);
    int r = tls_credentials_load(&c, &files, true, &m->server_error);
    struct tls_verify v = {.ca_path = c.ca};
    if (r == 0)
        r = tls_handshake(&m->server, c.context, true, &v, &m->server_error);
    tls_credentials_clear(&c);
    return r;
}

/* As the greeter does it. */
static void *serve(void *userdata)
{
    struct meeting *m = userdata;
    if (fd_wait(m->listener, POLLIN, -1, deadline_in(DEADLINE_USEC)) <= 0)
        return NULL;
    int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) /* nobody came */
        return NULL;
    assert_int_equal(channel_from_socket(&m->server, fd, "the client", -1), 0);
    m->server->stall_timeout_usec = DEADLINE_USEC;
    m->server->deadline_usec = deadline_in(DEADLINE_USEC);
    m->server_result =
        m->careless ? serve_carelessly(m) : security_accept(m->server_security, &m->server, &m->server_error);
    m->server->deadline_usec = 0;
    if (m->server_result == -EPROTONOSUPPORT || m->server_result == -ENOKEY) {
        struct frame_stream s;
        frame_stream_init(&s, m->server, true);
        struct json_object *o = json_object_new_object();
        json_object_object_add(o, "error", json_object_new_string("PeerRefused"));
        json_object_object_add(o, "text", json_object_new_string(m->server_error.message));
        frame_send_json(&s, WIRE_HELLO, o, NULL);
        json_object_put(o);
    }
    if (m->server_result < 0) { /* in peace */
        char buf[4096];
        shutdown(m->server->fd, SHUT_WR);
        while (fd_wait(m->server->fd, POLLIN, -1, deadline_in(DEADLINE_USEC)) > 0 &&
               recv(m->server->fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
            ;
        m->server = channel_free(m->server);
    }
    return NULL;
}

/* In plain text the client learns of the server's mind by its answer to HELLO. */
static void hello_plainly(struct meeting *m)
{
    struct frame_stream s;
    struct wire_header h;
    struct json_object *o = json_object_new_object(), *text;
    frame_stream_init(&s, m->client, true);
    frame_send_json(&s, WIRE_HELLO, o, NULL);
    json_object_put(o);
    o = NULL;
    if (!security_is_tls(m->server_security))
        return;
    if (frame_recv(&s, &h, &m->client_error) < 0 || frame_recv_json(&s, &h, &o, &m->client_error) < 0)
        return;
    if (json_object_object_get_ex(o, "text", &text))
        m->client_result = mig_error_set(&m->client_error, MIG_ERR_PEER_REFUSED, 0, "The peer refused: %s",
                                         json_object_get_string(text));
    json_object_put(o);
}

static void meet(struct meeting *m, const char *name)
{
    _cleanup_free_ char *bound = NULL;
    pthread_t thread;
    assert_int_equal(channel_listen(&m->listener, &bound, "127.0.0.1:0", NULL), 0);
    snprintf(m->address, sizeof m->address, "%s%s", name, strrchr(bound, ':'));
    assert_int_equal(pthread_create(&thread, NULL, serve, m), 0);
    m->client_result = security_connect(m->client_security, &m->client, m->address, m->other_name,
                                        DEADLINE_USEC, -1, &m->client_error);
    if (m->client_result == 0 && !security_is_tls(m->client_security))
        hello_plainly(m);
    if (m->client_result < 0)
        m->client = channel_free(m->client);
    if (m->client_error.code == MIG_ERR_CREDENTIALS) /* it did not come at all */
        shutdown(m->listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close_fd(&m->listener);
}

static void part(struct meeting *m)
{
    m->client = channel_free(m->client);
    m->server = channel_free(m->server);
    m->client_security = security_free(m->client_security);
    m->server_security = security_free(m->server_security);
}

/* ---- who may talk with whom ---- */

struct encounter {
    const char *title;
    const char *client, *server,
        *name; /* folders; NULL: plain. The name that is asked for; NULL: 127.0.0.1 */
    const char *allowed;
    const char *client_says, *server_says; /* a part of it; NULL: nothing; "": anything */
    int client_errno;
};

static const struct encounter encounters[] = {
    {"one CA, right name", "good/host-a", "good/host-b", NULL, NULL, NULL, NULL, 0},
    {"name in the list of peers", "good/host-a", "good/host-b", NULL, "other host-a", NULL, NULL, 0},
    {"address in the list", "good/host-a", "good/host-b", NULL, "10.0.0.?", NULL, NULL, 0},
    {"subject in the list", "good/host-a", "good/host-b", NULL, "x \"O=migd test,CN=host-?\"", NULL, NULL, 0},
    {"subject the other way round", "good/host-a", "good/host-b", NULL, "CN=host-a,*", NULL, NULL, 0},
    {"plain on both sides", NULL, NULL, NULL, NULL, NULL, NULL, 0},
    {"not on the list", "good/host-a", "good/host-b", NULL, "host-b *.example host-aa",
     "not among AllowedPeers", "not among AllowedPeers", EACCES},
    {"wrong host", "good/host-b", "good/host-a", NULL, NULL, "it is for host-a, 10.0.0.1, not for 127.0.0.1",
     "not for the name by which it was asked", EKEYREJECTED},
    {"server's certificate expired", "good/host-a", "old/host-b", NULL, NULL, "answers TLS in plain text",
     "expired on 2021-", EPROTONOSUPPORT},
    {"client's certificate expired", "old/host-a", "good/host-b", NULL, NULL, "expired on 2021-", NULL,
     ENOKEY},
    {"server's not yet valid", "good/host-a", "new/host-b", NULL, NULL, "answers TLS in plain text",
     "not valid before 2090-", EPROTONOSUPPORT},
    {"server shows one that expired", "good/host-a", "!old/host-b", NULL, NULL, "it expired on 2021-",
     "has expired by its clock", EKEYREJECTED},
    {"server shows one of the future", "good/host-a", "!new/host-b", NULL, NULL,
     "it is not valid before 2090-", "not valid yet by its clock", EKEYREJECTED},
    {"client's not yet valid", "new/host-a", "good/host-b", NULL, NULL, "is not valid before 2090-", NULL,
     ENOKEY},
    {"server of an unknown CA", "good/host-a", "alien/host-b", NULL, NULL,
     "no CA that this host believes has signed it", "", EKEYREJECTED},
    {"no certificate at the client", "empty", "good/host-b", NULL, NULL, "this host has no certificate", NULL,
     ENOKEY},
    {"no certificate at the server", "good/host-a", "empty", NULL, NULL, "answers TLS in plain text",
     "this host has no certificate", EPROTONOSUPPORT},
    {"no CA at the client", "no-ca", "good/host-b", NULL, NULL, "there is no certificate of a CA", NULL,
     ENOKEY},
    {"key is a folder", "odd-key", "good/host-b", NULL, NULL, "cannot read the key|the key", NULL, ENOKEY},
    {"key of another", "other-key", "good/host-b", NULL, NULL, "does not belong to the certificate", NULL,
     ENOKEY},
    {"certificate is noise", "noise", "good/host-b", NULL, NULL, "is damaged or of another kind", NULL,
     ENOKEY},
    {"TLS meets plain", "good/host-a", NULL, NULL, NULL,
     "answers TLS in plain text: this host takes connections in plain", "this one came with TLS",
     EPROTONOSUPPORT},
    {"plain meets TLS", NULL, "good/host-b", NULL, NULL, "takes connections with TLS only",
     "this one came in plain text", ECONNREFUSED},
};

static bool says(const struct mig_error *e, const char *parts)
{
    if (!parts)
        return !mig_error_is_set(e);
    char copy[200];
    snprintf(copy, sizeof copy, "%s", parts);
    if (!mig_error_is_set(e))
        return false;
    if (!*parts)
        return true;
    for (char *p = copy, *part; (part = strsep(&p, "|"));)
        if (strstr(e->message, part))
            return true;
    return false;
}

static void print_row(const char *who, const struct mig_error *e)
{
    if (mig_error_is_set(e))
        printf("#   %s: %s\n#           -> %s\n", who, e->message, e->hint);
    else
        printf("#   %s: -\n", who);
}

static void test_encounters(void **state)
{
    for (size_t i = 0; i < ELEMENTS(encounters); i++) {
        const struct encounter *e = &encounters[i];
        struct meeting m = {.listener = -1};
        struct mig_error ignored;
        m.client_security = host(e->client, NULL, &ignored);
        m.careless = e->server && *e->server == '!' ? e->server + 1 : NULL;
        m.server_security = host(m.careless ? "good/host-b" : e->server, e->allowed, &ignored);
        meet(&m, e->name ? e->name : "127.0.0.1");
        printf("# %s\n", e->title);
        print_row("client", &m.client_error);
        print_row("server", &m.server_error);
        fflush(stdout);
        if (!says(&m.client_error, e->client_says) || !says(&m.server_error, e->server_says) ||
            (e->client_says && m.client_error.err != e->client_errno))
            fail_msg("%s: expected \"%s\" (%d) and \"%s\"", e->title, e->client_says, e->client_errno,
                     e->server_says);
        assert_int_equal(m.client_result == 0, !e->client_says);
        if (e->client_says)
            assert_true(m.client_error.hint[0] || m.client_error.code == MIG_ERR_PEER_REFUSED);
        if (e->server_says)
            assert_true(m.server_error.hint[0] != '\0');
        if (!e->client_says && e->client) {
            char name[128];
            assert_string_equal(m.client->ops->kind, "tls");
            assert_string_equal(m.server->ops->kind, "tls");
            security_peer_name(m.client, name, sizeof name);
            assert_string_equal(name, "host-b");
            security_peer_name(m.server, name, sizeof name);
            assert_string_equal(name, "host-a");
        }
        part(&m);
    }
}

/* Somebody who does not look at his own certificate first, or has none, or speaks what is out of date. */
static void meet_stranger(const char *folder, int version, const char *server_says, const char *client_says)
{
    struct meeting m = {.listener = -1};
    struct mig_error e = MIG_ERROR_INIT, ignored;
    _cleanup_free_ char *bound = NULL;
    pthread_t thread;
    m.server_security = host("good/host-b", NULL, &ignored);
    assert_int_equal(channel_listen(&m.listener, &bound, "127.0.0.1:0", NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, &m), 0);
    struct tls_credentials c = {0};
    struct tls_files files = {0};
    snprintf(files.folder, sizeof files.folder, "%s/%s", scratch, folder ? folder : "good/host-a");
    assert_int_equal(tls_credentials_load(&c, &files, false, &e), 0);
    if (!folder) {
        SSL_CTX_free(c.context);
        c.context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(c.context, version);
        SSL_CTX_load_verify_file(c.context, c.ca);
        tls_verify_install(c.context);
    }
    struct tls_verify v = {.host = "127.0.0.1", .ca_path = c.ca};
    /* Of another CA, who believes everybody. */
    if (folder && strncmp(folder, "alien", 5) == 0) {
        char ca[128];
        snprintf(ca, sizeof ca, "%s/good/ca-cert.pem", scratch);
        assert_int_equal(SSL_CTX_load_verify_file(c.context, ca), 1);
    }
    assert_int_equal(channel_connect(&m.client, bound, DEADLINE_USEC, -1, NULL), 0);
    m.client_result = tls_handshake(&m.client, c.context, false, &v, &m.client_error);
    m.client = channel_free(m.client);
    pthread_join(thread, NULL);
    printf("# a stranger (%s)\n", folder ? folder : version == TLS1_3_VERSION ? "no certificate" : "TLS 1.2");
    print_row("client", &m.client_error);
    print_row("server", &m.server_error);
    fflush(stdout);
    assert_true(m.client_result < 0 && m.server_result < 0);
    assert_true(says(&m.server_error, server_says));
    assert_true(says(&m.client_error, client_says));
    tls_credentials_clear(&c);
    close_fd(&m.listener);
    part(&m);
}

static void test_strangers(void **state)
{
    meet_stranger("old/host-a", 0, "it expired on 2021-", "this host's certificate has expired by its clock");
    meet_stranger("new/host-a", 0, "it is not valid before 2090-", "is not valid yet by its clock");
    meet_stranger("alien/host-a", 0, "no CA that this host believes", "does not know the CA");
    meet_stranger(NULL, TLS1_3_VERSION, "shows no certificate", "wants a certificate and got none");
    meet_stranger(NULL, TLS1_2_VERSION, "handshake with the client failed", "");
}

/* A host that is asked by an address which its certificate does not have, but known by its name. */
static void test_other_name(void **state)
{
    struct mig_error ignored;
    struct meeting m = {.listener = -1, .other_name = "host-a"};
    m.client_security = host("good/host-b", NULL, &ignored);
    m.server_security = host("good/host-a", NULL, &ignored);
    meet(&m, "127.0.0.1");
    assert_int_equal(m.client_result, 0);
    part(&m);
    m = (struct meeting){.listener = -1, .other_name = "host-c"};
    m.client_security = host("good/host-b", NULL, &ignored);
    m.server_security = host("good/host-a", NULL, &ignored);
    meet(&m, "127.0.0.1");
    assert_int_equal(m.client_result, -EKEYREJECTED);
    part(&m);
}

static void test_unreadable(void **state)
{
    if (geteuid() != 0) {
        run("chmod 0 %s/locked/client-key.pem", scratch);
    } else {
        run("chown -R root %s/locked && chmod 755 %s %s/locked && chmod 644 %s/locked/*cert.pem", scratch,
            scratch, scratch, scratch);
        assert_int_equal(seteuid(65534), 0);
    }
    struct mig_error err = MIG_ERROR_INIT;
    struct security *s = host("locked", NULL, &err);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    printf("# unreadable key\n");
    print_row("here", &err);
    assert_int_equal(err.code, MIG_ERR_CREDENTIALS);
    assert_non_null(strstr(err.message, "locked/client-key.pem: Permission denied"));
    assert_true(err.hint[0] != '\0');
    security_free(s);
}

/* A reload that finds broken files leaves what was there; one that finds others takes them. */
static void test_reload(void **state)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct config c;
    char folder[128];
    struct security *s = host("good/host-b", NULL, &err);
    assert_false(mig_error_is_set(&err));
    assert_int_equal(security_check(s, NULL), 0);
    config_init(&c);
    snprintf(folder, sizeof folder, "%s/noise", scratch);
    config_set(&c, "Peer", "CertificateFolder", folder, "test", NULL);
    assert_int_equal(security_configure(s, &c, &err), -ENOKEY);
    assert_int_equal(security_check(s, NULL), 0);
    snprintf(folder, sizeof folder, "%s/old/host-b", scratch);
    config_set(&c, "Peer", "CertificateFolder", folder, "test", NULL);
    assert_int_equal(security_configure(s, &c, &err), -ENOKEY);
    assert_int_equal(security_check(s, &err), -ENOKEY);
    assert_non_null(strstr(err.message, "expired on 2021-"));
    security_free(s);
}

/* The layout of libvirt, and single files. */
static void test_places(void **state)
{
    struct tls_credentials c;
    struct tls_files files = {0};
    struct mig_error err = MIG_ERROR_INIT;
    snprintf(files.folder, sizeof files.folder, "%s/pki/libvirt", scratch);
    for (int server = 0; server < 2; server++) {
        assert_int_equal(tls_credentials_load(&c, &files, server, &err), 0);
        assert_non_null(strstr(c.ca, "pki/libvirt/../CA/cacert.pem"));
        assert_non_null(strstr(c.key, server ? "private/serverkey.pem" : "private/clientkey.pem"));
        tls_credentials_clear(&c);
    }
    files = (struct tls_files){0};
    snprintf(files.ca, sizeof files.ca, "%s/good/ca-cert.pem", scratch);
    snprintf(files.certificate, sizeof files.certificate, "%s/both.pem", scratch);
    assert_int_equal(tls_credentials_load(&c, &files, true, &err), 0);
    tls_credentials_clear(&c);
    snprintf(files.key, sizeof files.key, "%s/nowhere.pem", scratch);
    assert_int_equal(tls_credentials_load(&c, &files, true, &err), -ENOKEY);
    assert_non_null(strstr(err.message, "nowhere.pem: No such file"));
}

/* ---- the channel ---- */

static void pair(struct meeting *m)
{
    struct mig_error ignored;
    *m = (struct meeting){.listener = -1};
    m->client_security = host("good/host-a", NULL, &ignored);
    m->server_security = host("good/host-b", NULL, &ignored);
    meet(m, "127.0.0.1");
    assert_int_equal(m->client_result, 0);
    assert_int_equal(m->server_result, 0);
}

#define BULK (24u << 20)

struct mover {
    struct channel *c;
    uint8_t *data;
    bool send;
    unsigned seed;
    int result;
};

/* In pieces of all sizes, as many as one call takes or one by one. */
static void *move(void *userdata)
{
    struct mover *m = userdata;
    static const size_t sizes[] = {1, 64, 4096, 4096, 16384, 16385, 70000, 262144, 8, 3 << 20};
    struct iovec iov[32];
    unsigned at = m->seed;
    for (size_t done = 0; done < BULK && m->result == 0;) {
        int n = 0;
        for (; n < (int)(at % 31) + 1 && done < BULK; n++, at++) {
            size_t size = MIN(sizes[at * 7 % ELEMENTS(sizes)], BULK - done);
            iov[n] = (struct iovec){m->data + done, size};
            done += size;
        }
        if (m->send)
            m->c->send_more = at % 3 == 0 && done < BULK;
        m->result = m->send ? m->c->ops->sendv(m->c, iov, n) : m->c->ops->recvv(m->c, iov, n);
        if (!m->send && at % 5 == 0 && done < BULK && m->result == 0)
            m->result = m->c->ops->wait_readable(m->c, DEADLINE_USEC);
    }
    return NULL;
}

/* Both directions at once: one thread sends and one receives on either side. */
static void both_directions(uint64_t records_per_key)
{
    struct meeting m;
    pair(&m);
    if (records_per_key && !channel_tls_in_kernel(m.client)) {
        channel_tls_renew_keys_every(m.client, records_per_key);
        channel_tls_renew_keys_every(m.server, records_per_key + 1);
    }
    uint8_t *data[4];
    for (int i = 0; i < 4; i++)
        assert_non_null(data[i] = calloc(1, BULK));
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < BULK; k++)
            data[i][k] = (uint8_t)((k + (size_t)i) * 2654435761u >> 13);
    struct mover movers[4] = {{m.client, data[0], true, 3, 0},
                              {m.server, data[1], true, 11, 0},
                              {m.server, data[2], false, 5, 0},
                              {m.client, data[3], false, 17, 0}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, move, &movers[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(movers[i].result, 0);
    assert_memory_equal(data[0], data[2], BULK);
    assert_memory_equal(data[1], data[3], BULK);
    assert_int_equal(m.client->sent_bytes, BULK);
    assert_int_equal(m.client->received_bytes, BULK);
    for (int i = 0; i < 4; i++)
        free(data[i]);
    part(&m);
}

static void test_both_directions(void **state)
{
    both_directions(0);
    both_directions(7); /* with keys that are renewed again and again */
}

/* The kernel's key cannot be renewed: the connection ends in time, and what was sent until then is whole.
 * Only where the kernel encrypts, as it does in the lab. */
static void test_the_kernels_key_is_used_up(void **state)
{
    enum { RECORDS = 200, FULL = 16384 };
    struct meeting m;
    struct mig_error err = MIG_ERROR_INIT;
    static uint8_t sent[FULL], received[FULL];
    size_t pieces = 0;
    pair(&m);
    if (!channel_tls_in_kernel(m.client)) {
        print_message("this kernel does not encrypt: not tested\n");
        part(&m);
        return;
    }
    channel_tls_renew_keys_every(m.client, RECORDS);
    for (;; pieces++) {
        memset(sent, (int)pieces, sizeof sent);
        struct iovec iov = {sent, sizeof sent};
        int r = m.client->ops->sendv(m.client, &iov, 1);
        if (r == -EKEYEXPIRED) {
            channel_error(m.client, r, &err, "sending");
            break;
        }
        assert_int_equal(r, 0);
        assert_true(pieces < 4 * RECORDS);
        iov = (struct iovec){received, sizeof received};
        assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), 0);
        assert_memory_equal(sent, received, sizeof sent);
        m.client->renewable = pieces >= 2 * RECORDS; /* one that is not to break goes on */
    }
    assert_in_range(pieces, 2 * RECORDS + 1, 2 * RECORDS + RECORDS / 2);
    assert_int_equal(err.code, MIG_ERR_PEER_LOST); /* which is tried again */
    part(&m);
    /* It is the kernel's count, whose records may be small. */
    pair(&m);
    channel_tls_renew_keys_every(m.client, RECORDS);
    m.client->renewable = true;
    size_t bytes = 0;
    for (pieces = 0; pieces < 100 * RECORDS; pieces++, bytes += 5000) {
        struct iovec iov = {sent, 5000};
        if (m.client->ops->sendv(m.client, &iov, 1) == -EKEYEXPIRED)
            break;
        iov = (struct iovec){received, 5000};
        assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), 0);
    }
    assert_in_range(pieces, RECORDS - 10, 2 * RECORDS);
    print_message("%zu records of 5000 bytes\n", pieces);
    part(&m);
}

static void test_endings(void **state)
{
    char buf[16] = "abc";
    struct meeting m;
    struct iovec iov = {buf, 3};
    pair(&m);
    /* Nothing there; a byte; more that OpenSSL has taken with it; a goodbye. */
    assert_int_equal(m.server->ops->wait_readable(m.server, 10000), -ETIMEDOUT);
    assert_int_equal(m.client->ops->sendv(m.client, &iov, 1), 0);
    assert_int_equal(m.server->ops->wait_readable(m.server, DEADLINE_USEC), 0);
    iov = (struct iovec){buf, 1};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), 0);
    assert_int_equal(m.server->ops->wait_readable(m.server, 0), 0);
    m.client = channel_free(m.client);
    iov = (struct iovec){buf, 8};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), -ECONNRESET); /* in the middle */
    iov = (struct iovec){buf, 8};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), -EPIPE);
    part(&m);
    /* Cut without a goodbye: never taken for an end in good order. */
    pair(&m);
    shutdown(m.client->fd, SHUT_WR);
    iov = (struct iovec){buf, 8};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), -ECONNRESET);
    part(&m);
    /* The other thread ends it. */
    pair(&m);
    m.client->ops->shutdown(m.client);
    iov = (struct iovec){buf, 8};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), -EPIPE);
    iov = (struct iovec){buf, 8};
    assert_int_not_equal(m.client->ops->recvv(m.client, &iov, 1), 0);
    part(&m);
    /* Bytes that nobody encrypted. */
    pair(&m);
    assert_int_equal(send(m.client->fd, "\x17\x03\x03\x00\x14xxxxxxxxxxxxxxxxxxxx", 25, MSG_NOSIGNAL), 25);
    iov = (struct iovec){buf, 8};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), -EBADMSG);
    part(&m);
    /* Silence. */
    pair(&m);
    m.server->stall_timeout_usec = 50000;
    iov = (struct iovec){buf, 8};
    assert_int_equal(m.server->ops->recvv(m.server, &iov, 1), -ETIMEDOUT);
    part(&m);
}

/* A peer that accepts and then says nothing, or nonsense. */
static void test_no_handshake(void **state)
{
    struct mig_error err = MIG_ERROR_INIT, ignored;
    _cleanup_free_ char *bound = NULL;
    _cleanup_close_ int listener = -1;
    struct channel *c = NULL;
    struct security *s = host("good/host-a", NULL, &ignored);
    assert_int_equal(channel_listen(&listener, &bound, "127.0.0.1:0", NULL), 0);
    uint64_t start = now_usec();
    assert_int_equal(security_connect(s, &c, bound, NULL, 100000, -1, &err), -ETIMEDOUT);
    assert_int_equal(err.code, MIG_ERR_PEER_TIMEOUT);
    assert_true(now_usec() - start < 20 * USEC_PER_SEC);
    assert_null(c);
    security_free(s);
}

static int make_certificates(void **state)
{
    const char *make = getenv("TOP_SRCDIR");
    char tool[512];
    snprintf(tool, sizeof tool, "%s/contrib/make-test-ca", make ? make : ".");
    snprintf(scratch, sizeof scratch, "/tmp/migd-tls-XXXXXX");
    if (!mkdtemp(scratch))
        return -1;
    run("cd %s && %s good host-a,10.0.0.1 host-b,127.0.0.1 >&2", scratch, tool);
    run("cd %s && %s alien host-a host-b,127.0.0.1 >&2", scratch, tool);
    run("cd %s && cp -r good old && rm -r old/host-? && %s --from 20200101000000Z --until 20210101000000Z "
        "old host-a "
        "host-b,127.0.0.1 >&2",
        scratch, tool);
    run("cd %s && cp -r good new && rm -r new/host-? && %s --from 20900101000000Z --until 20910101000000Z "
        "new host-a "
        "host-b,127.0.0.1 >&2",
        scratch, tool);
    run("cd %s && mkdir empty && cp -r good/host-a no-ca && rm no-ca/ca-cert.pem && cp -r good/host-a locked "
        "&& cp -r "
        "good/host-a odd-key && rm odd-key/client-key.pem && mkdir odd-key/client-key.pem && cp -r "
        "good/host-a other-key "
        "&& cp good/host-b/client-key.pem other-key && cp -r good/host-a noise && head -c 2000 /dev/urandom "
        "> "
        "noise/client-cert.pem && cat good/host-a/server-cert.pem good/host-a/server-key.pem > both.pem",
        scratch);
    run("cd %s && mkdir -p pki/CA pki/libvirt/private && cp good/ca-cert.pem pki/CA/cacert.pem && cd "
        "pki/libvirt && for r "
        "in server client; do cp ../../good/host-a/$r-cert.pem ${r}cert.pem; cp ../../good/host-a/$r-key.pem "
        "private/${r}key.pem; done",
        scratch);
    return 0;
}

static int drop_certificates(void **state)
{
    run("rm -r %s", scratch);
    return 0;
}

/* argv[1]: the tests whose names match it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encounters),   cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_other_name),   cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_reload),       cmocka_unit_test(test_places),
        cmocka_unit_test(test_endings),      cmocka_unit_test(test_both_directions),
        cmocka_unit_test(test_no_handshake), cmocka_unit_test(test_the_kernels_key_is_used_up),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    alarm(600);
    signal(SIGPIPE, SIG_IGN); /* as migd does */
    return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
