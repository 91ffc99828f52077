/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest: writes one record after the other, forever. Record n goes to page (n - 1) * stride mod pages, so
 * before a page is written again it must hold record n - pages, and the guest looks whether it does. A lost
 * page, an old page and a torn page are all found by the one who wrote it.
 *
 * The number of the last record is kept in rbx, in xmm0 and in memory. A migration that mixes CPU and memory
 * of different moments is found by comparing the three.
 *
 *   rbx records written    rbp page of the next one    r12 address of page 0
 *   r13 pages              r14 stride                  r15 magic
 *
 * 64-bit mode, ring 0, identity map, no interrupts. The stack is for exceptions only, of which there should be none.
 * Position-independent: memory.c copies it.
 */
#include "guest.h"

    .section .rodata
    .code64
    .globl guest_program, guest_program_end
    .hidden guest_program, guest_program_end
guest_program:
    cmpq    GUEST_COUNTER, %rbx
    movl    $GUEST_BAD_COUNTER, %eax
    jne     bad
    movups  %xmm0, GUEST_SSE
    cmpq    GUEST_SSE, %rbx
    movl    $GUEST_BAD_FPU, %eax
    jne     bad

    movq    %rbp, %rdi
    shlq    $12, %rdi
    addq    %r12, %rdi              /* rdi: the page */
    leaq    1(%rbx), %rdx           /* rdx: the new record's number */
    cmpq    %r13, %rbx
    jb      write                   /* the first lap: nothing to look at */

    movl    $GUEST_BAD_RECORD, %eax
    movq    %rdx, %rsi
    subq    %r13, %rsi              /* rsi: the number that must stand here */
    cmpq    %r15, (%rdi)
    jne     bad
    cmpq    %rbp, RECORD_PAGE(%rdi)
    jne     bad
    cmpq    %rsi, RECORD_SEQ(%rdi)
    jne     bad
    movq    %rsi, %rcx
    rolq    $32, %rcx
    xorq    %rbp, %rcx
    xorq    %r15, %rcx
    cmpq    %rcx, RECORD_CHECK(%rdi)
    jne     bad
    notq    %rsi
    cmpq    %rsi, RECORD_TAIL(%rdi)
    jne     bad

write:
    movq    %r15, (%rdi)
    movq    %rbp, RECORD_PAGE(%rdi)
    movq    %rdx, RECORD_SEQ(%rdi)
    movq    %rdx, %rcx
    rolq    $32, %rcx
    xorq    %rbp, %rcx
    xorq    %r15, %rcx
    movq    %rcx, RECORD_CHECK(%rdi)
    movq    %rdx, %rcx
    notq    %rcx
    movq    %rcx, RECORD_TAIL(%rdi)

    movq    %rdx, %rbx
    movq    %rbx, GUEST_COUNTER
    movups  GUEST_COUNTER, %xmm0
    addq    %r14, %rbp
    cmpq    %r13, %rbp
    jb      tell
    subq    %r13, %rbp
tell:
    movl    %ebx, %eax
    outl    %eax, $GUEST_PORT_WROTE
    jmp     guest_program

bad:
    outl    %eax, $GUEST_PORT_BAD
    hlt

    /* An entry for each vector, all of the same size. */
    .globl guest_faults, guest_faults_end
    .hidden guest_faults, guest_faults_end
    .balign 16
guest_faults:
    .set vector, 0
    .rept GUEST_VECTORS
    .balign 16
    pushq   $vector
    jmp     fault
    .set vector, vector + 1
    .endr
    .balign 16
guest_faults_end:
fault:
    movl    (%rsp), %eax
    outl    %eax, $GUEST_PORT_FAULT
    hlt
guest_program_end:

    .section .note.GNU-stack, "", @progbits
