/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel that encrypts.
 *
 * Where the kernel encrypts (kTLS) what is sent goes the way of a TCP channel, sendfile included. Nobody but
 * us minds there how much one key encrypts, and it cannot be renewed: OpenSSL 3.0 sends a KeyUpdate and tells
 * the kernel nothing of the new key (Linux would take it, since 6.14). So the connection is made anew. Else
 * OpenSSL makes records of 16 KiB out of the caller's memory, many of them are collected, and the socket gets
 * them in one call: a call per record would cost as much as encrypting it. Receiving is always OpenSSL's:
 * it takes as much from the socket as there is and puts the decrypted bytes into place.
 *
 * An SSL is for one thread at a time, a channel is for a sender and a receiver: every call of OpenSSL is made
 * under the lock, and none of them waits, since the socket does not block. All waiting is done outside.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "base/parse.h"
#include "transport/channel-private.h"
#include "transport/tls.h"
#include <endian.h>
#include <limits.h>
#include <linux/tls.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#define RECORD_BYTES  16384u /* of TLS 1.3, the largest */
#define RECORD_ROOM   (RECORD_BYTES + 512u)
#define COLLECT_BYTES (256u << 10)                      /* measured: as good as more, and better than less */
#define OUT_BYTES     (COLLECT_BYTES + 2 * RECORD_ROOM) /* a receiver may have to answer a key update */
/* RFC 8446, 5.5: an AES-GCM key is good for 2^24.5 full records. What is left above 2^24 is for a connection
 * that must not break now: a blackout of 100 GiB. */
#define RECORDS_PER_KEY     (UINT64_C(1) << 24)
#define RECORDS_PER_KEY_MAX UINT64_C(23726566)
#define COUNT_BYTES         (UINT64_C(64) << 20)  /* from one look at the kernel's count to the next */
#define PARTIAL_IN_BYTES    (RECORD_BYTES + 512u) /* that OpenSSL may hold of a record */

struct tls_channel {
    struct channel base;  /* first */
    pthread_mutex_t lock; /* of ssl and out */
    SSL *ssl;
    bool kernel_sends;
    bool keys_end;                     /* the key cannot be renewed: so it is where the kernel sends */
    bool broken;                       /* nothing more may be said, not even goodbye */
    uint64_t records, records_per_key; /* sender's thread */
    uint64_t count_at_bytes;           /* the same: sent_bytes of the next look at the kernel's count */
    uint8_t *out;                      /* records that wait: from out_sent to out_filled */
    size_t out_sent, out_filled;
    uint8_t *stage; /* RECORD_BYTES; sender's thread: small pieces become one record */
};

static struct tls_channel *tls_of(const struct channel *c)
{
    return (struct tls_channel *)c;
}

/* ---- what OpenSSL writes ends in out ---- */

static int out_write(BIO *bio, const char *data, size_t size, size_t *ret_written)
{
    struct tls_channel *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->out_filled + size > OUT_BYTES) {
        BIO_set_retry_write(bio);
        return 0;
    }
    memcpy(t->out + t->out_filled, data, size);
    t->out_filled += size;
    *ret_written = size;
    return 1;
}

static long out_ctrl(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *out_method;
static void make_out_method(void)
{
    out_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "migd records");
    if (out_method) {
        BIO_meth_set_write_ex(out_method, out_write);
        BIO_meth_set_ctrl(out_method, out_ctrl);
    }
}

static int set_out(struct tls_channel *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_out_method);
    t->out = malloc(OUT_BYTES);
    t->stage = malloc(RECORD_BYTES);
    BIO *bio = out_method && t->out && t->stage ? BIO_new(out_method) : NULL;
    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set0_wbio(t->ssl, bio);
    return 0;
}

/* ---- sending ---- */

