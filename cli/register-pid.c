/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register-pid.h"
#include "base/parse.h"
#include "domain-fields.h"
#include "domain-items.h"
#include "foreign-fd.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NAME_MAX_BYTES 63u

static bool is_container(const struct discovery_item *item)
{
    return item->kind == DISCOVERY_CONTAINER || item->kind == DISCOVERY_IOMMUFD;
}

static bool is_device(const struct discovery_item *item)
{
    return item->kind == DISCOVERY_DEVICE || item->kind == DISCOVERY_CDEV;
}

/* ---- names ---- */

static bool name_taken(const struct discovery *d, const char *name)
{
    for (size_t i = 0; i < d->n_items; i++)
        if (d->items[i].name && strcmp(d->items[i].name, name) == 0)
            return true;
    return false;
}

/* As migd wants the names of parts. */
static bool good_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:";
    size_t n = strlen(name);
    return n && n <= NAME_MAX_BYTES && strspn(name, letters) == n && !strchr("._-:", name[0]);
}

/* A container by its place in the process, a device by its address where that is known. */
static int name_items(struct discovery *d, struct mig_error *err)
{
    unsigned containers = 0, devices = 0;
    for (size_t i = 0; i < d->n_items; i++) {
        struct discovery_item *item = &d->items[i];
        int r = 0;
        if (is_container(item)) {
            r = asprintf(&item->name, "container%u", containers++);
        } else if (is_device(item)) {
            unsigned n = devices++;
            if (item->address && good_name(item->address) && !name_taken(d, item->address))
                r = (item->name = strdup(item->address)) ? 0 : -1;
            else
                r = asprintf(&item->name, "device%u", n);
        }
        if (r < 0) {
            item->name = NULL;
            return mig_error_oom(err);
        }
        if (item->name)
            item->use = DISCOVERY_TAKEN;
    }
    return 0;
}

static bool has_fd(const struct discovery_item *item, uint64_t fd)
{
    if ((uint64_t)item->fd == fd)
        return true;
    for (size_t i = 0; i < item->n_others; i++)
        if (item->others[i] == fd)
            return true;
    return false;
}

/* By name, address or descriptor. */
static int find_item(struct discovery *d, const char *option, const char *what, struct discovery_item **ret,
                     struct mig_error *err)
{
    uint64_t fd;
    bool number = parse_unsigned(what, INT32_MAX, &fd) == 0;
    for (size_t i = 0; i < d->n_items; i++) {
        struct discovery_item *item = &d->items[i];
        if (!item->name ||
            (strcmp(item->name, what) != 0 && (!item->address || strcmp(item->address, what) != 0) &&
             !(number && has_fd(item, fd))))
            continue;
        *ret = item;
        return 0;
    }
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          "--%s: process %" PRIu64 " holds no container or device \"%.64s\"", option, d->pid,
                          what);
    mig_error_hint(err, "--dry-run lists what it holds: a name, an address or a descriptor can be given");
    return r;
}

static int apply_name(struct discovery *d, const char *value, struct mig_error *err)
{
    struct discovery_item *item;
    const char *equals = strrchr(value, '=');
    if (!equals || equals == value || !equals[1])
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "--name: \"%.64s\" is not of the form FOUND=NAME", value);
    _cleanup_free_ char *what = strndup(value, (size_t)(equals - value)), *name = strdup(equals + 1);
    if (!what || !name)
        return mig_error_oom(err);
    int r = find_item(d, "name", what, &item, err);
    if (r < 0)
        return r;
    free(item->name);
    item->name = TAKE_PTR(name);
    return 0;
}

static int apply_options(struct discovery *d, const struct args *args, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < args->n_given; i++) {
        struct discovery_item *item;
        if (args->given[i].id == OPT_NAME)
            r = apply_name(d, args->given[i].value, err);
        else if (args->given[i].id == OPT_SKIP &&
                 (r = find_item(d, "skip", args->given[i].value, &item, err)) == 0)
            item->use = DISCOVERY_SKIPPED;
    }
    return r;
}

/* ---- what was given beside ---- */

static int own_pid(const struct field_table *table, void *item, const char *pid, struct mig_error *err)
{
    if (!field_given(table, item, "fd") || field_given(table, item, "pid"))
        return 0;
    return field_set_text(table, item, "--pid", "pid", pid, err);
}

static int own_pids(struct domain_spec *spec, const char *pid, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < spec->n_memory; i++)
        r = own_pid(&memory_fields, &spec->memory[i], pid, err);
    for (size_t i = 0; r == 0 && i < spec->n_containers; i++)
        r = own_pid(&container_fields, &spec->containers[i], pid, err);
    for (size_t i = 0; r == 0 && i < spec->n_devices; i++)
        r = own_pid(&device_fields, &spec->devices[i], pid, err);
    for (size_t i = 0; r == 0 && i < spec->n_trackers; i++)
        r = own_pid(&tracker_fields, &spec->trackers[i], pid, err);
    return r;
}

