/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab.h"
#include "base/clock.h"
#include "vfio/vfio-uapi.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static jmp_buf out_of_case;
static const char *case_name;

static void say(const char *verdict, const char *format, va_list ap)
{
    char text[700];
    vsnprintf(text, sizeof text, format, ap);
    printf("LAB %s %s - %s\n", verdict, case_name ? case_name : "-", text);
    fflush(stdout);
}

void lab_fail(const char *file, int line, const char *format, ...)
{
    char where[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(where, sizeof where, format, ap);
    va_end(ap);
    printf("LAB fail %s - %s:%d: %s\n", case_name, strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line,
           where);
    fflush(stdout);
    longjmp(out_of_case, 1);
}

void lab_skip(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say("skip", format, ap);
    va_end(ap);
    longjmp(out_of_case, 2);
}

void lab_note(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say("note", format, ap);
    va_end(ap);
}

int lab_run(const struct lab_case *cases, size_t count)
{
    volatile int failed = 0;
    for (volatile size_t i = 0; i < count; i++) {
        case_name = cases[i].name;
        volatile uint64_t begun = now_usec();
        int how = setjmp(out_of_case);
        if (how == 0) {
            cases[i].run();
            printf("LAB pass %s - %" PRIu64 " ms\n", case_name, (now_usec() - begun) / 1000);
            fflush(stdout);
        }
        failed |= how == 1;
    }
    return failed;
}

/* ---- sysfs ---- */

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        lab_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    close(fd);
}

static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    close_fd(&fd);
    text[n < 0 ? 0 : n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return n >= 0;
}

const char *lab_new_mtty(unsigned ports)
{
    static char paths[64][80];
    static unsigned n;
    char uuid[40], type[80];
    snprintf(type, sizeof type, "/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-%u/create", ports);
    if (access(type, F_OK) < 0)
        lab_skip("this kernel has no mtty");
    if (n >= ELEMENTS(paths))
        lab_fail(__FILE__, __LINE__, "too many mttys");
    snprintf(uuid, sizeof uuid, "6d696764-0000-4000-%04x-%012x", (unsigned)getpid() & 0xffff, n);
    write_text(type, uuid);
    snprintf(paths[n], sizeof paths[n], "/sys/bus/mdev/devices/%s", uuid);
    return paths[n++];
}

const char *lab_edu(unsigned wanted)
{
    static char path[300];
    char file[400], text[64];
    const char *found = NULL;
    DIR *d = opendir("/sys/bus/pci/devices");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        snprintf(file, sizeof file, "/sys/bus/pci/devices/%s/device", e->d_name);
        if (e->d_name[0] == '.' || !read_text(file, text, sizeof text) || strcmp(text, "0x11e8") != 0 ||
            wanted--)
            continue;
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s", e->d_name);
        found = path;
        break;
    }
    if (found) {
        snprintf(file, sizeof file, "%s/driver", path);
        if (access(file, F_OK) < 0) {
            snprintf(file, sizeof file, "%s/driver_override", path);
            write_text(file, "vfio-pci");
            write_text("/sys/bus/pci/drivers_probe", strrchr(path, '/') + 1);
        }
    }
    if (d)
        closedir(d);
    return found;
}

/* ---- opening ---- */

static int open_by_group(const char *sysfs, int container, bool fresh)
{
    char link[400], target[400], path[500];
    snprintf(link, sizeof link, "%s/iommu_group", sysfs);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n < 0)
        lab_fail(__FILE__, __LINE__, "%s: %s", link, strerror(errno));
    target[n] = '\0';
    snprintf(path, sizeof path, "/dev/vfio%s", strrchr(target, '/'));
    int group = open(path, O_RDWR | O_CLOEXEC);
    if (group < 0)
        lab_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    LAB_EQUAL(kernel_ioctl(NULL, group, KVFIO_GROUP_SET_CONTAINER, &container), 0);
    if (fresh)
        LAB_EQUAL(kernel_ioctl(NULL, container, KVFIO_SET_IOMMU, (void *)(uintptr_t)KVFIO_TYPE1V2_IOMMU), 0);
    int device = kernel_ioctl(NULL, group, KVFIO_GROUP_GET_DEVICE_FD, strrchr(sysfs, '/') + 1);
    LAB_CHECK(device >= 0);
    close(group);
    return device;
}

int lab_open_by_group(const char *sysfs, int *container)
{
    bool fresh = *container < 0;
    if (fresh)
        *container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    return open_by_group(sysfs, *container, fresh);
}

int lab_open_by_group_of_iommufd(const char *sysfs, int iommufd)
{
    return open_by_group(sysfs, iommufd, true);
}