/* Lock held. 0 when all is gone, -EAGAIN. */
static int flush_locked(struct tls_channel *t, bool more)
{
    while (t->out_sent < t->out_filled) {
        ssize_t n = send(t->base.fd, t->out + t->out_sent, t->out_filled - t->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -EAGAIN : channel_socket_errno(errno);
        t->out_sent += (size_t)n;
    }
    t->out_sent = t->out_filled = 0;
    return 0;
}

/* Until no more than so much waits. */
static int flush_down_to(struct tls_channel *t, size_t size, bool more)
{
    for (;;) {
        pthread_mutex_lock(&t->lock);
        int r = t->out_filled > size ? flush_locked(t, more) : 0;
        pthread_mutex_unlock(&t->lock);
        if (r == -EAGAIN)
            r = channel_wait_writable(&t->base);
        else
            return r;
        if (r < 0)
            return r;
    }
}

/* What OpenSSL says of a call that failed. Lock held. -EAGAIN: again when the socket has more. -EINPROGRESS:
 * when what waits to be sent has gone. */
static int failure(struct tls_channel *t, int result)
{
    int e = errno;
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        return -EINPROGRESS;
    case SSL_ERROR_ZERO_RETURN:
        return -EPIPE;
    case SSL_ERROR_SYSCALL:
        t->broken = true;
        return e ? channel_socket_errno(e) : -ECONNRESET;
    default:
        t->broken = true;
        /* The connection was cut where no goodbye had been said. */
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return -ECONNRESET;
        return -EBADMSG; /* somebody has changed what was sent */
    }
}

/* As if the kernel did it. */
static int check_own_key(struct tls_channel *t)
{
    if (!t->keys_end || !t->base.renewable || t->records < t->records_per_key)
        return 0;
    int r = flush_down_to(t, 0, false);
    return r < 0 ? r : -EKEYEXPIRED;
}

static int send_record(struct tls_channel *t, const void *data, size_t size)
{
    size_t written = 0;
    int r = flush_down_to(t, COLLECT_BYTES, true);
    if (r < 0)
        return r;
    pthread_mutex_lock(&t->lock);
    ERR_clear_error();
    if (++t->records % t->records_per_key == 0 && !t->keys_end)
        SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED); /* goes out before the record */
    int ok = SSL_write_ex(t->ssl, data, size, &written);
    r = ok ? 0 : failure(t, ok);
    pthread_mutex_unlock(&t->lock);
    if (r == 0)
        atomic_fetch_add_explicit(&t->base.sent_bytes, size, memory_order_relaxed);
    /* There is room for a record after each flush. */
    return r == -EAGAIN || r == -EINPROGRESS ? -EIO : r;
}

/* The front of the pieces that makes one record: in place when the first piece is long enough, else
 * collected. */
static const void *next_record(struct tls_channel *t, struct iovec **iov, int *iovcnt, size_t *ret_size)
{
    if ((*iov)->iov_len >= RECORD_BYTES || *iovcnt == 1) {
        const void *data = (*iov)->iov_base;
        *ret_size = MIN((*iov)->iov_len, (size_t)RECORD_BYTES);
        channel_consume(iov, iovcnt, *ret_size);
        return data;
    }
    size_t size = 0;
    while (*iovcnt > 0 && size < RECORD_BYTES && (size == 0 || (*iov)->iov_len < RECORD_BYTES)) {
        size_t now = MIN((*iov)->iov_len, RECORD_BYTES - size);
        memcpy(t->stage + size, (*iov)->iov_base, now);
        size += now;
        channel_consume(iov, iovcnt, now);
    }
    *ret_size = size;
    return t->stage;
}

/* ---- the key that the kernel encrypts with ---- */

/* The kernel may end a record early, so bytes do not tell. Its structs of all ciphers end with the number of
 * the next record. Where it does not say, every page is taken for one. */
static uint64_t kernel_records(const struct tls_channel *t)
{
    union {
        struct tls_crypto_info info;
        struct tls12_crypto_info_aes_gcm_128 aes_128;
        struct tls12_crypto_info_aes_gcm_256 aes_256;
        struct tls12_crypto_info_chacha20_poly1305 chacha;
        uint8_t bytes[64];
    } u;
    socklen_t size = sizeof u.info;
    uint64_t number = 0;
    if (getsockopt(t->base.fd, SOL_TLS, TLS_TX, &u, &size) == 0) {
        size = u.info.cipher_type == TLS_CIPHER_AES_GCM_128   ? sizeof u.aes_128
               : u.info.cipher_type == TLS_CIPHER_AES_GCM_256 ? sizeof u.aes_256
                                                              : sizeof u.chacha;
        if (getsockopt(t->base.fd, SOL_TLS, TLS_TX, &u, &size) == 0) {
            memcpy(&number, u.bytes + size - sizeof number, sizeof number);
            explicit_bzero(&u, sizeof u);
            return be64toh(number);
        }
    }
    return t->base.sent_bytes / 4096;
}