static void mark_given(struct discovery *d, const struct domain_spec *spec)
{
    for (size_t i = 0; i < d->n_items; i++) {
        struct discovery_item *item = &d->items[i];
        for (size_t k = 0; is_container(item) && k < spec->n_containers; k++)
            if (spec->containers[k].pid == d->pid && has_fd(item, spec->containers[k].fd))
                item->use = DISCOVERY_GIVEN;
        for (size_t k = 0; is_device(item) && k < spec->n_devices; k++)
            if (spec->devices[k].pid == d->pid && field_given(&device_fields, &spec->devices[k], "fd") &&
                has_fd(item, spec->devices[k].fd))
                item->use = DISCOVERY_GIVEN;
    }
}

/* A name that is missing is told later. */
static const char *label(const struct spec_memory *m)
{
    return m->name ? m->name : "without a name";
}

static int not_shared(const struct discovery *d, const struct spec_memory *m, const char *what,
                      struct mig_error *err)
{
    int r =
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                      "memory %.64s: process %" PRIu64 " has %.200s not mapped as memory that it shares and "
                      "writes",
                      label(m), d->pid, what);
    mig_error_hint(err,
                   "--dry-run lists what it has mapped so; for memory of another process give its pid too");
    return r;
}

static int check_fd(struct discovery *d, struct spec_memory *m, const char *pid, struct mig_error *err)
{
    char what[300];
    _cleanup_free_ char *identity = foreign_identity(discovery_real_world.proc, pid, m->fd);
    const char *link = identity ? strchr(identity, ' ') + 1 : NULL;
    uint64_t inode = identity ? strtoull(identity, NULL, 10) : 0;
    if (!identity)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EBADF,
                             "memory %.64s: process %s has no descriptor %" PRIu64, label(m), pid, m->fd);
    for (size_t i = 0; i < d->n_memory; i++)
        if ((inode == 0 || d->memory[i].inode == inode) && strcmp(d->memory[i].path, link) == 0) {
            d->memory[i].given = true;
            m->seen = TAKE_PTR(identity);
            return 0;
        }
    snprintf(what, sizeof what, "descriptor %" PRIu64 " (%.200s)", m->fd, link);
    return not_shared(d, m, what, err);
}

static int check_path(struct discovery *d, const struct spec_memory *m, struct mig_error *err)
{
    struct stat st;
    bool found = false;
    if (stat(m->path, &st) < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, errno, "cannot open %s: %s", m->path,
                             strerror(errno));
    uint64_t device = (uint64_t)major(st.st_dev) << 32 | minor(st.st_dev);
    for (size_t i = 0; i < d->n_memory; i++)
        if (d->memory[i].inode == st.st_ino &&
            (d->memory[i].device == device || strcmp(d->memory[i].path, m->path) == 0))
            found = d->memory[i].given = true;
    return found ? 0 : not_shared(d, m, m->path, err);
}

static int check_memory(struct discovery *d, struct domain_spec *spec, const char *pid, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < spec->n_memory; i++) {
        struct spec_memory *m = &spec->memory[i];
        if (field_given(&memory_fields, m, "fd") && m->pid == d->pid)
            r = check_fd(d, m, pid, err);
        else if (m->path)
            r = check_path(d, m, err);
    }
    return r;
}

/* ---- what is added ---- */

static int set(const struct field_table *table, void *item, const char *key, const char *value,
               struct mig_error *err)
{
    return field_set_text(table, item, "--pid", key, value, err);
}

static int set_descriptor(const struct field_table *table, void *to, const struct discovery_item *item,
                          const char *pid, char **ret_seen, struct mig_error *err)
{
    char fd[16];
    snprintf(fd, sizeof fd, "%d", item->fd);
    int r = set(table, to, "name", item->name, err);
    if (r == 0)
        r = set(table, to, "pid", pid, err);
    if (r == 0)
        r = set(table, to, "fd", fd, err);
    if (r == 0 && !(*ret_seen = strdup(item->identity)))
        r = mig_error_oom(err);
    return r;
}

static int add_container(struct domain_spec *spec, const struct discovery_item *item, const char *pid,
                         struct mig_error *err)
{
    void *to;
    int r = domain_spec_new_item(spec, &container_fields, &to, err);
    return r < 0
               ? r
               : set_descriptor(&container_fields, to, item, pid, &((struct spec_container *)to)->seen, err);
}

