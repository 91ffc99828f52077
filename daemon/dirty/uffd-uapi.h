/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel's interface for watching writes looks like: PAGEMAP_SCAN (linux/fs.h) and userfaultfd's
 * asynchronous write protection (linux/userfaultfd.h), both since Linux 6.7. Declared here under names of our
 * own, since Debian 12's headers are of 6.1 and newer ones would clash. Facts:
 * Documentation/admin-guide/mm/pagemap.rst and userfaultfd.rst of the kernel.
 */
#pragma once
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>

/* Features that the workload asks for with UFFDIO_API. */
#define UFFD_WANT_WP_HUGETLBFS_SHMEM (UINT64_C(1) << 12)
#define UFFD_WANT_WP_UNPOPULATED     (UINT64_C(1) << 13)
#define UFFD_WANT_WP_ASYNC           (UINT64_C(1) << 15)
#define UFFD_WANT                    (UFFD_WANT_WP_HUGETLBFS_SHMEM | UFFD_WANT_WP_UNPOPULATED | UFFD_WANT_WP_ASYNC)

/* Categories of a page. */
#define PMSCAN_WPALLOWED (UINT64_C(1) << 0)
#define PMSCAN_WRITTEN   (UINT64_C(1) << 1)
/* Flags of a scan. Without CHECK_WPASYNC a range that nobody watches is skipped with success. */
#define PMSCAN_WP_MATCHING   (UINT64_C(1) << 0)
#define PMSCAN_CHECK_WPASYNC (UINT64_C(1) << 1)

struct pmscan_range {
    uint64_t start, end; /* addresses */
    uint64_t categories;
};

struct pmscan_arg {
    uint64_t size; /* of this struct */
    uint64_t flags;
    uint64_t start, end;
    uint64_t walk_end; /* out: where the scan stopped */
    uint64_t vec;      /* pointer to struct pmscan_range[] */
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

/* On a descriptor of /proc/PID/pagemap; returns the number of ranges filled. */
#define PMSCAN_IOCTL _IOWR('f', 16, struct pmscan_arg)

_Static_assert(sizeof(struct pmscan_range) == 24, "struct page_region has 24 bytes");
_Static_assert(sizeof(struct pmscan_arg) == 96, "struct pm_scan_arg has 96 bytes");
_Static_assert(PMSCAN_IOCTL == 0xc0606610u, "PAGEMAP_SCAN is 0xc0606610");
_Static_assert(UFFDIO_REGISTER == 0xc020aa00u, "UFFDIO_REGISTER is 0xc020aa00");
_Static_assert(UFFDIO_UNREGISTER == 0x8010aa01u, "UFFDIO_UNREGISTER is 0x8010aa01");