static int check_kernel_key(struct tls_channel *t)
{
    if (t->base.sent_bytes >= t->count_at_bytes) {
        t->records = kernel_records(t);
        t->count_at_bytes =
            t->base.sent_bytes + MIN(COUNT_BYTES, t->records_per_key * (uint64_t)RECORD_BYTES / 4);
    }
    return t->records < (t->base.renewable ? t->records_per_key : RECORDS_PER_KEY_MAX) ? 0 : -EKEYEXPIRED;
}

static int tls_sendv(struct channel *c, struct iovec *iov, int iovcnt)
{
    struct tls_channel *t = tls_of(c);
    if (t->kernel_sends) {
        int r = check_kernel_key(t);
        return r < 0 ? r : channel_socket_sendv(c, iov, iovcnt);
    }
    bool more = c->send_more;
    c->send_more = false;
    channel_consume(&iov, &iovcnt, 0);
    int expired = check_own_key(t);
    if (expired < 0)
        return expired;
    while (iovcnt > 0) {
        size_t size;
        const void *data = next_record(t, &iov, &iovcnt, &size);
        int r = send_record(t, data, size);
        if (r < 0)
            return r;
    }
    return more ? 0 : flush_down_to(t, 0, false);
}

static int tls_send_file(struct channel *c, int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
    struct tls_channel *t = tls_of(c);
    if (!t->kernel_sends)
        return -EOPNOTSUPP;
    int r = check_kernel_key(t);
    return r < 0 ? r : channel_socket_send_file(c, fd, offset_bytes, size_bytes);
}

/* ---- receiving ---- */

/* OpenSSL has something to say, the answer to a key update, before it reads on. */
static int make_room(struct tls_channel *t)
{
    return t->kernel_sends ? channel_wait_writable(&t->base) : flush_down_to(t, 0, false);
}

/* How much is sure to come through the socket: OpenSSL may hold a part of a record already. */
static uint64_t sure_to_come(const struct iovec *iov, int iovcnt)
{
    uint64_t wanted = 0;
    for (int i = 0; i < iovcnt && wanted < CHANNEL_LOW_MARK_MAX + PARTIAL_IN_BYTES; i++)
        wanted += iov[i].iov_len;
    return wanted > PARTIAL_IN_BYTES ? wanted - PARTIAL_IN_BYTES : 0;
}

static int recv_pieces(struct tls_channel *t, struct iovec *iov, int iovcnt, int *mark)
{
    bool started = false;
    channel_consume(&iov, &iovcnt, 0);
    while (iovcnt > 0) {
        size_t n = 0;
        pthread_mutex_lock(&t->lock);
        ERR_clear_error();
        int ok = SSL_read_ex(t->ssl, iov->iov_base, iov->iov_len, &n), r = ok ? 0 : failure(t, ok);
        int answered = t->out_filled > 0 && !t->kernel_sends ? flush_locked(t, false) : 0;
        pthread_mutex_unlock(&t->lock);
        if (answered < 0 && answered != -EAGAIN)
            return answered;
        if (r == -EAGAIN)
            r = channel_wait_for_more(&t->base, mark, sure_to_come(iov, iovcnt));
        else if (r == -EINPROGRESS)
            r = make_room(t);
        if (r < 0)
            return r == -EPIPE && started ? -ECONNRESET : r;
        started |= n > 0;
        atomic_fetch_add_explicit(&t->base.received_bytes, n, memory_order_relaxed);
        channel_consume(&iov, &iovcnt, n);
    }
    return 0;
}

static int tls_recvv(struct channel *c, struct iovec *iov, int iovcnt)
{
    int mark = 1, r = recv_pieces(tls_of(c), iov, iovcnt, &mark);
    if (mark != 1)
        channel_set_low_mark(c, &mark, 0);
    return r;
}

