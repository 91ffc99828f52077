/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * migctl register: reads what is wanted, opens memory and logs, and hands the descriptors to migd step by
 * step. A step that fails takes the half-made domain back, so that the name is free again.
 */
#include "base/fds.h"
#include "base/format.h"
#include "bus.h"
#include "discover-view.h"
#include "domain-fields.h"
#include "foreign-fd.h"
#include "register-kernel.h"
#include "register-read.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "verbs.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void interrupt_set(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGHUP);
}

/* From the first step on interrupts wait for the end of a step: a step that broke off would leave it open
 * what migd has. */
static void hold_interrupts(void)
{
    sigset_t set;
    interrupt_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool interrupted(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGINT) > 0 || sigismember(&pending, SIGTERM) > 0 ||
            sigismember(&pending, SIGHUP) > 0);
}

/* migd has another working directory. */
static int absolute(const char *path, char **ret, struct mig_error *err)
{
    _cleanup_free_ char *here = path[0] == '/' ? strdup("") : getcwd(NULL, 0);
    if (!here || asprintf(ret, "%s%s%s", here, here[0] ? "/" : "", path) < 0)
        return mig_error_oom(err);
    return 0;
}

static int open_file(const char *path, bool read_only, int *ret, struct mig_error *err)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, errno, "cannot open %s: %s", path,
                             strerror(errno));
    *ret = fd;
    return 0;
}

static int append_iovas(sd_bus_message *m, const struct spec_memory *mem)
{
    if (!mem->n_iova)
        return 0;
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "iova");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "at");
    if (r >= 0)
        r = sd_bus_message_append_array(m, 't', mem->iova, mem->n_iova * sizeof mem->iova[0]);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int finish_call(sd_bus *bus, sd_bus_message *m, int r, struct mig_error *err)
{
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? bus_message_failed(r, err) : bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, NULL, err);
}

static int make_memory(sd_bus *bus, const char *path, const struct spec_memory *mem, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "MakeMemory", &m, err);
    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "st", mem->name, mem->size_bytes);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = append_iovas(m, mem);
    if (r >= 0 && mem->hugepages_bytes)
        r = sd_bus_message_append(m, "{sv}", "hugepages", "t", mem->hugepages_bytes);
    if (r >= 0 && field_given(&memory_fields, mem, "numa-node"))
        r = sd_bus_message_append(m, "{sv}", "numa-node", "i", (int32_t)mem->numa_node);
    return finish_call(bus, m, r, err);
}

/* Memory that is there: its descriptor, and the path by which it can be opened again. */
static int open_memory(const struct spec_memory *mem, int *ret_fd, char **ret_origin, struct mig_error *err)
{
    if (mem->path) {
        int r = absolute(mem->path, ret_origin, err);
        return r < 0 ? r : open_file(mem->path, mem->read_only, ret_fd, err);
    }
    if (asprintf(ret_origin, "/proc/%llu/fd/%llu", (unsigned long long)mem->pid,
                 (unsigned long long)mem->fd) < 0) {
        *ret_origin = NULL;
        return mig_error_oom(err);
    }
    return foreign_fd_take(mem->pid, mem->fd, mem->seen, ret_fd, err);
}

static int add_memory(sd_bus *bus, const char *path, const struct spec_memory *mem, struct mig_error *err)
{
    if (mem->make)
        return make_memory(bus, path, mem, err);
    _cleanup_message_ sd_bus_message *m = NULL;
    _cleanup_free_ char *origin = NULL;
    _cleanup_close_ int fd = -1;
    int r = open_memory(mem, &fd, &origin, err);
    if (r < 0 || (r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "AddMemory", &m, err)) < 0)
        return r;
    r = sd_bus_message_append(m, "shtt", mem->name, fd, mem->offset, mem->size_bytes);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "origin", "s", origin);
    if (r >= 0)
        r = append_iovas(m, mem);
    if (r >= 0 && mem->read_only)
        r = sd_bus_message_append(m, "{sv}", "read-only", "b", true);
    return finish_call(bus, m, r, err);
}

