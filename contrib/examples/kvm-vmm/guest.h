/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the VMM and its guest agree on: where things lie in the guest's memory, the ports, and the format of a
 * record. Read by the C files and by guest.S.
 */
#pragma once

/* Guest physical addresses. Devices see the memory at the same addresses. */
#define GUEST_TABLES     0x1000   /* an identity map: four levels down to 2 MiB pages, three pages long */
#define GUEST_PROGRAM    0x8000   /* guest.S */
#define GUEST_COUNTER    0x9000   /* u64: records that the guest has written; then a zero */
#define GUEST_SSE        0x9010   /* where it looks at its SSE register */
#define GUEST_DMA_SOURCE 0xa000   /* a page that the VMM writes and edu fetches */
#define GUEST_GDT        0xb000   /* what an exception needs: segments, */
#define GUEST_IDT        0xc000   /* gates, */
#define GUEST_STACK      0xe000   /* and a stack, down from here */
#define GUEST_DMA_WINDOW 0x100000 /* pages that edu writes */
#define GUEST_DMA_PAGES  256
#define GUEST_RECORDS    0x200000   /* pages that the guest writes: to the end of the memory */
#define GUEST_MEMORY_MIN 0x400000   /* 4 MiB */
#define GUEST_MEMORY_MAX 0x40000000 /* 1 GiB, which is what the tables map */
#define GUEST_PAGE_BYTES 4096

/* The guest writes 32 bits to a port: */
#define GUEST_PORT_WROTE  0x10 /* the low half of the counter, after each record */
#define GUEST_PORT_BAD    0x11 /* what is wrong: */
#define GUEST_BAD_COUNTER 1    /* register and memory are of different moments */
#define GUEST_BAD_FPU     2    /* register and SSE register are of different moments */
#define GUEST_BAD_RECORD  3    /* a page does not hold what was last written to it */

#define GUEST_PORT_FAULT                                                                                     \
    0x12 /* an exception, by its vector; the stack has the vector and what the CPU put there */
#define GUEST_VECTORS 32

#define GUEST_CODE_SELECTOR 8
#define GUEST_DATA_SELECTOR 16

/* A record fills a page: four words at its start, and one at its end that shows whether it is whole. */
#define RECORD_PAGE  8
#define RECORD_SEQ   16
#define RECORD_CHECK 24                     /* seq rotated by 32 bits, xor page, xor magic */
#define RECORD_TAIL  (GUEST_PAGE_BYTES - 8) /* not seq */

#define RECORD_MAGIC_CPU 0x5550436769676d31 /* of the guest */
#define RECORD_MAGIC_DMA 0x414d446769676d31 /* of edu */
