/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to a libvirt daemon, here or on another host. It asks by keepalive whether the daemon lives,
 * so that a call to a dead one ends after some seconds. Every function here blocks and belongs on a helper
 * thread; several threads may call by one link at a time, but one of them owns it and opens it anew.
 */
#pragma once
#include "libvirt/virt-library.h"

#define VIRT_LOCAL_URI "qemu:///system"

struct virt_link;

/* An error says which daemon, and what to look at. */
int virt_link_open(struct virt_link **ret, const char *uri, struct mig_error *err);
/* Nobody may call by it. */
struct virt_link *virt_link_free(struct virt_link *l);
DEFINE_CLEANUP(struct virt_link *, virt_link_free)
virConnectPtr virt_link_connection(struct virt_link *l);
bool virt_link_lives(struct virt_link *l); /* NULL: no */
/* Opens it anew if the daemon has gone away, and tries until cancel_fd (-1: none) is readable or the time is
 * over. Domains that came by it before are of no use after it. */
int virt_link_renew(struct virt_link *l, uint64_t timeout_usec, int cancel_fd, struct mig_error *err);

static inline void virt_domain_freep(virDomainPtr *d)
{
    if (*d)
        virt.virDomainFree(*d);
}
#define _cleanup_domain_ _cleanup_(virt_domain_freep)

/* By name, or by UUID where a UUID is given. NoSuchDomain says at which daemon. The caller frees *ret. */
int virt_link_domain(struct virt_link *l, const char *name, const char *uuid, virDomainPtr *ret,
                     struct mig_error *err);