/* untracked: a container of this device's process is not registered, since it cannot track. */
static int add_device(sd_bus *bus, const char *path, const struct spec_device *d, bool untracked,
                      struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    _cleanup_free_ char *socket = NULL, *listen = NULL;
    if (d->address)
        return register_opened_device(bus, path, d, NULL, err);
    if (d->type && strcmp(d->type, "vfio") == 0)
        return register_kernel_device(bus, path, d, untracked && d->seen ? "device" : d->tracker, err);
    int r = absolute(d->socket, &socket, err);
    if (r < 0 || (d->listen && (r = absolute(d->listen, &listen, err)) < 0) ||
        (r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "AddUserDevice", &m, err)) < 0)
        return r;
    r = sd_bus_message_append(m, "sv", d->name, "s", socket);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0 && listen)
        r = sd_bus_message_append(m, "{sv}", "listen", "s", listen);
    if (r >= 0 && field_given(&device_fields, d, "timeout"))
        r = sd_bus_message_append(m, "{sv}", "timeout", "t", d->timeout_usec);
    if (r >= 0 && d->tracker)
        r = sd_bus_message_append(m, "{sv}", "tracker", "s", d->tracker);
    if (r >= 0 && field_given(&device_fields, d, "log-page-size"))
        r = sd_bus_message_append(m, "{sv}", "log-page-size", "t", d->log_page_size);
    if (r >= 0 && !d->precopy)
        r = sd_bus_message_append(m, "{sv}", "precopy", "b", false);
    if (r >= 0 && !d->map)
        r = sd_bus_message_append(m, "{sv}", "map", "b", false);
    return finish_call(bus, m, r, err);
}

static int add_tracker(sd_bus *bus, const char *path, const struct spec_tracker *t, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    _cleanup_free_ char *origin = NULL;
    _cleanup_close_ int fd = -1;
    bool uffd = strcmp(t->type, "uffd") == 0;
    int r = 0;
    if (uffd)
        r = foreign_fd_take(t->pid, t->fd, NULL, &fd, err);
    else if (t->path && (r = absolute(t->path, &origin, err)) == 0)
        r = open_file(t->path, false, &fd, err);
    if (r < 0 || (r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "AddDirtyLog", &m, err)) < 0)
        return r;
    r = sd_bus_message_append(m, "ss", t->name, t->type);
    if (r >= 0)
        r = fd >= 0 ? sd_bus_message_append(m, "ah", 1, fd) : sd_bus_message_append(m, "ah", 0);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0 && t->memory)
        r = sd_bus_message_append(m, "{sv}", "memory", "s", t->memory);
    if (r >= 0 && field_given(&tracker_fields, t, "offset"))
        r = sd_bus_message_append(m, "{sv}", "offset", "t", t->offset);
    if (r >= 0 && field_given(&tracker_fields, t, "page-size"))
        r = sd_bus_message_append(m, "{sv}", "page-size", "t", t->page_size);
    if (r >= 0 && origin)
        r = sd_bus_message_append(m, "{sv}", "origin", "s", origin);
    if (r >= 0 && (uffd || strcmp(t->type, "soft-dirty") == 0))
        r = sd_bus_message_append(m, "{sv}{sv}", "pid", "u", (uint32_t)t->pid, "address", "t", t->address);
    return finish_call(bus, m, r, err);
}

static int set_controller(sd_bus *bus, const char *path, const struct spec_controller *c,
                          struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "SetController", &m, err);
    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "s", c->type);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0 && c->bus_name)
        r = sd_bus_message_append(m, "{sv}", "bus-name", "s", c->bus_name);
    if (r >= 0 && c->path)
        r = sd_bus_message_append(m, "{sv}", "path", "s", c->path);
    if (r >= 0 && field_given(&controller_fields, c, "timeout"))
        r = sd_bus_message_append(m, "{sv}", "timeout", "t", c->timeout_usec);
    return finish_call(bus, m, r, err);
}

/* RAM, trackers, containers and controller at once. */
static int add_qemu(sd_bus *bus, const char *path, const struct domain_spec *spec, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    _cleanup_free_ char *socket = NULL;
    int r = absolute(spec->qmp, &socket, err);
    if (r < 0 || (r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "AddQemu", &m, err)) < 0)
        return r;
    r = sd_bus_message_append(m, "s", socket);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0 && spec->no_containers)
        r = sd_bus_message_append(m, "{sv}", "containers", "b", false);
    if (r >= 0 && spec->cpu_tracker)
        r = sd_bus_message_append(m, "{sv}", "cpu-tracker", "s", spec->cpu_tracker);
    return finish_call(bus, m, r, err);
}

/* One that --pid found and that cannot track is not needed when all devices log their DMA themselves, which
 * migd sees to. */
static int add_container(sd_bus *bus, const char *path, const struct spec_container *c, bool *untracked,
                         struct mig_error *err)
{
    struct mig_error e = MIG_ERROR_INIT;
    int r = register_container(bus, path, c, &e);
    if (r < 0 && c->seen && e.code == MIG_ERR_NOT_SUPPORTED) {
        output_make_safe(e.message);
        fprintf(stderr, "migctl: %s is left out, devices must log their DMA themselves: %s\n", c->name,
                e.message);
        *untracked = true;
        return 0;
    }
    if (r < 0 && err)
        *err = e;
    return r;
}

