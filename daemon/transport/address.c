/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport/address.h"
#include "migd-bus.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int bad(struct mig_error *err, const char *text, const char *why)
{
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "address \"%.200s\": %s", text, why);
    mig_error_hint(err, "write host, host:port, [IPv6 address]:port, or unix:PATH; the default port is %d",
                   MIGD_DEFAULT_PORT);
    return r;
}

static int parse_port(const char *text, uint16_t *ret)
{
    unsigned value = 0;
    if (!*text || strlen(text) > 5)
        return -EINVAL;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return -EINVAL;
        value = value * 10 + (unsigned)(*p - '0');
    }
    if (value > UINT16_MAX)
        return -EINVAL;
    *ret = (uint16_t)value;
    return 0;
}

static bool host_is_plain(const char *host)
{
    for (const char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".:-_%", *p))
            return false;
    return true;
}

int address_parse(struct address *ret, const char *text, struct mig_error *err)
{
    struct address a = {.port = MIGD_DEFAULT_PORT};
    bool prefixed = strncmp(text, "unix:", 5) == 0;
    if (prefixed || *text == '/') {
        const char *path = prefixed ? text + 5 : text;
        if (*path != '/')
            return bad(err, text, "the path of a socket must be absolute");
        if (strlen(path) >= sizeof a.path)
            return bad(err, text, "the path is too long for a socket (107 bytes)");
        a.is_unix = true;
        memcpy(a.path, path, strlen(path) + 1);
        *ret = a;
        return 0;
    }
    const char *host = text, *end, *port = NULL;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (!end)
            return bad(err, text, "the closing bracket is missing");
        if (end == host)
            return bad(err, text, "there is nothing between the brackets");
        if (end[1] && end[1] != ':')
            return bad(err, text, "only :port may follow the bracket");
        port = end[1] ? end + 2 : NULL;
    } else {
        const char *colon = strchr(text, ':');
        if (colon && strchr(colon + 1, ':'))
            return bad(err, text, "an IPv6 address must stand in brackets");
        end = colon ? colon : text + strlen(text);
        port = colon ? colon + 1 : NULL;
        if (end == host && !colon)
            return bad(err, text, "it is empty");
    }
    size_t n = (size_t)(end - host);
    if (n >= sizeof a.host)
        return bad(err, text, "the host name is too long");
    memcpy(a.host, host, n);
    if (strcmp(a.host, "*") == 0)
        a.host[0] = '\0';
    if (!host_is_plain(a.host))
        return bad(err, text, "a host name holds letters, digits, dots and dashes");
    if (port && parse_port(port, &a.port) < 0)
        return bad(err, text, "the port must be a number from 0 to 65535");
    *ret = a;
    return 0;
}

void address_format(const struct address *a, char *text, size_t size)
{
    if (a->is_unix)
        snprintf(text, size, "unix:%s", a->path);
    else if (strchr(a->host, ':'))
        snprintf(text, size, "[%s]:%u", a->host, a->port);
    else
        snprintf(text, size, "%s:%u", *a->host ? a->host : "*", a->port);
}
