/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process itself and its descriptors. */
#include "discover.h"
#include "base/fds.h"
#include "base/parse.h"
#include "foreign-fd.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define DELETED        " (deleted)"
#define ITEMS_MAX      4096u
#define SMALL_FILE_MAX 65536u
#define LINK_MAX_BYTES 4096

/* ---- links ---- */

static bool number_after(const char *text, size_t length, const char *start, unsigned *ret)
{
    size_t n = strlen(start);
    char digits[12];
    uint64_t value;
    if (length <= n || length - n >= sizeof digits || strncmp(text, start, n) != 0)
        return false;
    memcpy(digits, text + n, length - n);
    digits[length - n] = '\0';
    if (parse_unsigned(digits, INT32_MAX, &value) < 0)
        return false;
    *ret = (unsigned)value;
    return true;
}

bool discovery_parse_link(const char *link, struct discovery_item *ret)
{
    size_t length = strlen(link), tail = strlen(DELETED);
    if (length > tail && strcmp(link + length - tail, DELETED) == 0)
        length -= tail;
    struct discovery_item item = {.fd = -1};
    if (length == strlen("/dev/vfio/vfio") && strncmp(link, "/dev/vfio/vfio", length) == 0)
        item.kind = DISCOVERY_CONTAINER;
    else if (length == strlen("/dev/iommu") && strncmp(link, "/dev/iommu", length) == 0)
        item.kind = DISCOVERY_IOMMUFD;
    else if (strcmp(link, "anon_inode:[vfio-device]") == 0)
        item.kind = DISCOVERY_DEVICE;
    else if (number_after(link, length, "/dev/vfio/devices/vfio", &item.number))
        item.kind = DISCOVERY_CDEV;
    else if (number_after(link, length, "/dev/vfio/", &item.number))
        item.kind = DISCOVERY_GROUP;
    else if (number_after(link, length, "/dev/vfio/noiommu-", &item.number)) {
        item.kind = DISCOVERY_GROUP;
        item.no_iommu = true;
    } else
        return false;
    *ret = item;
    return true;
}

/* ---- descriptors ---- */

static bool know_already(struct discovery *d, const struct discovery_world *world,
                         const struct discovery_item *item)
{
    for (size_t i = 0; i < d->n_items; i++) {
        struct discovery_item *known = &d->items[i];
        if (known->kind != item->kind || known->number != item->number ||
            !world->same_file(d->pid, known->fd, item->fd))
            continue;
        if (known->n_others < DISCOVERY_OTHERS_MAX)
            known->others[known->n_others++] = (unsigned)item->fd;
        return true;
    }
    return false;
}

static int add_item(struct discovery *d, const struct discovery_world *world, struct discovery_item *item,
                    struct mig_error *err)
{
    char pid[24];
    if (know_already(d, world, item))
        return 0;
    if (d->n_items >= ITEMS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0,
                             "process %" PRIu64 " holds more than %u descriptors of VFIO and iommufd", d->pid,
                             ITEMS_MAX);
    struct discovery_item *items = reallocarray(d->items, d->n_items + 1, sizeof *items);
    if (!items)
        return mig_error_oom(err);
    d->items = items;
    snprintf(pid, sizeof pid, "%" PRIu64, d->pid);
    item->identity = foreign_identity(world->proc, pid, (uint64_t)item->fd);
    if (!item->identity)
        return 0; /* closed meanwhile */
    d->items[d->n_items++] = *item;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The numbers first, sorted, so that names which are made from the order do not depend on the kernel's. */
static int list_numbers(DIR *dir, int **ret, size_t *ret_n)
{
    _cleanup_free_ int *numbers = NULL;
    size_t n = 0, room = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        uint64_t number;
        if (parse_unsigned(e->d_name, INT32_MAX, &number) < 0)
            continue;
        if (n == room) {
            int *more = reallocarray(numbers, room = room ? room * 2 : 256, sizeof *more);
            if (!more)
                return -ENOMEM;
            numbers = more;
        }
        numbers[n++] = (int)number;
    }
    if (n)
        qsort(numbers, n, sizeof *numbers, by_number);
    *ret = TAKE_PTR(numbers);
    *ret_n = n;
    return 0;
}

