/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the programs that run inside the kernel lab share: results as lines that the host reads, and the lab's
 * devices. mtty is the kernel's sample mediated device (migration version 2; in a patched kernel a write to
 * its config space at 0xe0 makes it DMA-write 16 bytes to that IOVA page, one at 0xe4 makes it fail); edu is
 * QEMU's educational PCI device, which DMAs from a buffer of its own.
 *
 * One thread. A step that fails ends the case it is in, not the program.
 */
#pragma once
#include "base/error.h"
#include "vfio/kernel.h"
#include <setjmp.h>

/* ---- cases ---- */

struct lab_case {
    const char *name;
    void (*run)(void);
};
/* Runs them all; the exit status of main. */
int lab_run(const struct lab_case *cases, size_t count);
void lab_fail(const char *file, int line, const char *format, ...) _printf_(3, 4) __attribute__((noreturn));
void lab_skip(const char *format, ...) _printf_(1, 2) __attribute__((noreturn));
/* A line for whoever reads the log. */
void lab_note(const char *format, ...) _printf_(1, 2);
#define LAB_CHECK(x)                                                                                         \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            lab_fail(__FILE__, __LINE__, "%s", #x);                                                          \
    } while (0)
#define LAB_EQUAL(a, b)                                                                                      \
    do {                                                                                                     \
        long long _x = (long long)(a), _y = (long long)(b);                                                  \
        if (_x != _y)                                                                                        \
            lab_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #a, _x, _y);                                \
    } while (0)
/* For calls that fill a struct mig_error. */
#define LAB_OK(call, e)                                                                                      \
    do {                                                                                                     \
        if ((call) < 0)                                                                                      \
            lab_fail(__FILE__, __LINE__, "%s: %s (%s)", #call, (e)->message, (e)->hint);                     \
    } while (0)

/* ---- devices ---- */

/* A fresh mtty with 1 or 2 ports; its sysfs folder. The kernel has room for 24 ports; init removes them after
 * each program. */
const char *lab_new_mtty(unsigned ports);
/* The n-th edu, bound to vfio-pci. NULL: there is none. */
const char *lab_edu(unsigned n);
/* By group: into a type1 v2 container, which is made when *container is -1. */
int lab_open_by_group(const char *sysfs, int *container);
/* By group too, and the iommufd plays its type1 v2 container. */
int lab_open_by_group_of_iommufd(const char *sysfs, int iommufd);
/* By cdev: bound to the iommufd. */
int lab_open_by_cdev(const char *sysfs, int iommufd, uint32_t *ret_devid);
/* pt: an IOAS or an HWPT; 0 or -errno. */
int lab_attach(int device, uint32_t pt);
/* 4 bytes of a region. */
void lab_write32(int device, unsigned region, uint64_t offset, uint32_t value);
uint32_t lab_read32(int device, unsigned region, uint64_t offset);
/* One byte, for mtty's registers. */
void lab_write8(int device, unsigned region, uint64_t offset, uint8_t value);
uint8_t lab_read8(int device, unsigned region, uint64_t offset);

/* mtty DMA-writes a page. 0 or -errno: without the patch nothing is written and it skips the case. */
int lab_mtty_dma(int device, uint64_t iova);
/* The fault that mtty of a patched kernel is to make: a state (the next step into it fails with EIO) and
 * flags; 0: none. Skips the case where the kernel cannot. */
enum { LAB_FAULT_ERROR = 1 << 8, LAB_FAULT_STAYS = 1 << 9, LAB_FAULT_RESET = 1 << 10 };
void lab_mtty_arm(int device, uint32_t fault);
/* What of it is still to come. */
uint32_t lab_mtty_armed(int device);
/* edu writes bytes (up to 4096) from its buffer to iova; returns when it is done. */
void lab_edu_dma(int device, uint64_t iova, uint32_t bytes);
/* edu reads into its buffer. */
void lab_edu_fetch(int device, uint64_t iova, uint32_t bytes);

/* type1: maps memory. */
void lab_type1_map(int container, void *memory, uint64_t size, uint64_t iova);
