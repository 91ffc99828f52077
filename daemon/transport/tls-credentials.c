/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Certificates and keys: where they are, under the names that users of QEMU and of libvirt know, and contexts
 * of OpenSSL made of them. What is wrong with a file is said with its path: most of what goes wrong with TLS
 * goes wrong here.
 */
#include "transport/tls.h"
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#define READ_AHEAD_BYTES (64u << 10) /* how much a receiver takes from its socket in one call */

static const char *const folders[] = {PKGSYSCONFDIR "/tls", "/etc/pki/qemu", "/etc/pki/libvirt"};
static const char *const ca_names[] = {"ca-cert.pem", "cacert.pem", "../CA/cacert.pem"};
static const char *const server_names[][2] = {
    {"server-cert.pem", "server-key.pem"},
    {"servercert.pem", "serverkey.pem"},
    {"servercert.pem", "private/serverkey.pem"},
};
static const char *const client_names[][2] = {
    {"client-cert.pem", "client-key.pem"},
    {"clientcert.pem", "clientkey.pem"},
    {"clientcert.pem", "private/clientkey.pem"},
};

static bool there_is(char *path, size_t size, const char *folder, const char *name)
{
    return (size_t)snprintf(path, size, "%s/%s", folder, name) < size && access(path, F_OK) == 0;
}

/* The certificate decides; its key is where the key with that name is, or would be. */
static bool find_pair(struct tls_credentials *c, const char *folder, const char *const names[][2])
{
    bool found = false;
    for (size_t i = 0; i < ELEMENTS(server_names); i++) {
        if (!there_is(c->certificate, sizeof c->certificate, folder, names[i][0]))
            continue;
        found = true;
        if (there_is(c->key, sizeof c->key, folder, names[i][1]))
            break;
    }
    return found;
}

static bool find_in(struct tls_credentials *c, const char *folder, bool server)
{
    for (size_t i = 0; i < ELEMENTS(ca_names) && !*c->ca; i++)
        if (!there_is(c->ca, sizeof c->ca, folder, ca_names[i]))
            c->ca[0] = '\0';
    /* A host that has only one certificate shows it in both roles. */
    return find_pair(c, folder, server ? server_names : client_names) ||
           find_pair(c, folder, server ? client_names : server_names);
}

static int find_files(struct tls_credentials *c, const struct tls_files *files, bool server,
                      struct mig_error *err)
{
    bool found = false;
    char ca[sizeof c->ca] = "";
    if (*files->folder) {
        found = find_in(c, files->folder, server);
        snprintf(ca, sizeof ca, "%s/ca-cert.pem", files->folder);
    }
    for (size_t i = 0; !*files->folder && !found && i < ELEMENTS(folders); i++) {
        c->ca[0] = '\0';
        found = find_in(c, folders[i], server);
    }
    if (*files->ca)
        snprintf(c->ca, sizeof c->ca, "%s", files->ca);
    if (*files->certificate) {
        found = true;
        snprintf(c->certificate, sizeof c->certificate, "%s", files->certificate);
        snprintf(c->key, sizeof c->key, "%s", *files->key ? files->key : files->certificate);
    }
    if (found && *c->ca)
        return 0;
    int r;
    if (!found)
        r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0, "this host has no certificate: there is no %s in %s",
                          server ? "server-cert.pem or servercert.pem" : "client-cert.pem or clientcert.pem",
                          *files->folder ? files->folder
                                         : PKGSYSCONFDIR "/tls, /etc/pki/qemu or /etc/pki/libvirt");
    else
        r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0,
                          "there is no certificate of a CA beside %s: %s is missing", c->certificate,
                          *ca ? ca : "ca-cert.pem (cacert.pem)");
    mig_error_hint(
        err, "man migd.conf tells the names, CertificateFolder= another folder; make-test-ca makes some "
             "for trying it out; or Security=plain on both hosts of a network that is trusted");
    return r;
}