static int scan_descriptors(struct discovery *d, const struct discovery_world *world, struct mig_error *err)
{
    char path[600], what[64];
    _cleanup_free_ int *numbers = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%" PRIu64 "/fd", world->proc, d->pid);
    DIR *dir = opendir(path);
    if (!dir) {
        int e = errno;
        if (e == ENOENT)
            return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, ESRCH, "there is no process %" PRIu64 " here",
                                 d->pid);
        snprintf(what, sizeof what, "cannot list the descriptors of process %" PRIu64, d->pid);
        return foreign_explain(d->pid, what, e, err);
    }
    int r = list_numbers(dir, &numbers, &n) < 0 ? mig_error_oom(err) : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        char name[16], link[LINK_MAX_BYTES];
        struct discovery_item item;
        snprintf(name, sizeof name, "%d", numbers[i]);
        ssize_t length = readlinkat(dirfd(dir), name, link, sizeof link - 1);
        if (length < 0) {
            if (errno == EACCES || errno == EPERM) {
                snprintf(what, sizeof what, "cannot look at the descriptors of process %" PRIu64, d->pid);
                r = foreign_explain(d->pid, what, errno, err);
            }
            continue; /* closed meanwhile */
        }
        link[length] = '\0';
        if (discovery_parse_link(link, &item)) {
            item.fd = numbers[i];
            r = add_item(d, world, &item, err);
        } else if (link[0] == '/') {
            discover_memory_fd(d, world, numbers[i], link);
        }
    }
    closedir(dir);
    return r;
}

/* ---- the process ---- */

/* The value of an option among arguments that are separated by NULs; borrowed. */
static const char *argument_after(const char *arguments, size_t size, const char *option)
{
    for (size_t at = 0; at < size; at += strlen(arguments + at) + 1)
        if (strcmp(arguments + at, option) == 0 && at + strlen(option) + 1 < size)
            return arguments + at + strlen(option) + 1;
    return NULL;
}

/* "-name guest=NAME,..." or "-name NAME,..." */
static char *guest_name(const char *arguments, size_t size)
{
    const char *name = argument_after(arguments, size, "-name");
    if (!name)
        return NULL;
    const char *guest = strstr(name, "guest=");
    if (guest && (guest == name || guest[-1] == ','))
        name = guest + strlen("guest=");
    size_t length = strcspn(name, ",");
    return length ? strndup(name, length) : NULL;
}

static bool is_qemu(const char *command, const char *program)
{
    const char *base = program && strrchr(program, '/') ? strrchr(program, '/') + 1 : "";
    return strncmp(command, "qemu-", 5) == 0 || strncmp(base, "qemu-system-", 12) == 0 ||
           strncmp(base, "qemu-kvm", 8) == 0;
}

static int scan_process(struct discovery *d, const struct discovery_world *world, struct mig_error *err)
{
    char path[600], link[LINK_MAX_BYTES];
    _cleanup_free_ char *arguments = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%" PRIu64 "/comm", world->proc, d->pid);
    if (read_file(path, SMALL_FILE_MAX, &d->command, NULL) < 0)
        d->command = strdup("");
    if (!d->command)
        return mig_error_oom(err);
    d->command[strcspn(d->command, "\n")] = '\0';
    snprintf(path, sizeof path, "%s/%" PRIu64 "/exe", world->proc, d->pid);
    ssize_t n = readlink(path, link, sizeof link - 1);
    if (n > 0) {
        link[n] = '\0';
        d->program = strdup(link);
    }
    d->qemu = is_qemu(d->command, d->program);
    snprintf(path, sizeof path, "%s/%" PRIu64 "/cmdline", world->proc, d->pid);
    if (d->qemu && read_file(path, (size_t)1 << 21, &arguments, &size) == 0)
        d->guest = guest_name(arguments, size);
    return 0;
}

int discover(struct discovery *ret, uint64_t pid, const struct discovery_world *world, struct mig_error *err)
{
    struct discovery d = {.pid = pid};
    int r = scan_process(&d, world, err);
    if (r == 0)
        r = discover_memory(&d, world, err);
    if (r == 0)
        r = scan_descriptors(&d, world, err);
    if (r == 0)
        r = discover_devices(&d, world, err);
    if (r < 0) {
        discovery_done(&d);
        return r;
    }
    discover_memory_proposals(&d, world);
    *ret = d;
    return 0;
}

void discovery_done(struct discovery *d)
{
    for (size_t i = 0; i < d->n_items; i++) {
        free(d->items[i].identity);
        free(d->items[i].address);
        free(d->items[i].members);
        free(d->items[i].name);
    }
    for (size_t i = 0; i < d->n_memory; i++) {
        free(d->memory[i].path);
        free(d->memory[i].identity);
    }
    free(d->items);
    free(d->memory);
    free(d->command);
    free(d->program);
    free(d->guest);
    *d = (struct discovery){0};
}

static bool real_same_file(uint64_t pid, int a, int b)
{
    enum { KCMP_FILE_TYPE = 0 }; /* linux/kcmp.h */
    /* A kernel without kcmp takes every descriptor for one of its own. */
    return syscall(SYS_kcmp, (pid_t)pid, (pid_t)pid, KCMP_FILE_TYPE, (unsigned long)a, (unsigned long)b) == 0;
}

const struct discovery_world discovery_real_world = {
    .proc = "/proc",
    .sys = "/sys",
    .same_file = real_same_file,
    .memory_file = discovery_real_memory_file,
};
