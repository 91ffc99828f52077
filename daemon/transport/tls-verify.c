/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a peer's certificate is the right one: signed by our CA, good today, for this use, and for the name
 * that was asked for; and whether its owner is on the list of those who may connect. The chain is OpenSSL's
 * business, the names are looked at here, because one of two will do: an address at which a host is asked
 * need not be in its certificate when it is known by name who must answer there.
 */
#include "base/printable.h"
#include "transport/tls.h"
#include <arpa/inet.h>
#include <fnmatch.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATTERN_MAX 256

/* ---- what a certificate says ---- */

static void print_subject(X509 *certificate, unsigned long order, char *text, size_t size)
{
    text[0] = '\0';
    BIO *bio = BIO_new(BIO_s_mem());
    const char *data;
    if (!bio)
        return;
    X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                       XN_FLAG_SEP_COMMA_PLUS | ASN1_STRFLGS_RFC2253 | XN_FLAG_FN_SN | order);
    long n = BIO_get_mem_data(bio, &data);
    snprintf(text, size, "%.*s", n > 0 ? (int)n : 0, data);
    BIO_free(bio);
    make_printable(text);
}

/* The i-th of its names, DNS names and IP addresses alike, then the CN; false after the last. */
static bool nth_name(X509 *certificate, GENERAL_NAMES *names, int i, char *text, size_t size)
{
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    text[0] = '\0';
    if (i == count)
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, (int)size);
    if (i >= count)
        return i == count;
    const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
    if (n->type == GEN_DNS) {
        const char *dns = (const char *)ASN1_STRING_get0_data(n->d.dNSName);
        int length = ASN1_STRING_length(n->d.dNSName);
        if ((size_t)length == strnlen(dns, (size_t)length)) /* one with a NUL in it is a trick */
            snprintf(text, size, "%.*s", length, dns);
    } else if (n->type == GEN_IPADD) {
        int length = ASN1_STRING_length(n->d.iPAddress);
        if (length == 4 || length == 16)
            inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(n->d.iPAddress), text,
                      (socklen_t)size);
    }
    make_printable(text);
    return true;
}

static GENERAL_NAMES *names_of(X509 *certificate)
{
    return X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}

static void list_names(X509 *certificate, char *text, size_t size)
{
    GENERAL_NAMES *names = names_of(certificate);
    char name[TLS_TEXT_MAX];
    size_t at = 0;
    text[0] = '\0';
    int last = names && sk_GENERAL_NAME_num(names) > 0 ? sk_GENERAL_NAME_num(names) - 1 : 0;
    for (int i = 0; i <= last && nth_name(certificate, names, i, name, sizeof name) && at < size; i++)
        if (*name)
            at += (size_t)snprintf(text + at, size - at, "%s%s", at ? ", " : "", name);
    GENERAL_NAMES_free(names);
}

void tls_peer_of(X509 *certificate, struct tls_peer *ret)
{
    GENERAL_NAMES *names = names_of(certificate);
    print_subject(certificate, 0, ret->subject, sizeof ret->subject);
    ret->name[0] = '\0';
    for (int i = 0; !*ret->name && nth_name(certificate, names, i, ret->name, sizeof ret->name); i++)
        ;
    GENERAL_NAMES_free(names);
}

static void print_time(const ASN1_TIME *t, char *text, size_t size)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(t, &tm) || !strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &tm))
        snprintf(text, size, "a date that cannot be read");
}

/* ---- the name that was asked for ---- */

