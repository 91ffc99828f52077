/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio/iommufd.h"
#include "vfio/iommufd-uapi.h"

#define PROBED_IDS_MAX 4096u

bool iommufd_is(int fd, const struct kernel_calls *calls)
{
    /* A request that every iommufd knows, with a size that none takes. Other descriptors do not know the
     * request. */
    struct kiofd_destroy nothing = {.size = 0};
    return kernel_ioctl(calls, fd, KIOFD_DESTROY, &nothing) == -EINVAL;
}

uint32_t iommufd_container_ioas(int fd, const struct kernel_calls *calls)
{
    struct kiofd_vfio_ioas arg = {.size = sizeof arg, .op = KIOFD_VFIO_IOAS_GET};
    return kernel_ioctl(calls, fd, KIOFD_VFIO_IOAS, &arg) == 0 ? arg.ioas_id : 0;
}

int iommufd_destroy(int fd, const struct kernel_calls *calls, uint32_t id)
{
    struct kiofd_destroy arg = {.size = sizeof arg, .id = id};
    return kernel_ioctl(calls, fd, KIOFD_DESTROY, &arg);
}

int iommufd_ioas_alloc(int fd, const struct kernel_calls *calls, uint32_t *ret_ioas)
{
    struct kiofd_ioas_alloc arg = {.size = sizeof arg};
    int r = kernel_ioctl(calls, fd, KIOFD_IOAS_ALLOC, &arg);
    if (r == 0)
        *ret_ioas = arg.out_ioas_id;
    return r;
}

int iommufd_huge_pages(int fd, const struct kernel_calls *calls, uint32_t ioas, bool on)
{
    struct kiofd_option arg = {.size = sizeof arg,
                               .option_id = KIOFD_OPTION_HUGE_PAGES,
                               .op = KIOFD_OPTION_SET,
                               .object_id = ioas,
                               .value = on};
    return kernel_ioctl(calls, fd, KIOFD_OPTION, &arg);
}

int iommufd_has_huge_pages(int fd, const struct kernel_calls *calls, uint32_t ioas, bool *ret)
{
    struct kiofd_option arg = {
        .size = sizeof arg, .option_id = KIOFD_OPTION_HUGE_PAGES, .op = KIOFD_OPTION_GET, .object_id = ioas};
    int r = kernel_ioctl(calls, fd, KIOFD_OPTION, &arg);
    if (r == 0)
        *ret = arg.value;
    return r;
}

int iommufd_map(int fd, const struct kernel_calls *calls, uint32_t ioas, void *memory, uint64_t size_bytes,
                uint64_t iova)
{
    struct kiofd_ioas_map arg = {.size = sizeof arg,
                                 .flags = KIOFD_MAP_FIXED_IOVA | KIOFD_MAP_WRITEABLE | KIOFD_MAP_READABLE,
                                 .ioas_id = ioas,
                                 .user_va = (uintptr_t)memory,
                                 .length = size_bytes,
                                 .iova = iova};
    return kernel_ioctl(calls, fd, KIOFD_IOAS_MAP, &arg);
}

int iommufd_map_file(int fd, const struct kernel_calls *calls, uint32_t ioas, int file, uint64_t offset_bytes,
                     uint64_t size_bytes, uint64_t iova)
{
    struct kiofd_ioas_map_file arg = {.size = sizeof arg,
                                      .flags =
                                          KIOFD_MAP_FIXED_IOVA | KIOFD_MAP_WRITEABLE | KIOFD_MAP_READABLE,
                                      .ioas_id = ioas,
                                      .fd = file,
                                      .start = offset_bytes,
                                      .length = size_bytes,
                                      .iova = iova};
    return kernel_ioctl(calls, fd, KIOFD_IOAS_MAP_FILE, &arg);
}