static int add_everything(sd_bus *bus, const char *path, const struct domain_spec *spec,
                          struct mig_error *err)
{
    int r = 0;
    bool untracked = false;
    for (size_t i = 0; i < spec->n_memory && !interrupted(); i++)
        if ((r = add_memory(bus, path, &spec->memory[i], err)) < 0)
            return mig_error_wrap(err, "adding memory %s", spec->memory[i].name);
    if (spec->qmp && !interrupted() && (r = add_qemu(bus, path, spec, err)) < 0)
        return mig_error_wrap(err, "adding the QEMU");
    for (size_t i = 0; i < spec->n_containers && !interrupted(); i++)
        if ((r = add_container(bus, path, &spec->containers[i], &untracked, err)) < 0)
            return mig_error_wrap(err, "adding container %s", spec->containers[i].name);
    for (size_t i = 0; i < spec->n_devices && !interrupted(); i++)
        if ((r = add_device(bus, path, &spec->devices[i], untracked, err)) < 0)
            return mig_error_wrap(err, "adding device %s", spec->devices[i].name);
    for (size_t i = 0; i < spec->n_trackers && !interrupted(); i++)
        if ((r = add_tracker(bus, path, &spec->trackers[i], err)) < 0)
            return mig_error_wrap(err, "adding tracker %s", spec->trackers[i].name);
    if (spec->controller.type && !interrupted() &&
        (r = set_controller(bus, path, &spec->controller, err)) < 0)
        return mig_error_wrap(err, "setting the controller");
    return interrupted() ? mig_error_set(err, MIG_ERR_CANCELLED, 0, "interrupted; nothing was registered")
                         : 0;
}

static int register_domain(sd_bus *bus, const struct domain_spec *spec, char **ret_path,
                           struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "RegisterDomain", &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "sa{sv}", spec->name, 1, "incoming", "b", (int)spec->incoming)) < 0)
        return bus_message_failed(r, err);
    if ((r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err)) < 0)
        return r;
    const char *path;
    if ((r = sd_bus_message_read(reply, "o", &path)) < 0)
        return bus_message_failed(r, err);
    *ret_path = strdup(path);
    return *ret_path ? 0 : mig_error_oom(err);
}

static void take_back(sd_bus *bus, const char *path, const char *name)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    int r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "Release", &m, &e);
    if (r >= 0 && (r = sd_bus_message_append(m, "a{sv}", 1, "force", "b", true)) < 0)
        bus_message_failed(r, &e);
    if (r >= 0)
        r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, NULL, &e);
    if (r < 0) {
        mig_error_wrap(&e, "taking the half-made domain %s back", name);
        mig_error_hint(&e, "Release it: migctl release %s --force", name);
        output_error_text(&e);
    }
}

static int print_result(sd_bus *bus, const char *path, const struct domain_spec *spec, struct mig_error *err)
{
    if (arg_json) {
        _cleanup_json_ struct json_object *properties = NULL;
        int r = bus_properties(bus, path, MIGD_IFACE_DOMAIN, &properties, err);
        if (r < 0)
            return r;
        output_json(properties);
        return 0;
    }
    printf("Domain %s is registered%s: %zu memory, %zu devices, %zu trackers\n", spec->name,
           spec->incoming ? " and waits for a migration to come in" : "", spec->n_memory, spec->n_devices,
           spec->n_trackers);
    return 0;
}

int verb_register(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_(domain_spec_done) struct domain_spec spec = {0};
    _cleanup_(register_found_done) struct register_found found = {0};
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_free_ char *path = NULL;
    if (register_read(&spec, args, &found, &err) < 0)
        return output_error(&err);
    if (args_has(args, OPT_DRY_RUN))
        return register_show_found(&found, args, NULL);
    if (found.missing) {
        register_pid_ask(&found.process, &err);
        return register_show_found(&found, args, &err);
    }
    if (bus_open(&bus, &err) < 0)
        return output_error(&err);
    hold_interrupts();
    if (register_domain(bus, &spec, &path, &err) < 0) {
        mig_error_wrap(&err, "registering %s", spec.name);
        return output_error(&err);
    }
    if (add_everything(bus, path, &spec, &err) < 0) {
        take_back(bus, path, spec.name);
        return output_error(&err);
    }
    discovery_print_not_given(&found.process);
    if (print_result(bus, path, &spec, &err) < 0)
        return output_error(&err);
    return output_finish();
}
