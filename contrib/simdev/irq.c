/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "irq.h"
#include "base/util.h"

/* linux/vfio.h, VFIO_IRQ_SET_* */
#define DATA_NONE      1u
#define DATA_BOOL      2u
#define DATA_EVENTFD   4u
#define DATA_MASK      7u
#define ACTION_TRIGGER 0x20u
#define ACTION_MASK    0x38u

static const uint32_t counts[IRQ_INDEX_MAX] = {[IRQ_INTX] = 1, [IRQ_MSIX] = IRQ_VECTORS_MAX, [IRQ_REQ] = 1};

void irqs_init(struct irqs *irqs)
{
    for (unsigned i = 0; i < IRQ_INDEX_MAX; i++) {
        for (unsigned k = 0; k < IRQ_VECTORS_MAX; k++)
            irqs->eventfds[i][k] = -1;
    }
}

void irqs_clear(struct irqs *irqs)
{
    for (unsigned i = 0; i < IRQ_INDEX_MAX; i++) {
        for (unsigned k = 0; k < IRQ_VECTORS_MAX; k++)
            close_fd(&irqs->eventfds[i][k]);
    }
}

uint32_t irqs_count(uint32_t index)
{
    return index < IRQ_INDEX_MAX ? counts[index] : 0;
}

void irqs_trigger(struct irqs *irqs, uint32_t index, uint32_t vector)
{
    uint64_t one = 1;
    if (irqs->eventfds[index][vector] >= 0) {
        ssize_t r = write(irqs->eventfds[index][vector], &one, sizeof one);
        (void)r; /* a full counter has been triggered too */
    }
}

int irqs_set(struct irqs *irqs, const struct vfu_irq_set *set, const uint8_t *data, size_t data_bytes,
             int *fds, unsigned n_fds)
{
    uint32_t kind = set->flags & DATA_MASK, action = set->flags & ACTION_MASK;
    if (set->index >= IRQ_INDEX_MAX || (set->flags & ~(DATA_MASK | ACTION_MASK)) || !is_power_of_two(kind) ||
        !is_power_of_two(action) || !range_inside(set->start, set->count, counts[set->index]))
        return -EINVAL;
    if (set->count == 0 && (kind != DATA_NONE || action != ACTION_TRIGGER || set->start != 0))
        return -EINVAL;
    if ((kind == DATA_BOOL && data_bytes < set->count) || (kind != DATA_EVENTFD && n_fds) ||
        (kind == DATA_EVENTFD && n_fds != 0 && n_fds != set->count))
        return -EINVAL;
    if (action != ACTION_TRIGGER)
        return 0; /* nothing is ever masked for longer than the guest wants: eventfds are edges */
    if (set->count == 0) {
        for (unsigned i = 0; i < IRQ_VECTORS_MAX; i++)
            close_fd(&irqs->eventfds[set->index][i]);
    }
    for (uint32_t i = 0; i < set->count; i++) {
        int *eventfd = &irqs->eventfds[set->index][set->start + i];
        if (kind == DATA_EVENTFD) {
            close_fd(eventfd);
            if (n_fds)
                *eventfd = TAKE_FD(fds[i]);
        } else if (kind == DATA_NONE || data[i]) {
            irqs_trigger(irqs, set->index, set->start + i);
        }
    }
    return 0;
}