static bool has_name(X509 *certificate, const char *name)
{
    return X509_check_ip_asc(certificate, name, 0) == 1 ||
           X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static int verify_index = -1;

/* In place of OpenSSL's own: the chain first, then the name. */
static int verify(X509_STORE_CTX *store, void *userdata)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_verify *v = ssl ? SSL_get_ex_data(ssl, verify_index) : NULL;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    if (!v || !leaf)
        return 0;
    tls_peer_of(leaf, &v->peer);
    int ok = X509_verify_cert(store) == 1;
    v->result = X509_STORE_CTX_get_error(store);
    X509 *bad = ok ? NULL : X509_STORE_CTX_get_current_cert(store);
    if (v->result == X509_V_ERR_CERT_HAS_EXPIRED && bad)
        print_time(X509_get0_notAfter(bad), v->detail, sizeof v->detail);
    else if (v->result == X509_V_ERR_CERT_NOT_YET_VALID && bad)
        print_time(X509_get0_notBefore(bad), v->detail, sizeof v->detail);
    if (bad && bad != leaf) {
        struct tls_peer ca;
        tls_peer_of(bad, &ca);
        snprintf(v->peer.subject, sizeof v->peer.subject, "%s", ca.subject);
    }
    if (ok && v->host && !has_name(leaf, v->host) &&
        !(v->other_name && *v->other_name && has_name(leaf, v->other_name))) {
        v->result = X509_V_ERR_HOSTNAME_MISMATCH;
        X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
        list_names(leaf, v->detail, sizeof v->detail);
        return 0;
    }
    if (!ok && v->result == X509_V_OK) /* no memory, for one */
        v->result = X509_V_ERR_UNSPECIFIED;
    return ok;
}

void tls_verify_install(SSL_CTX *context)
{
    if (verify_index < 0) /* by the main thread, which loads credentials before anybody shakes hands */
        verify_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify, NULL);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

void tls_verify_attach(SSL *ssl, struct tls_verify *v)
{
    SSL_set_ex_data(ssl, verify_index, v);
}

int tls_verify_error(const struct tls_verify *v, const char *peer, struct mig_error *err)
{
    char why[2 * TLS_TEXT_MAX];
    const char *hint;
    switch (v->result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(why, sizeof why, "it expired on %s", v->detail);
        hint = "renew it there; if it should still be good, look at the clocks of both hosts";
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(why, sizeof why, "it is not valid before %s", v->detail);
        hint = "look at the clocks of both hosts";
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
        snprintf(why, sizeof why, "it is for %.300s, not for %.100s",
                 *v->detail ? v->detail : "no name at all", v->host);
        hint =
            "ask for that host by a name that its certificate has, or give it a certificate with this name "
            "(subjectAltName)";
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        snprintf(why, sizeof why, "it may not be used for this (extended key usage)");
        hint = "it needs serverAuth where peers connect and clientAuth where it connects, or neither";
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        snprintf(why, sizeof why, "no CA that this host believes has signed it (%s)",
                 v->ca_path ? v->ca_path : "");
        hint = "let both hosts have certificates of one CA, and that CA's certificate in this file";
        break;
    default:
        snprintf(why, sizeof why, "%s", X509_verify_cert_error_string(v->result));
        hint = "give that host a certificate of the CA that this host believes";
    }
    int r = mig_error_set(err, MIG_ERR_PEER_UNTRUSTED, EKEYREJECTED,
                          "the certificate of %s (%.120s) is refused: %s", peer,
                          *v->peer.subject ? v->peer.subject : "without a subject", why);
    mig_error_hint(err, "%s", hint);
    return r;
}

/* ---- the list of those who may connect ---- */

static bool matches(X509 *certificate, const char *pattern)
{
    char text[1024];
    print_subject(certificate, 0, text, sizeof text);
    if (fnmatch(pattern, text, 0) == 0)
        return true;
    print_subject(certificate, XN_FLAG_DN_REV, text, sizeof text);
    if (fnmatch(pattern, text, 0) == 0)
        return true;
    GENERAL_NAMES *names = names_of(certificate);
    bool found = false;
    for (int i = 0; !found && nth_name(certificate, names, i, text, sizeof text); i++)
        found = *text && fnmatch(pattern, text, 0) == 0;
    GENERAL_NAMES_free(names);
    return found;
}

bool tls_peer_allowed(X509 *certificate, const char *patterns)
{
    const char *p = patterns ? patterns : "";
    p += strspn(p, " \t");
    if (!*p)
        return true;
    while (*p) {
        char pattern[PATTERN_MAX];
        bool quoted = *p == '"';
        p += quoted;
        size_t n = strcspn(p, quoted ? "\"" : " \t");
        snprintf(pattern, sizeof pattern, "%.*s", (int)n, p);
        if (certificate && n < sizeof pattern && matches(certificate, pattern))
            return true;
        p += n;
        p += strspn(p, quoted ? "\" \t" : " \t");
    }
    return false;
}
