/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio/open-target.h"
#include "base/fds.h"
#include "base/parse.h"
#include "vfio/open-refuse.h"
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool open_place(char buf[static OPEN_PATH_MAX], const char *place, const char *otherwise, const char *format,
                ...)
{
    int n = snprintf(buf, OPEN_PATH_MAX, "%s/", place ? place : otherwise);
    if (n < 0 || n >= OPEN_PATH_MAX)
        return false;
    va_list ap;
    va_start(ap, format);
    int m = vsnprintf(buf + n, OPEN_PATH_MAX - (size_t)n, format, ap);
    va_end(ap);
    return m >= 0 && m < OPEN_PATH_MAX - n;
}

/* ---- forms of an address ---- */

static bool fits(const char *text, const char *pattern)
{
    for (; *pattern; pattern++, text++)
        if (*pattern == 'h' ? !isxdigit((unsigned char)*text) : *text != *pattern)
            return false;
    return *text == '\0';
}

static bool is_pci(const char *text)
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    /* 4 digits of a domain, 5 and more behind a VMD. */
    return digits >= 4 && digits <= 8 && fits(text + digits, ":hh:hh.h");
}

static void lower(char *to, size_t size, const char *prefix, const char *text)
{
    snprintf(to, size, "%s%s", prefix, text);
    for (; *to; to++)
        *to = (char)tolower((unsigned char)*to);
}

static int bad_address(const char *name, const char *address, struct mig_error *err)
{
    return open_refuse(err, FINDING_DEVICE_ADDRESS_INVALID, MIG_ERR_INVALID_ARGUMENT, EINVAL, NULL,
                       "device %s: \"%.150s\" is not the address of a device", name, address);
}

/* A path of the caller's choice: below the devices of sysfs once everything is resolved, and nowhere else. */
static int check_path(const char *name, const char *address, const struct open_places *places,
                      char path[static OPEN_PATH_MAX], struct mig_error *err)
{
    const char *sys = places && places->sys ? places->sys : "/sys";
    size_t n = strlen(sys);
    if (strncmp(address, sys, n) != 0 || address[n] != '/' || strstr(address, "/../") ||
        strlen(address) >= OPEN_PATH_MAX ||
        (strlen(address) > 3 && fits(address + strlen(address) - 3, "/..")))
        return bad_address(name, address, err);
    snprintf(path, OPEN_PATH_MAX, "%s", address);
    return 0;
}