/* OpenSSL may hold a record that nobody has taken yet, and what the socket holds need not be a whole one. */
static int tls_wait_readable(struct channel *c, uint64_t timeout_usec)
{
    struct tls_channel *t = tls_of(c);
    uint64_t until = deadline_in(timeout_usec);
    for (;;) {
        char byte;
        size_t n;
        pthread_mutex_lock(&t->lock);
        ERR_clear_error();
        int ok = SSL_peek_ex(t->ssl, &byte, 1, &n), r = ok ? 0 : failure(t, ok);
        pthread_mutex_unlock(&t->lock);
        if (r == -EINPROGRESS) {
            r = make_room(t);
            if (r < 0)
                return r;
            continue;
        }
        if (r != -EAGAIN)
            return 0; /* bytes, the end, or a failure that the next call tells */
        uint64_t now = now_usec();
        r = channel_wait_readable(c, until == USEC_INFINITY ? until : until > now ? until - now : 0);
        if (r < 0)
            return r;
    }
}

/* ---- the end ---- */

/* The peer can tell an end in good order from a cut by this; it is no misfortune when it does not get out. */
static void say_goodbye(struct tls_channel *t)
{
    pthread_mutex_lock(&t->lock);
    if (!t->broken) {
        ERR_clear_error();
        SSL_shutdown(t->ssl);
        if (!t->kernel_sends)
            flush_locked(t, false);
        t->broken = true;
    }
    pthread_mutex_unlock(&t->lock);
}

static void tls_shutdown(struct channel *c)
{
    say_goodbye(tls_of(c));
    shutdown(c->fd, SHUT_RDWR);
}

static void tls_destroy(struct channel *c)
{
    struct tls_channel *t = tls_of(c);
    say_goodbye(t);
    SSL_free(t->ssl);
    pthread_mutex_destroy(&t->lock);
    close_fd(&c->fd);
    free(t->out);
    free(t->stage);
    free(t);
}

static const struct channel_ops tls_ops = {
    .kind = "tls",
    .writes_memory = true,
    .sendv = tls_sendv,
    .send_file = tls_send_file,
    .recvv = tls_recvv,
    .wait_readable = tls_wait_readable,
    .shutdown = tls_shutdown,
    .destroy = tls_destroy,
};

/* A test does not send for hours, and may do without such a kernel. */
static void limit_key(struct tls_channel *t)
{
    t->records_per_key = RECORDS_PER_KEY;
    t->keys_end = t->kernel_sends;
#ifdef FAULT_POINTS
    const char *text = getenv("MIGD_TLS_RECORDS_PER_KEY");
    uint64_t records;
    if (text && parse_unsigned(text, 1u << 24, &records) == 0 && records > 0)
        t->records_per_key = records;
    t->keys_end |= getenv("MIGD_TLS_KEYS_END") != NULL;
#endif
}

int channel_tls_new(struct channel **c, SSL *ssl)
{
    struct tls_channel *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->ssl = ssl;
    t->kernel_sends = BIO_get_ktls_send(SSL_get_wbio(ssl));
    limit_key(t);
    int r = t->kernel_sends ? 0 : set_out(t);
    if (r < 0) {
        free(t->out);
        free(t->stage);
        free(t);
        return r;
    }
    pthread_mutex_init(&t->lock, NULL);
    t->base = **c;
    t->base.ops = &tls_ops;
    (*c)->fd = -1;
    channel_free(*c);
    *c = &t->base;
    return 0;
}

void channel_tls_renew_keys_every(struct channel *c, uint64_t records)
{
    tls_of(c)->records_per_key = records;
}

X509 *channel_tls_certificate(const struct channel *c)
{
    return c->ops == &tls_ops ? SSL_get0_peer_certificate(tls_of(c)->ssl) : NULL;
}

const char *channel_tls_cipher(const struct channel *c)
{
    return c->ops == &tls_ops ? SSL_get_cipher_name(tls_of(c)->ssl) : "";
}

bool channel_tls_in_kernel(const struct channel *c)
{
    return c->ops == &tls_ops && tls_of(c)->kernel_sends;
}