static int bad_file(const char *path, const char *what, struct mig_error *err)
{
    unsigned long last = ERR_peek_last_error();
    int system = 0, r;
    for (unsigned long e; (e = ERR_get_error());)
        if (ERR_SYSTEM_ERROR(e))
            system = ERR_GET_REASON(e);
    if (system) {
        r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0, "cannot read the %s %s: %s", what, path,
                          strerror(system));
        mig_error_hint(err, "%s",
                       system == ENOENT ? "put it there, or name another folder with CertificateFolder="
                                        : "migd must be able to read it: it runs as root of the host, but "
                                          "a key may belong to somebody else, or be hidden from services");
        return r;
    }
    const char *why = ERR_reason_error_string(last);
    r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0, "the %s %s is damaged or of another kind: %s", what, path,
                      why ? why : "it cannot be understood");
    mig_error_hint(err, "it must be PEM, a key without a passphrase");
    return r;
}

/* Nobody is there to type one. */
static int no_passphrase(char *buf, int size, int writing, void *userdata)
{
    return 0;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static int read_files(struct tls_credentials *c, struct mig_error *err)
{
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(c->context, c->ca) != 1)
        return bad_file(c->ca, "certificate of the CA", err);
    if (SSL_CTX_use_certificate_chain_file(c->context, c->certificate) != 1)
        return bad_file(c->certificate, "certificate", err);
    if (SSL_CTX_use_PrivateKey_file(c->context, c->key, SSL_FILETYPE_PEM) != 1 &&
        ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH)
        return bad_file(c->key, "key", err);
    if (SSL_CTX_check_private_key(c->context) != 1) {
        int r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0, "the key %s does not belong to the certificate %s",
                              c->key, c->certificate);
        mig_error_hint(err, "copy both files from the same place again");
        return r;
    }
    X509 *own = SSL_CTX_get0_certificate(c->context);
    c->not_before = seconds_of(X509_get0_notBefore(own));
    c->not_after = seconds_of(X509_get0_notAfter(own));
    return 0;
}

static bool has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes");
#elif defined(__aarch64__)
    return getauxval(AT_HWCAP) & (1u << 3); /* HWCAP_AES */
#else
    return false;
#endif
}

static SSL_CTX *make_context(bool server)
{
    SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!context)
        return NULL;
    /* What the CPU does well first; a server goes by what its client prefers, for ChaCha at least. */
    const char *ciphers = has_aes()
                              ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
                              : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, ciphers) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0); /* every connection proves who it is */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD_BYTES);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    tls_verify_install(context);
    return context;
}

int tls_credentials_load(struct tls_credentials *ret, const struct tls_files *files, bool server,
                         struct mig_error *err)
{
    struct tls_credentials c = {0};
    int r = find_files(&c, files, server, err);
    if (r < 0)
        return r;
    c.context = make_context(server);
    r = c.context ? read_files(&c, err) : mig_error_oom(err);
    ERR_clear_error();
    if (r < 0) {
        tls_credentials_clear(&c);
        return r;
    }
    *ret = c;
    return 0;
}

void tls_credentials_clear(struct tls_credentials *c)
{
    SSL_CTX_free(c->context);
    *c = (struct tls_credentials){0};
}

static void print_day(int64_t seconds, char *text, size_t size)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || !strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &tm))
        snprintf(text, size, "a date that cannot be read");
}

int tls_credentials_check(const struct tls_credentials *c, struct mig_error *err)
{
    int64_t now = (int64_t)time(NULL);
    char day[64];
    int r = 0;
    if (now > c->not_after) {
        print_day(c->not_after, day, sizeof day);
        r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0, "this host's certificate %s expired on %s",
                          c->certificate, day);
        mig_error_hint(err,
                       "renew it and systemctl reload migd; if it should still be good, look at the clock");
    } else if (now < c->not_before) {
        print_day(c->not_before, day, sizeof day);
        r = mig_error_set(err, MIG_ERR_CREDENTIALS, 0, "this host's certificate %s is not valid before %s",
                          c->certificate, day);
        mig_error_hint(err, "look at the clock of this host");
    }
    return r;
}