static int path_of(const char *name, const char *address, const struct open_places *places,
                   char path[static OPEN_PATH_MAX], struct mig_error *err)
{
    char word[OPEN_ADDRESS_MAX + 1] = "";
    const char *sys = places ? places->sys : NULL;
    if (address[0] == '/')
        return check_path(name, address, places, path, err);
    if (is_pci(address))
        lower(word, sizeof word, "", address);
    else if (fits(address, "hh:hh.h"))
        lower(word, sizeof word, "0000:", address);
    if (word[0])
        return open_place(path, sys, "/sys", "bus/pci/devices/%s", word) ? 0
                                                                         : bad_address(name, address, err);
    if (!fits(address, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"))
        return bad_address(name, address, err);
    lower(word, sizeof word, "", address);
    return open_place(path, sys, "/sys", "bus/mdev/devices/%s", word) ? 0 : bad_address(name, address, err);
}

/* ---- what sysfs says ---- */

/* Last part of what the link NAME of the folder leads to; "" when there is none. */
static void read_link_name(const char *folder, const char *link, char *ret, size_t size)
{
    char path[OPEN_PATH_MAX + 32], target[OPEN_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, link);
    ssize_t n = readlink(path, target, sizeof target - 1);
    ret[0] = '\0';
    if (n <= 0)
        return;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(ret, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

/* Bound to a VFIO driver: then it has a child in the class vfio-dev, since Linux 6.1. The child has a node in
 * /dev where the kernel has cdevs. */
static bool find_cdev(const char *sysfs, char *ret, size_t size)
{
    char path[OPEN_PATH_MAX + 300];
    bool found = false;
    snprintf(path, sizeof path, "%s/vfio-dev", sysfs);
    DIR *d = opendir(path);
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        if (strncmp(e->d_name, "vfio", 4) != 0)
            continue;
        found = true;
        snprintf(path, sizeof path, "%s/vfio-dev/%s/dev", sysfs, e->d_name);
        snprintf(ret, size, "%.30s", access(path, F_OK) == 0 ? e->d_name : "");
    }
    if (d)
        closedir(d);
    return found;
}

static bool is_noiommu(int group, const struct open_places *places)
{
    char path[OPEN_PATH_MAX];
    _cleanup_free_ char *text = NULL;
    return open_place(path, places ? places->sys : NULL, "/sys", "kernel/iommu_groups/%d/name", group) &&
           read_file(path, 64, &text, NULL) == 0 && strcmp(text, "vfio-noiommu\n") == 0;
}

static void learn(struct open_target *t, const struct open_places *places)
{
    char group[32];
    uint64_t number;
    read_link_name(t->sysfs, "driver", t->driver, sizeof t->driver);
    read_link_name(t->sysfs, "subsystem", t->bus, sizeof t->bus);
    read_link_name(t->sysfs, "iommu_group", group, sizeof group);
    t->group = parse_unsigned(group, INT32_MAX, &number) == 0 ? (int)number : -1;
    /* The made-up group of a mediated device bears that name, too. */
    t->noiommu = t->group >= 0 && strcmp(t->bus, "mdev") != 0 && is_noiommu(t->group, places);
    t->vfio = find_cdev(t->sysfs, t->cdev, sizeof t->cdev) || strstr(t->driver, "vfio");
}

static int no_iommu(const struct open_target *t, const char *name, struct mig_error *err)
{
    return open_refuse(err, FINDING_IOMMU_MISSING, MIG_ERR_NOT_SUPPORTED, ENODEV, NULL, "device %s at %s %s",
                       name, t->address,
                       t->noiommu ? "is offered without an IOMMU: nothing limits or translates its DMA"
                                  : "has no IOMMU group, so that no VFIO driver can offer it");
}

static int check(const struct open_target *t, const char *name, struct mig_error *err)
{
    bool physical = strcmp(t->bus, "mdev") != 0;
    if (t->noiommu || (physical && t->group < 0 && !t->vfio))
        return no_iommu(t, name, err);
    if (t->vfio)
        return 0;
    char remedy[230];
    if (strcmp(t->bus, "pci") == 0)
        snprintf(remedy, sizeof remedy,
                 "driverctl set-override %.16s vfio-pci; or: echo vfio-pci to driver_override of it below "
                 "/sys/bus/pci/devices, unbind its driver, echo the address to /sys/bus/pci/drivers_probe",
                 t->address);
    else
        snprintf(remedy, sizeof remedy, "bind it to a driver that offers it through VFIO");
    return open_refuse(err, FINDING_DEVICE_NOT_VFIO, MIG_ERR_WRONG_STATE, EBUSY, remedy,
                       "device %s at %s is bound to %s%s%s", name, t->address,
                       t->driver[0] ? "driver " : "no driver", t->driver,
                       t->driver[0] ? ", which is no VFIO driver" : "");
}

int open_target_find(struct open_target *ret, const char *name, const char *address,
                     const struct open_places *places, struct mig_error *err)
{
    struct open_target t = {.group = -1};
    char path[OPEN_PATH_MAX], devices[OPEN_PATH_MAX];
    int r = path_of(name, address, places, path, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *real = realpath(path, NULL);
    if (!real)
        return open_refuse(err, FINDING_DEVICE_NOT_FOUND, MIG_ERR_NO_SUCH_OBJECT, errno, NULL,
                           "device %s: this host has no device %.150s", name, address);
    _cleanup_free_ char *top =
        open_place(devices, places ? places->sys : NULL, "/sys", "devices") ? realpath(devices, NULL) : NULL;
    size_t n = top ? strlen(top) : 0;
    const char *last = strrchr(real, '/') + 1;
    if (!top || strncmp(real, top, n) != 0 || real[n] != '/' || strlen(real) >= sizeof t.sysfs ||
        strlen(last) > OPEN_ADDRESS_MAX)
        return bad_address(name, address, err);
    snprintf(t.sysfs, sizeof t.sysfs, "%s", real);
    snprintf(t.address, sizeof t.address, "%s", last);
    learn(&t, places);
    if (!t.bus[0]) /* a folder of sysfs that is no device */
        return bad_address(name, address, err);
    r = check(&t, name, err);
    if (r == 0)
        *ret = t;
    return r;
}

/* ---- who is in the way ---- */

static void add_word(char *buf, size_t size, const char *format, ...) _printf_(3, 4);
static void add_word(char *buf, size_t size, const char *format, ...)
{
    size_t n = strlen(buf);
    if (n)
        n += (size_t)snprintf(buf + n, size - n, ", ");
    if (n >= size)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(buf + n, size - n, format, ap);
    va_end(ap);
}

void open_target_neighbours(const struct open_target *t, const struct open_places *places, char *buf,
                            size_t size)
{
    /* Drivers that leave DMA of their devices to whoever has the group. */
    static const char *const harmless[] = {"", "pcieport", "pci-stub", "shpchp"};
    char path[OPEN_PATH_MAX], device[OPEN_PATH_MAX + 300], driver[64], cdev[32];
    buf[0] = '\0';
    if (t->group < 0 ||
        !open_place(path, places ? places->sys : NULL, "/sys", "kernel/iommu_groups/%d/devices", t->group))
        return;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(device, sizeof device, "%s/%s", path, e->d_name);
        if (strlen(device) >= OPEN_PATH_MAX)
            continue;
        read_link_name(device, "driver", driver, sizeof driver);
        bool fine = strstr(driver, "vfio") || find_cdev(device, cdev, sizeof cdev);
        for (size_t i = 0; i < ELEMENTS(harmless); i++)
            fine |= strcmp(driver, harmless[i]) == 0;
        if (!fine)
            add_word(buf, size, "%.60s (%s)", e->d_name, driver);
    }
    if (d)
        closedir(d);
}

static bool has_open(const char *pid, const char *path, const struct open_places *places)
{
    char folder[OPEN_PATH_MAX], link[OPEN_PATH_MAX + 300], target[OPEN_PATH_MAX];
    bool found = false;
    if (!open_place(folder, places ? places->proc : NULL, "/proc", "%.20s/fd", pid))
        return false;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        snprintf(link, sizeof link, "%s/%s", folder, e->d_name);
        ssize_t n = readlink(link, target, sizeof target - 1);
        found = n > 0 && (size_t)n == strlen(path) && memcmp(target, path, (size_t)n) == 0;
    }
    if (d)
        closedir(d);
    return found;
}

void open_target_holders(const char *path, const struct open_places *places, char *buf, size_t size)
{
    char proc[OPEN_PATH_MAX], own[16];
    buf[0] = '\0';
    if (!open_place(proc, places ? places->proc : NULL, "/proc", "."))
        return;
    snprintf(own, sizeof own, "%d", (int)getpid());
    DIR *d = opendir(proc);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!isdigit((unsigned char)e->d_name[0]) || !has_open(e->d_name, path, places))
            continue;
        _cleanup_free_ char *name = NULL;
        if (strcmp(e->d_name, own) == 0)
            add_word(buf, size, "migd itself, for another domain");
        else if (open_place(proc, places ? places->proc : NULL, "/proc", "%.20s/comm", e->d_name) &&
                 read_file(proc, 64, &name, NULL) == 0)
            add_word(buf, size, "process %.20s (%.*s)", e->d_name, (int)strcspn(name, "\n"), name);
        else
            add_word(buf, size, "process %.20s", e->d_name);
    }
    if (d)
        closedir(d);
}