/* Its own log, or its container's: migd asks. The IOMMU of an iommufd does not see what a mediated device
 * writes, so there only its own log will do. */
static int add_device(struct domain_spec *spec, const struct discovery_item *item, const char *pid,
                      struct mig_error *err)
{
    void *to;
    bool only_log = item->mediated && item->kind == DISCOVERY_CDEV;
    int r = domain_spec_new_item(spec, &device_fields, &to, err);
    if (r == 0)
        r = set_descriptor(&device_fields, to, item, pid, &((struct spec_device *)to)->seen, err);
    if (r == 0)
        r = set(&device_fields, to, "type", "vfio", err);
    return r < 0 ? r : set(&device_fields, to, "tracker", only_log ? "device" : "auto", err);
}

static int by_name(const void *a, const void *b)
{
    const struct discovery_item *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Devices in the order of their names: both sides of a migration must have the same. */
static int add_items(struct domain_spec *spec, struct discovery *d, const char *pid, struct mig_error *err)
{
    _cleanup_free_ struct discovery_item **devices = calloc(d->n_items + 1, sizeof *devices);
    size_t n = 0;
    int r = devices ? 0 : mig_error_oom(err);
    for (size_t i = 0; r == 0 && i < d->n_items; i++) {
        struct discovery_item *item = &d->items[i];
        if (item->use != DISCOVERY_TAKEN)
            continue;
        if (is_device(item))
            devices[n++] = item;
        else
            r = add_container(spec, item, pid, err);
    }
    if (n)
        qsort(devices, n, sizeof devices[0], by_name);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_device(spec, devices[i], pid, err);
    return r;
}

static bool anything_to_register(const struct discovery *d, const struct domain_spec *spec)
{
    for (size_t i = 0; i < d->n_items; i++)
        if (d->items[i].name)
            return true;
    return spec->n_devices > 0;
}

static int check_found(const struct discovery *d, const struct domain_spec *spec, bool dry,
                       struct mig_error *err)
{
    if (dry || anything_to_register(d, spec))
        return 0;
    int r =
        mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0,
                      "process %" PRIu64 " (%.64s) holds no VFIO container, no iommufd and no VFIO device",
                      d->pid, d->command);
    mig_error_hint(err, "Is it the process that has the device open? For a vfio-user device give --device "
                        "name=,socket= as well");
    return r;
}

static bool anything_mapped(const struct domain_spec *spec)
{
    for (size_t i = 0; i < spec->n_memory; i++)
        if (spec->memory[i].n_iova)
            return true;
    return false;
}

int register_pid(struct domain_spec *spec, const struct args *args, struct discovery *ret, bool *ret_missing,
                 struct mig_error *err)
{
    const char *text = args_value(args, OPT_PID);
    struct discovery d = {0};
    char pid[24];
    uint64_t number;
    int pidfd;
    if (parse_unsigned(text, INT32_MAX, &number) < 0 || number == 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "--pid: \"%.64s\" is not the number of a process", text);
    snprintf(pid, sizeof pid, "%" PRIu64, number);
    int r = foreign_open(number, &pidfd, err);
    if (r == 0)
        r = discover(&d, number, &discovery_real_world, err);
    if (r < 0)
        return r;
    r = foreign_open(number, &pidfd, err); /* is it still there? Then it was one process all the time. */
    if (r == 0)
        r = name_items(&d, err);
    if (r == 0)
        r = apply_options(&d, args, err);
    if (r == 0)
        r = own_pids(spec, pid, err);
    if (r == 0)
        r = check_found(&d, spec, args_has(args, OPT_DRY_RUN), err);
    if (r == 0)
        r = check_memory(&d, spec, pid, err);
    if (r == 0) {
        mark_given(&d, spec);
        r = add_items(spec, &d, pid, err);
    }
    if (r < 0) {
        discovery_done(&d);
        return r;
    }
    *ret = d;
    *ret_missing = anything_to_register(ret, spec) && !anything_mapped(spec);
    return 0;
}

int register_pid_refuse_options(const struct args *args, struct mig_error *err)
{
    static const enum option_id ours[] = {OPT_DRY_RUN, OPT_NAME, OPT_SKIP};
    for (size_t i = 0; i < ELEMENTS(ours); i++)
        if (args_has(args, ours[i]))
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--%s goes with --pid",
                                 args_option_name(ours[i]));
    return 0;
}

int register_pid_ask(const struct discovery *d, struct mig_error *err)
{
    int r =
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                      "where the devices of process %" PRIu64 " see its memory is not known: the kernel does "
                      "not tell, whoever mapped it must",
                      d->pid);
    mig_error_hint(err, "Give --memory name=,fd=,iova= for each piece that they may write; the command line "
                        "above wants only the ?");
    return r;
}
