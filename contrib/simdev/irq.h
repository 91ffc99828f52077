/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts by eventfd. The server thread sets them while the engine is parked; both trigger. */
#pragma once
#include "vfio-user.h"
#include <stddef.h>

enum irq_index {
    IRQ_INTX,
    IRQ_MSI,
    IRQ_MSIX,
    IRQ_ERR,
    IRQ_REQ,
    IRQ_INDEX_MAX,
};
#define IRQ_VECTORS_MAX 2u

struct irqs {
    int eventfds[IRQ_INDEX_MAX][IRQ_VECTORS_MAX];
};

void irqs_init(struct irqs *irqs);
/* All descriptors go, as when the client has gone. */
void irqs_clear(struct irqs *irqs);
uint32_t irqs_count(uint32_t index);
/* SET_IRQS. Descriptors that are kept are taken out of fds (-1). */
int irqs_set(struct irqs *irqs, const struct vfu_irq_set *set, const uint8_t *data, size_t data_bytes,
             int *fds, unsigned n_fds);
void irqs_trigger(struct irqs *irqs, uint32_t index, uint32_t vector);
