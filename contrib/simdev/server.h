/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of the protocol. Server thread only; each handler fills a reply or returns a negative errno.
 */
#pragma once
#include "device.h"

/* A handler may take descriptors out of the message, and sets what the reply shall carry. */
typedef int handler(struct device *d, struct message *m, struct reply *r);

handler handle_dma_map, handle_dma_unmap;                     /* server-dma.c */
handler handle_get_info, handle_region_info, handle_irq_info; /* server-device.c */
handler handle_set_irqs, handle_region_read, handle_region_write, handle_reset;
handler handle_feature, handle_data_read, handle_data_write; /* server-migration.c */
/* VERSION, the first message; *ret_twin_fd is the device's end of the twin socket or -1. */
int handle_version(struct device *d, struct message *m, struct reply *r, int *ret_twin_fd,
                   int *ret_client_fd);

/* Makes room for a payload, zeroed; NULL when there is none. */
void *reply_make(struct reply *r, size_t payload_bytes);
/* Which command this is by the name that --misbehave uses. */
enum point point_of(const struct message *m);
