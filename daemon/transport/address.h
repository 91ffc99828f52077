/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a peer is, as people write it: "host[:port]", "[v6][:port]", "unix:PATH" or an absolute path.
 * Resolves nothing. */
#pragma once
#include "base/error.h"
#include <sys/un.h>

struct address {
    bool is_unix;
    char host[256]; /* empty: any address of this host, which only a listener may have */
    uint16_t port;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

int address_parse(struct address *ret, const char *text, struct mig_error *err);
/* Text that address_parse reads back. size of at least ADDRESS_TEXT_MAX holds any. */
#define ADDRESS_TEXT_MAX 280
void address_format(const struct address *a, char *text, size_t size);