int iommufd_map_piece(int fd, const struct kernel_calls *calls, uint32_t ioas, const struct iova_mapping *m)
{
    const uint32_t flags = KIOFD_MAP_FIXED_IOVA | (m->prot & IOVA_READ ? KIOFD_MAP_READABLE : 0) |
                           (m->prot & IOVA_WRITE ? KIOFD_MAP_WRITEABLE : 0);
    struct kiofd_ioas_map_file by_file = {.size = sizeof by_file,
                                          .flags = flags,
                                          .ioas_id = ioas,
                                          .fd = m->region->fd,
                                          .start = m->region->offset_bytes + m->offset_bytes,
                                          .length = m->size_bytes,
                                          .iova = m->iova};
    int r = kernel_ioctl(calls, fd, KIOFD_IOAS_MAP_FILE, &by_file);
    /* Older than 6.13, or a file that is neither a memfd nor on tmpfs or hugetlbfs. */
    if (r != -ENOTTY && r != -EINVAL && r != -EBADF)
        return r;
    struct kiofd_ioas_map by_address = {.size = sizeof by_address,
                                        .flags = flags,
                                        .ioas_id = ioas,
                                        .user_va = (uintptr_t)(m->region->map + m->offset_bytes),
                                        .length = m->size_bytes,
                                        .iova = m->iova};
    return kernel_ioctl(calls, fd, KIOFD_IOAS_MAP, &by_address);
}

int iommufd_unmap(int fd, const struct kernel_calls *calls, uint32_t ioas, uint64_t iova, uint64_t size_bytes)
{
    struct kiofd_ioas_unmap arg = {.size = sizeof arg, .ioas_id = ioas, .iova = iova, .length = size_bytes};
    return kernel_ioctl(calls, fd, KIOFD_IOAS_UNMAP, &arg);
}

int iommufd_hwpt_alloc_tracking(int fd, const struct kernel_calls *calls, uint32_t device, uint32_t ioas,
                                uint32_t *ret_hwpt)
{
    struct kiofd_hwpt_alloc arg = {
        .size = sizeof arg, .flags = KIOFD_HWPT_DIRTY_TRACKING, .dev_id = device, .pt_id = ioas};
    int r = kernel_ioctl(calls, fd, KIOFD_HWPT_ALLOC, &arg);
    if (r == 0)
        *ret_hwpt = arg.out_hwpt_id;
    return r;
}

int iommufd_device_tracks(int fd, const struct kernel_calls *calls, uint32_t device, bool *ret)
{
    struct kiofd_hw_info arg = {.size = sizeof arg, .dev_id = device};
    int r = kernel_ioctl(calls, fd, KIOFD_GET_HW_INFO, &arg);
    if (r == 0)
        *ret = arg.out_capabilities & KIOFD_HW_CAP_DIRTY_TRACKING;
    return r;
}

int iommufd_set_tracking(int fd, const struct kernel_calls *calls, uint32_t hwpt, bool on)
{
    struct kiofd_set_dirty arg = {.size = sizeof arg, .flags = on ? KIOFD_DIRTY_ENABLE : 0, .hwpt_id = hwpt};
    return kernel_ioctl(calls, fd, KIOFD_HWPT_SET_DIRTY, &arg);
}

int iommufd_get_dirty(int fd, const struct kernel_calls *calls, uint32_t hwpt, uint64_t iova,
                      uint64_t size_bytes, uint64_t page_bytes, bool keep, uint64_t *words)
{
    struct kiofd_get_dirty arg = {.size = sizeof arg,
                                  .hwpt_id = hwpt,
                                  .flags = keep ? KIOFD_DIRTY_NO_CLEAR : 0,
                                  .iova = iova,
                                  .length = size_bytes,
                                  .page_size = page_bytes,
                                  .data = (uintptr_t)words};
    return kernel_ioctl(calls, fd, KIOFD_HWPT_GET_DIRTY, &arg);
}

int iommufd_find_hwpts(int fd, const struct kernel_calls *calls, uint32_t *ids, size_t max,
                       size_t *ret_others)
{
    int found = 0;
    *ret_others = 0;
    for (uint32_t id = 1; id <= PROBED_IDS_MAX; id++) {
        uint64_t words[64] __attribute__((aligned(4096))) = {0};
        int r = iommufd_get_dirty(fd, calls, id, 0, 4096, 4096, true, words);
        if (r == -ENOTTY)
            return r;
        *ret_others += r == -EOPNOTSUPP;
        if (r < 0)
            continue;
        if ((size_t)found < max)
            ids[found] = id;
        found++;
    }
    return found;
}
