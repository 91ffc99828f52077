/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* iommufd, call by call: plain errno, any thread. The container on top is made by container_new_iommufd. */
#pragma once
#include "memory/iova-map.h"
#include "vfio/kernel.h"

/* Whether the descriptor is an iommufd, also one that plays a type1 container. Changes nothing. */
bool iommufd_is(int fd, const struct kernel_calls *calls);
/* The IOAS behind the requests of a type1 container, which this iommufd then answers; 0: it plays none. */
uint32_t iommufd_container_ioas(int fd, const struct kernel_calls *calls);
/* -EBUSY while something uses it. */
int iommufd_destroy(int fd, const struct kernel_calls *calls, uint32_t id);
int iommufd_ioas_alloc(int fd, const struct kernel_calls *calls, uint32_t *ret_ioas);
/* 0: everything in that IOAS is mapped in entries of 4 KiB, so that a dirty bit means 4 KiB. Before anything
 * is attached. */
int iommufd_huge_pages(int fd, const struct kernel_calls *calls, uint32_t ioas, bool on);
int iommufd_has_huge_pages(int fd, const struct kernel_calls *calls, uint32_t ioas, bool *ret);
int iommufd_map(int fd, const struct kernel_calls *calls, uint32_t ioas, void *memory, uint64_t size_bytes,
                uint64_t iova);
/* Without an address in the caller's space. -ENOTTY before Linux 6.13. */
int iommufd_map_file(int fd, const struct kernel_calls *calls, uint32_t ioas, int file, uint64_t offset_bytes,
                     uint64_t size_bytes, uint64_t iova);
/* A piece of a region, as its protection says: from its file where the kernel can, so that it hangs on no
 * process' address space; else from where migd has it mapped. */
int iommufd_map_piece(int fd, const struct kernel_calls *calls, uint32_t ioas, const struct iova_mapping *m);
/* Whole mappings only. */
int iommufd_unmap(int fd, const struct kernel_calls *calls, uint32_t ioas, uint64_t iova,
                  uint64_t size_bytes);
/* An HWPT that can track. -EOPNOTSUPP or -EINVAL where the IOMMU or the kernel cannot. */
int iommufd_hwpt_alloc_tracking(int fd, const struct kernel_calls *calls, uint32_t device, uint32_t ioas,
                                uint32_t *ret_hwpt);
/* Whether the IOMMU of this device has dirty bits. */
int iommufd_device_tracks(int fd, const struct kernel_calls *calls, uint32_t device, bool *ret);
int iommufd_set_tracking(int fd, const struct kernel_calls *calls, uint32_t hwpt, bool on);
/* Sets bits in words (zeroed by the caller); bit 0 is iova. keep: does not clear. The kernel answers with a
 * clean bitmap when tracking is off. */
int iommufd_get_dirty(int fd, const struct kernel_calls *calls, uint32_t hwpt, uint64_t iova,
                      uint64_t size_bytes, uint64_t page_bytes, bool keep, uint64_t *words);
/* Ids of HWPTs in an iommufd that somebody else filled, found by asking. Those that cannot track are not
 * among them; *ret_others is how many of these were seen. Returns how many there are, of which at most max
 * are stored, or -errno. */
int iommufd_find_hwpts(int fd, const struct kernel_calls *calls, uint32_t *ids, size_t max,
                       size_t *ret_others);
