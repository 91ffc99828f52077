/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An open file is an eventfd whose counter is its index in the table of objects: duplicates are known by
 * /proc/self/fdinfo, and an object is gone when no descriptor has its number any more.
 */
#include "fake-vfio.h"
#include "base/fds.h"
#include "vfio/iommufd-uapi.h"
#include "vfio/vfio-uapi.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum { IOMMUFD = 1, CONTAINER, GROUP, CDEV, DEVICE };

/* ---- the tree ---- */

static void must(bool good, const char *what)
{
    if (!good) {
        perror(what);
        abort();
    }
}

static void put_link(const char *target, const char *format, ...) _printf_(2, 3);
static void put_link(const char *target, const char *format, ...)
{
    char path[500];
    va_list ap;
    va_start(ap, format);
    vsnprintf(path, sizeof path, format, ap);
    va_end(ap);
    *strrchr(path, '/') = '\0';
    must(mkdir_parents(path) == 0, path);
    path[strlen(path)] = '/';
    must(symlink(target, path) == 0, path);
}

static void put_file(const char *text, const char *format, ...) _printf_(2, 3);
static void put_file(const char *text, const char *format, ...)
{
    char path[500];
    va_list ap;
    va_start(ap, format);
    vsnprintf(path, sizeof path, format, ap);
    va_end(ap);
    *strrchr(path, '/') = '\0';
    must(mkdir_parents(path) == 0, path);
    path[strlen(path)] = '/';
    FILE *f = fopen(path, "w");
    must(f && fputs(text, f) >= 0 && fclose(f) == 0, path);
}

static void put_device(struct fake_vfio *f, const char *address, int group, const char *driver)
{
    char real[300], link[300];
    bool mediated = strlen(address) == 36;
    snprintf(real, sizeof real, "%s/devices/%s/%s", f->sys, mediated ? "virtual" : "pci0000:00", address);
    snprintf(link, sizeof link, "%s/bus/%s/devices/%s", f->sys, mediated ? "mdev" : "pci", address);
    must(mkdir_parents(real) == 0, real);
    put_link(real, "%s", link);
    put_link(mediated ? "/bus/mdev" : "/bus/pci", "%s/subsystem", real);
    if (driver[0])
        put_link(driver, "%s/driver", real);
    if (group < 0)
        return;
    snprintf(link, sizeof link, "/iommu_groups/%d", group);
    put_link(link, "%s/iommu_group", real);
    put_link(real, "%s/kernel/iommu_groups/%d/devices/%s", f->sys, group, address);
}

struct fake_vfio_device *fake_vfio_add(struct fake_vfio *f, const char *address, int group,
                                       const char *driver)
{
    struct fake_vfio_device *d = &f->devices[f->ndevices++];
    *d = (struct fake_vfio_device){.group = group, .tracks = true};
    snprintf(d->address, sizeof d->address, "%s", address);
    d->mediated = strlen(address) == 36;
    put_device(f, address, group, driver);
    if (strstr(driver, "vfio"))
        put_file("511:0\n", "%s/devices/%s/%s/vfio-dev/vfio%zu/dev", f->sys,
                 d->mediated ? "virtual" : "pci0000:00", address, f->ndevices - 1);
    return d;
}

void fake_vfio_add_neighbour(struct fake_vfio *f, const char *address, int group, const char *driver)
{
    put_device(f, address, group, driver);
}

void fake_vfio_without_iommufd(struct fake_vfio *f)
{
    char path[300];
    snprintf(path, sizeof path, "%s/iommu", f->dev);
    unlink(path);
}

/* ---- files ---- */

static int object_of(int fd)
{
    char path[64];
    _cleanup_free_ char *text = NULL;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    const char *at = read_file(path, 4096, &text, NULL) == 0 ? strstr(text, "eventfd-count:") : NULL;
    return at ? (int)strtol(at + strlen("eventfd-count:"), NULL, 16) : 0;
}

/* What nobody has open any more leaves: a device out of its HWPT, a group out of its container. */
static void collect(struct fake_vfio *f)
{
    bool there[FAKE_OBJECTS_MAX] = {false};
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d));) {
        int i = e->d_name[0] == '.' ? 0 : object_of(atoi(e->d_name));
        if (i > 0 && i < (int)FAKE_OBJECTS_MAX)
            there[i] = true;
    }
    closedir(d);
    for (unsigned i = 1; i < FAKE_OBJECTS_MAX; i++) {
        if (!f->objects[i].kind || there[i])
            continue;
        if (f->objects[i].kind == CDEV || f->objects[i].kind == DEVICE)
            f->devices[f->objects[i].device].open = false;
        for (unsigned h = 0; f->objects[i].kind == CDEV && h < ELEMENTS(f->hwpts); h++)
            f->hwpts[h].attached &= ~(1u << f->objects[i].device);
        if (f->objects[i].kind == IOMMUFD) {
            memset(f->hwpts, 0, sizeof f->hwpts);
            f->nfile_maps = 0;
            f->split = false;
        }
        if (f->objects[i].kind == CONTAINER) {
            f->nmaps = 0;
            f->has_iommu = false;
        }
        f->objects[i].kind = 0;
    }
}