int lab_open_by_cdev(const char *sysfs, int iommufd, uint32_t *ret_devid)
{
    char path[700], name[256] = "";
    snprintf(path, sizeof path, "%s/vfio-dev", sysfs);
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.')
            snprintf(name, sizeof name, "%s", e->d_name);
    if (d)
        closedir(d);
    if (!name[0])
        lab_skip("this kernel has no VFIO cdevs");
    snprintf(path, sizeof path, "/dev/vfio/devices/%s", name);
    int device = open(path, O_RDWR | O_CLOEXEC);
    if (device < 0)
        lab_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    struct kvfio_bind_iommufd bind = {.argsz = sizeof bind, .iommufd = iommufd};
    LAB_EQUAL(kernel_ioctl(NULL, device, KVFIO_DEVICE_BIND_IOMMUFD, &bind), 0);
    *ret_devid = bind.out_devid;
    return device;
}

int lab_attach(int device, uint32_t pt)
{
    struct kvfio_attach_pt arg = {.argsz = sizeof arg, .pt_id = pt};
    return kernel_ioctl(NULL, device, KVFIO_DEVICE_ATTACH_PT, &arg);
}

/* ---- registers ---- */

static uint64_t region_offset(int device, unsigned index)
{
    struct kvfio_region_info region = {.argsz = sizeof region, .index = index};
    LAB_EQUAL(kernel_ioctl(NULL, device, KVFIO_DEVICE_GET_REGION_INFO, &region), 0);
    return region.offset;
}

static void put(int device, unsigned region, uint64_t offset, const void *value, size_t size)
{
    LAB_EQUAL(pwrite(device, value, size, (off_t)(region_offset(device, region) + offset)), size);
}

static void get(int device, unsigned region, uint64_t offset, void *value, size_t size)
{
    LAB_EQUAL(pread(device, value, size, (off_t)(region_offset(device, region) + offset)), size);
}

void lab_write32(int device, unsigned region, uint64_t offset, uint32_t value)
{
    put(device, region, offset, &value, sizeof value);
}

uint32_t lab_read32(int device, unsigned region, uint64_t offset)
{
    uint32_t value = 0;
    get(device, region, offset, &value, sizeof value);
    return value;
}

void lab_write8(int device, unsigned region, uint64_t offset, uint8_t value)
{
    put(device, region, offset, &value, sizeof value);
}

uint8_t lab_read8(int device, unsigned region, uint64_t offset)
{
    uint8_t value = 0;
    get(device, region, offset, &value, sizeof value);
    return value;
}

int lab_mtty_dma(int device, uint64_t iova)
{
    uint32_t page = (uint32_t)(iova >> 12);
    ssize_t n =
        pwrite(device, &page, sizeof page, (off_t)(region_offset(device, KVFIO_PCI_CONFIG_REGION) + 0xe0));
    return n == sizeof page ? 0 : n < 0 ? -errno : -EIO;
}

enum { MTTY_FAULT = 0xe4 };

uint32_t lab_mtty_armed(int device)
{
    return lab_read32(device, KVFIO_PCI_CONFIG_REGION, MTTY_FAULT);
}

void lab_mtty_arm(int device, uint32_t fault)
{
    lab_write32(device, KVFIO_PCI_CONFIG_REGION, MTTY_FAULT, fault);
    if (lab_mtty_armed(device) != fault)
        lab_skip(
            "the mtty of this kernel cannot be made to fail: it was built without today's mtty-dma.patch");
}

enum {
    EDU_SOURCE = 0x80,
    EDU_TARGET = 0x88,
    EDU_COUNT = 0x90,
    EDU_COMMAND = 0x98,
    EDU_START = 1,
    EDU_TO_MEMORY = 2,
    EDU_BUFFER = 0x40000
};

static void edu_move(int device, uint32_t from, uint32_t to, uint32_t bytes, uint32_t command)
{
    uint32_t control = lab_read32(device, KVFIO_PCI_CONFIG_REGION, 4);
    lab_write32(device, KVFIO_PCI_CONFIG_REGION, 4, (control & 0xffff) | 6); /* memory and bus master */
    lab_write32(device, 0, EDU_SOURCE, from);
    lab_write32(device, 0, EDU_TARGET, to);
    lab_write32(device, 0, EDU_COUNT, bytes);
    lab_write32(device, 0, EDU_COMMAND, command);
    for (uint64_t until = now_usec() + 90 * USEC_PER_SEC; lab_read32(device, 0, EDU_COMMAND) & EDU_START;) {
        if (now_usec() > until)
            lab_fail(__FILE__, __LINE__, "edu does not finish");
        usleep(1000);
    }
}

void lab_edu_dma(int device, uint64_t iova, uint32_t bytes)
{
    edu_move(device, EDU_BUFFER, (uint32_t)iova, bytes, EDU_START | EDU_TO_MEMORY);
}

void lab_edu_fetch(int device, uint64_t iova, uint32_t bytes)
{
    edu_move(device, (uint32_t)iova, EDU_BUFFER, bytes, EDU_START);
}

void lab_type1_map(int container, void *memory, uint64_t size, uint64_t iova)
{
    struct kvfio_dma_map arg = {.argsz = sizeof arg,
                                .flags = KVFIO_MAP_READ | KVFIO_MAP_WRITE,
                                .vaddr = (uintptr_t)memory,
                                .iova = iova,
                                .size = size};
    LAB_EQUAL(kernel_ioctl(NULL, container, KVFIO_IOMMU_MAP_DMA, &arg), 0);
}
