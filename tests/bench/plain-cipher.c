/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The limit that a transfer by TLS is measured against: memory of one file to another over loopback TCP, by
 * nothing but AES-128-GCM and the socket. Each of N connections, with a thread on each side, carries 1/N in
 * records of 16 KiB, which are encrypted straight out of the mapping and decrypted straight into it, 16 of
 * them for a call of the kernel. There is no handshake and no framing beside the tags: less work than this
 * cannot move memory encrypted in user space.
 */
#include "bench.h"
#include <openssl/evp.h>
#include <pthread.h>

#define RECORD  16384u
#define TAG     16u
#define RECORDS 16u /* for one call */

struct part {
    pthread_t thread;
    int socket;
    uint8_t *map;
    uint64_t offset, size;
};

struct cipher {
    EVP_CIPHER_CTX *context;
    uint64_t number; /* of the next record, which its nonce is made of */
};

static struct cipher cipher_new(int encrypt)
{
    static const uint8_t key[16];
    struct cipher c = {.context = EVP_CIPHER_CTX_new()};
    bench_check(c.context && EVP_CipherInit_ex(c.context, EVP_aes_128_gcm(), NULL, key, NULL, encrypt) == 1,
                "cipher");
    return c;
}

static void nonce(struct cipher *c)
{
    uint8_t iv[12] = {0};
    memcpy(iv + 4, &c->number, sizeof c->number);
    c->number++;
    bench_check(EVP_CipherInit_ex(c->context, NULL, NULL, NULL, iv, -1) == 1, "nonce");
}

static void encrypt(struct cipher *c, const uint8_t *from, size_t size, uint8_t *to)
{
    int n, last;
    nonce(c);
    bench_check(EVP_EncryptUpdate(c->context, to, &n, from, (int)size) == 1 &&
                    EVP_EncryptFinal_ex(c->context, to + n, &last) == 1 &&
                    EVP_CIPHER_CTX_ctrl(c->context, EVP_CTRL_AEAD_GET_TAG, TAG, to + size) == 1,
                "encrypt");
}

static void decrypt(struct cipher *c, uint8_t *from, size_t size, uint8_t *to)
{
    int n, last;
    nonce(c);
    bench_check(EVP_CIPHER_CTX_ctrl(c->context, EVP_CTRL_AEAD_SET_TAG, TAG, from + size) == 1 &&
                    EVP_DecryptUpdate(c->context, to, &n, from, (int)size) == 1 &&
                    EVP_DecryptFinal_ex(c->context, to + n, &last) == 1,
                "decrypt");
}

static size_t least(uint64_t left, size_t most)
{
    return left < most ? (size_t)left : most;
}

static void *send_part(void *p)
{
    struct part *t = p;
    struct cipher c = cipher_new(1);
    static __thread uint8_t out[RECORDS * (RECORD + TAG)];
    for (uint64_t at = 0; at < t->size;) {
        size_t filled = 0;
        for (unsigned i = 0; i < RECORDS && at < t->size; i++) {
            size_t size = least(t->size - at, RECORD);
            encrypt(&c, t->map + t->offset + at, size, out + filled);
            filled += size + TAG;
            at += size;
        }
        for (size_t sent = 0; sent < filled;) {
            ssize_t n = send(t->socket, out + sent, filled - sent, 0);
            bench_check(n > 0, "send");
            sent += (size_t)n;
        }
    }
    EVP_CIPHER_CTX_free(c.context);
    return NULL;
}

static void *recv_part(void *p)
{
    struct part *t = p;
    struct cipher c = cipher_new(0);
    static __thread uint8_t in[RECORDS * (RECORD + TAG)];
    for (uint64_t at = 0; at < t->size;) {
        size_t batch = least(t->size - at, RECORDS * RECORD);
        size_t wanted = batch + (batch + RECORD - 1) / RECORD * TAG;
        bench_check(recv(t->socket, in, wanted, MSG_WAITALL) == (ssize_t)wanted, "recv");
        for (uint8_t *from = in; batch > 0;) {
            size_t size = least(batch, RECORD);
            decrypt(&c, from, size, t->map + t->offset + at);
            from += size + TAG;
            at += size;
            batch -= size;
        }
    }
    EVP_CIPHER_CTX_free(c.context);
    return NULL;
}

int main(int argc, char **argv)
{
    int connections, source, dest;
    struct bench_link link;
    struct part parts[BENCH_CONNECTIONS_MAX];
    pid_t child;
    bench_arguments(argc, argv, 1, &connections, &source, &dest);
    uint64_t size = bench_size(source), each = size / (uint64_t)connections / 4096 * 4096;
    int sender = bench_split(&link, connections, &child);
    uint8_t *map = sender ? bench_map(source, 1) : bench_map(dest, 1);
    for (int i = 0; i < connections; i++)
        parts[i] = (struct part){.socket = link.data[i],
                                 .map = map,
                                 .offset = each * (uint64_t)i,
                                 .size = i == connections - 1 ? size - each * (uint64_t)i : each};
    if (sender)
        bench_hear(&link); /* the receiver has its memory */
    else
        bench_tell(&link, 0);
    double start = bench_now(), cpu = bench_cpu();
    for (int i = 0; i < connections; i++)
        bench_check(pthread_create(&parts[i].thread, NULL, sender ? send_part : recv_part, &parts[i]) == 0,
                    "thread");
    for (int i = 0; i < connections; i++)
        pthread_join(parts[i].thread, NULL);
    cpu = bench_cpu() - cpu;
    if (!sender) {
        bench_tell(&link, cpu);
        return 0;
    }
    double receiver_cpu = bench_hear(&link);
    return bench_report(size, bench_now() - start, cpu, receiver_cpu, receiver_cpu, child);
}