static int new_object(struct fake_vfio *f, int kind, unsigned device, int group)
{
    for (unsigned i = 1; i < FAKE_OBJECTS_MAX; i++)
        if (!f->objects[i].kind) {
            f->objects[i].kind = kind;
            f->objects[i].device = device;
            f->objects[i].group = group;
            return eventfd(i, EFD_CLOEXEC);
        }
    return -EMFILE;
}

static bool is_open(const struct fake_vfio *f, int kind, int group)
{
    for (unsigned i = 1; i < FAKE_OBJECTS_MAX; i++)
        if (f->objects[i].kind == kind && f->objects[i].group == group)
            return true;
    return false;
}

static int step(struct fake_vfio *f, const char *format, ...) _printf_(2, 3);
static int step(struct fake_vfio *f, const char *format, ...)
{
    size_t n = strlen(f->trace);
    va_list ap;
    va_start(ap, format);
    if (n)
        n += (size_t)snprintf(f->trace + n, sizeof f->trace - n, ", ");
    vsnprintf(f->trace + n, sizeof f->trace - n, format, ap);
    va_end(ap);
    return ++f->ncalls == f->fail_at ? f->fail_with : 0;
}

static int fake_open(const struct kernel_calls *calls, const char *path, int flags)
{
    struct fake_vfio *f = CONTAINER_OF((struct kernel_calls *)(uintptr_t)calls, struct fake_vfio, calls);
    const char *what = path + strlen(f->dev) + 1;
    int number, r = step(f, "open %s", what);
    collect(f);
    if (r < 0)
        return r;
    if (strcmp(what, "iommu") == 0)
        return new_object(f, IOMMUFD, 0, -1);
    if (strcmp(what, "vfio/vfio") == 0)
        return new_object(f, CONTAINER, 0, -1);
    if (sscanf(what, "vfio/devices/vfio%d", &number) == 1)
        return new_object(f, CDEV, (unsigned)number, f->devices[number].group);
    if (sscanf(what, "vfio/%d", &number) == 1)
        return is_open(f, GROUP, number) ? -EBUSY : new_object(f, GROUP, 0, number);
    return -ENOENT;
}

/* ---- requests ---- */

static int destroy(struct fake_vfio *f, const struct kiofd_destroy *a)
{
    if (a->size < sizeof *a)
        return -EINVAL; /* somebody asks what kind of file this is */
    collect(f);
    int r = step(f, "destroy %u", a->id);
    for (unsigned h = 0; r == 0 && h < ELEMENTS(f->hwpts); h++)
        if (f->hwpts[h].id == a->id) {
            if (f->hwpts[h].attached)
                return -EBUSY;
            f->hwpts[h].id = 0;
            return 0;
        }
    return r < 0 ? r : -ENOENT;
}

static int hwpt_alloc(struct fake_vfio *f, struct kiofd_hwpt_alloc *a)
{
    const struct fake_vfio_device *d = &f->devices[a->dev_id - 100];
    int r = step(f, "hwpt-alloc");
    if (r < 0 || !d->tracks)
        return r < 0 ? r : -EOPNOTSUPP;
    for (unsigned h = 0; h < ELEMENTS(f->hwpts); h++)
        if (!f->hwpts[h].id) {
            f->hwpts[h].id = a->out_hwpt_id = ++f->next_id;
            f->hwpts[h].iommu = d->iommu;
            f->hwpts[h].attached = 0;
            return 0;
        }
    return -ENOSPC;
}

static int hw_info(struct fake_vfio *f, struct kiofd_hw_info *a)
{
    const struct fake_vfio_device *d = &f->devices[a->dev_id - 100];
    int r = step(f, "hw-info");
    if (r < 0 || d->mediated)
        return r < 0 ? r : -ENOENT;
    a->out_capabilities = d->tracks ? KIOFD_HW_CAP_DIRTY_TRACKING : 0;
    return 0;
}

