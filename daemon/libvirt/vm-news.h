/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt tells of a domain by itself, taken on the main thread for a worker to look at: the figures of
 * a job that has ended, which a domain that has left takes with it. */
#pragma once
#include "libvirt/virt-library.h"
#include "libvirt/vm-stats.h"

struct vm_news;

/* BLOCKS. NULL: there will be none. */
struct vm_news *vm_news_listen(virConnectPtr connection, virDomainPtr domain);
/* False: not told yet. */
bool vm_news_completed(struct vm_news *n, struct vm_figures *ret);
/* When its CPUs were stopped last for a migration, as now_usec(); 0: not told. */
uint64_t vm_news_stopped(struct vm_news *n);
/* BLOCKS. Before the connection is closed, which may be dead. */
struct vm_news *vm_news_end(struct vm_news *n);
