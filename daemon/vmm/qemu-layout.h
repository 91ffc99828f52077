/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a QEMU guest sees its RAM: which piece of which memory backend lies at which physical address.
 * Without an emulated IOMMU this is also where passed-through devices see it, since QEMU maps all of the
 * guest's memory into their container at these addresses.
 */
#pragma once
#include "vmm/qemu-memory.h"

struct qemu_piece {
    size_t memory; /* index in the list of backends */
    uint64_t offset_bytes, address, size_bytes;
};

/* From what `info mtree -f` prints. Every page of a backend that the guest sees at all belongs to one piece,
 * also where firmware or video memory lies over it at the moment: what lies over it changes while a guest
 * boots, and a read of dirty bits leaves out what is not mapped. So the borders of pieces are those of QEMU's
 * own mappings for as long as the guest's memory is the same. -ENOENT: there is no guest memory in the text.
 * Sorted by address. Pure. */
int qemu_layout_parse(const char *text, const struct qemu_memory *memory, size_t nmemory,
                      struct qemu_piece **ret, size_t *ret_n);
/* Whether devices see the memory through an IOMMU that QEMU emulates. */
bool qemu_layout_has_iommu(const char *text);

/* Asks. An emulated IOMMU is refused: only the guest knows what devices see then. */
int qemu_layout_ask(struct qmp *q, uint64_t deadline_usec, const struct qemu_memory *memory, size_t nmemory,
                    struct qemu_piece **ret, size_t *ret_n, struct mig_error *err);