static bool anything_attached(const struct fake_vfio *f)
{
    for (unsigned h = 0; h < ELEMENTS(f->hwpts); h++)
        if (f->hwpts[h].attached)
            return true;
    return false;
}

static int set_option(struct fake_vfio *f, const struct kiofd_option *a)
{
    int r = step(f, "option %u=%u", a->option_id, (unsigned)a->value);
    if (r == 0 && anything_attached(f))
        return -EBUSY;
    f->split |= r == 0 && a->value == 0;
    return r;
}

static int on_iommufd(struct fake_vfio *f, unsigned long request, void *arg)
{
    int r;
    switch (request) {
    case KIOFD_DESTROY:
        return destroy(f, arg);
    case KIOFD_IOAS_ALLOC:
        r = step(f, "ioas-alloc");
        ((struct kiofd_ioas_alloc *)arg)->out_ioas_id = 1;
        return r;
    case KIOFD_OPTION:
        return set_option(f, arg);
    case KIOFD_GET_HW_INFO:
        return hw_info(f, arg);
    case KIOFD_HWPT_ALLOC:
        return hwpt_alloc(f, arg);
    case KIOFD_IOAS_MAP_FILE:
        if (f->no_map_file)
            return -ENOTTY;
        r = step(f, "map-file %llx", (unsigned long long)((struct kiofd_ioas_map_file *)arg)->iova);
        f->nfile_maps += r == 0;
        return r;
    case KIOFD_IOAS_MAP:
        r = step(f, "map %llx", (unsigned long long)((struct kiofd_ioas_map *)arg)->iova);
        f->nmaps += r == 0;
        return r;
    case KIOFD_IOAS_UNMAP:
        r = step(f, "unmap");
        if (r == 0 && f->nfile_maps)
            f->nfile_maps--;
        else if (r == 0)
            f->nmaps--;
        return r;
    case KIOFD_HWPT_SET_DIRTY:
        return 0;
    default:
        return -ENOTTY;
    }
}

static int type1_info(struct kvfio_iommu_info *i)
{
    struct {
        struct kvfio_iommu_info head;
        struct kvfio_cap_migration migration;
    } all = {
        .head = {.argsz = sizeof all, .flags = KVFIO_INFO_CAPS, .cap_offset = sizeof all.head},
        .migration = {.header = {.id = KVFIO_CAP_MIGRATION},
                      .pgsize_bitmap = 0x1000,
                      .max_dirty_bitmap_size = 1 << 20},
    };
    uint32_t room = i->argsz;
    memcpy(i, &all, room >= sizeof all ? sizeof all : sizeof all.head);
    return 0;
}

static int on_container(struct fake_vfio *f, unsigned long request, void *arg)
{
    int r;
    switch (request) {
    case KVFIO_GET_API_VERSION:
        return step(f, "api-version");
    case KVFIO_CHECK_EXTENSION:
        r = step(f, "check-extension");
        return r < 0 ? r : (uintptr_t)arg == KVFIO_TYPE1V2_IOMMU;
    case KVFIO_SET_IOMMU:
        r = step(f, "set-iommu");
        f->has_iommu |= r == 0;
        return r;
    case KVFIO_IOMMU_GET_INFO:
        r = step(f, "get-info");
        return r < 0 ? r : f->has_iommu ? type1_info(arg) : -EINVAL;
    case KVFIO_IOMMU_MAP_DMA:
        r = step(f, "map %llx", (unsigned long long)((struct kvfio_dma_map *)arg)->iova);
        f->nmaps += r == 0;
        return r;
    case KVFIO_IOMMU_UNMAP_DMA:
        f->nmaps--;
        return step(f, "unmap");
    default:
        return f->compat ? on_iommufd(f, request, arg) : f->has_iommu ? -ENOTTY : -EINVAL;
    }
}

static int get_device(struct fake_vfio *f, const char *name)
{
    int r = step(f, "get-device %s", name);
    for (unsigned i = 0; r == 0 && i < f->ndevices; i++)
        if (strcmp(f->devices[i].address, name) == 0) {
            f->devices[i].open = true;
            return new_object(f, DEVICE, i, f->devices[i].group);
        }
    return r < 0 ? r : -ENODEV;
}

static int on_group(struct fake_vfio *f, unsigned long request, void *arg)
{
    struct kvfio_group_status *s = arg;
    int r;
    switch (request) {
    case KVFIO_GROUP_GET_STATUS:
        r = step(f, "status");
        s->flags = f->group_not_viable ? 0 : KVFIO_GROUP_VIABLE;
        return r;
    case KVFIO_GROUP_SET_CONTAINER:
        return step(f, "set-container");
    case KVFIO_GROUP_GET_DEVICE_FD:
        return get_device(f, arg);
    default:
        return -ENOTTY;
    }
}

