/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How migd learns what the CPUs of this VMM wrote. Two ways; a VMM needs one of them.
 *
 * cpu-log: the VMM says it itself, in a bitmap that migd reads; ../common/cpu-log.h has the contract.
 *
 * uffd: a userfaultfd with asynchronous write protection, made by this process because it speaks for the
 * memory of its maker. migd gets the descriptor, write-protects and reads the page tables; the CPU threads
 * have nothing to do.
 */
#pragma once

enum track_kind { TRACK_NONE, TRACK_CPU_LOG, TRACK_UFFD };

/* The descriptor, or a negative errno with the reason printed. */
int uffd_create(void);