static int attach(struct fake_vfio *f, unsigned device, struct kvfio_attach_pt *a)
{
    int r = step(f, "attach %u", a->pt_id);
    if (r < 0 || a->pt_id == 1) {
        a->pt_id = 77; /* one that the kernel made */
        return r;
    }
    for (unsigned h = 0; h < ELEMENTS(f->hwpts); h++)
        if (f->hwpts[h].id == a->pt_id) {
            if (f->hwpts[h].iommu != f->devices[device].iommu)
                return -EINVAL;
            f->hwpts[h].attached |= 1u << device;
            return 0;
        }
    return -ENOENT;
}

static int on_feature(const struct fake_vfio_device *d, struct kvfio_feature *a)
{
    switch (a->flags & 0xffff) {
    case KVFIO_FEATURE_MIGRATION:
        if (d->migrates)
            *(uint64_t *)(a + 1) = 1;
        return d->migrates ? 0 : -ENOTTY;
    case KVFIO_FEATURE_DEVICE_STATE:
        *(struct kvfio_mig_state *)(a + 1) = (struct kvfio_mig_state){.state = 2, .data_fd = -1};
        return d->migrates ? 0 : -ENOTTY;
    case KVFIO_FEATURE_LOG_START:
    case KVFIO_FEATURE_LOG_STOP:
    case KVFIO_FEATURE_LOG_REPORT:
        return d->logs ? 0 : -ENOTTY;
    default:
        return -ENOTTY;
    }
}

static int on_device(struct fake_vfio *f, unsigned device, unsigned long request, void *arg)
{
    struct kvfio_bind_iommufd *b = arg;
    struct kvfio_device_info *i = arg;
    int r;
    switch (request) {
    case KVFIO_DEVICE_BIND_IOMMUFD:
        r = step(f, "bind");
        if (r == 0 && f->devices[device].open)
            return is_open(f, DEVICE, f->devices[device].group) ? -EBUSY : -EINVAL;
        f->devices[device].open |= r == 0;
        b->out_devid = 100 + device;
        return r;
    case KVFIO_DEVICE_ATTACH_PT:
        return attach(f, device, arg);
    case KVFIO_DEVICE_GET_INFO:
        r = step(f, "device-info");
        i->flags = KVFIO_DEVICE_FLAG_RESET;
        return r;
    case KVFIO_DEVICE_FEATURE:
        return on_feature(&f->devices[device], arg);
    default:
        return -ENOTTY;
    }
}

static int fake_ioctl(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    struct fake_vfio *f = CONTAINER_OF((struct kernel_calls *)(uintptr_t)calls, struct fake_vfio, calls);
    int i = object_of(fd);
    must(i > 0 && i < (int)FAKE_OBJECTS_MAX && f->objects[i].kind, "a request on a foreign descriptor");
    switch (f->objects[i].kind) {
    case IOMMUFD:
        return on_iommufd(f, request, arg);
    case CONTAINER:
        return on_container(f, request, arg);
    case GROUP:
        return on_group(f, request, arg);
    default:
        return on_device(f, f->objects[i].device, request, arg);
    }
}

/* ---- life ---- */

void fake_vfio_init(struct fake_vfio *f)
{
    *f = (struct fake_vfio){.next_id = 9, .fail_with = -EIO};
    f->calls = (struct kernel_calls){.ioctl = fake_ioctl, .open = fake_open};
    snprintf(f->folder, sizeof f->folder, "/tmp/fake-vfio-XXXXXX");
    must(mkdtemp(f->folder), f->folder);
    snprintf(f->sys, sizeof f->sys, "%s/sys", f->folder);
    snprintf(f->dev, sizeof f->dev, "%s/dev", f->folder);
    snprintf(f->proc, sizeof f->proc, "%s/proc", f->folder);
    f->places = (struct open_places){.sys = f->sys, .dev = f->dev, .proc = f->proc, .calls = &f->calls};
    put_file("", "%s/iommu", f->dev);
    put_file("qemu-system-x86\n", "%s/4711/comm", f->proc);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void fake_vfio_done(struct fake_vfio *f)
{
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fake_vfio_restart(struct fake_vfio *f)
{
    collect(f);
    f->ncalls = 0;
    f->trace[0] = '\0';
}

unsigned fake_vfio_hwpts(const struct fake_vfio *f)
{
    unsigned n = 0;
    for (unsigned h = 0; h < ELEMENTS(f->hwpts); h++)
        n += f->hwpts[h].id != 0;
    return n;
}
