/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm.h"
#include "migd-bus.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void vmm_say(const char *word, const char *format, ...)
{
    struct timespec t;
    va_list ap;
    clock_gettime(CLOCK_MONOTONIC, &t);
    printf("%s %lld.%06ld", word, (long long)t.tv_sec, t.tv_nsec / 1000);
    if (*format) {
        putchar(' ');
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
    }
    putchar('\n');
    fflush(stdout);
}

static int skip_options(sd_bus_message *m)
{
    return sd_bus_message_skip(m, "a{sv}");
}

static int on_pause(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    bool ran = cpus_running(v->cpus);
    cpus_pause(v->cpus);
    if (ran)
        vmm_say("paused", "writes=%llu", (unsigned long long)cpus_writes(v->cpus));
    return sd_bus_reply_method_return(m, NULL);
}

static int on_resume(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    if (v->incoming && !v->loaded)
        return sd_bus_error_set(
            error, SD_BUS_ERROR_FAILED,
            "This side waits for a migration; it cannot run before its state was loaded.");
    if (cpus_running(v->cpus))
        return sd_bus_reply_method_return(m, NULL);
    vmm_say("resumed", "writes=%llu", (unsigned long long)cpus_writes(v->cpus));
    int r = cpus_resume(v->cpus);
    if (r < 0)
        return sd_bus_error_set_errno(error, r);
    return sd_bus_reply_method_return(m, NULL);
}

static int on_save(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    struct cpus_state s;
    int fd, r;
    if ((r = sd_bus_message_read(m, "h", &fd)) < 0 || (r = skip_options(m)) < 0)
        return r;
    if (cpus_running(v->cpus))
        return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, "The state can only be saved while paused.");
    cpus_save(v->cpus, &s);
    ssize_t n = pwrite(fd, &s, sizeof s, 0);
    if (n != (ssize_t)sizeof s)
        return sd_bus_error_set_errno(error, n < 0 ? errno : EIO);
    vmm_say("saved", "%s", "");
    return sd_bus_reply_method_return(m, NULL);
}

static int on_load(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    struct cpus_state s;
    int fd, r;
    if ((r = sd_bus_message_read(m, "h", &fd)) < 0 || (r = skip_options(m)) < 0)
        return r;
    if (cpus_running(v->cpus))
        return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, "A state can only be loaded while paused.");
    if (pread(fd, &s, sizeof s, 0) != (ssize_t)sizeof s || cpus_load(v->cpus, &s) < 0)
        return sd_bus_error_set(
            error, SD_BUS_ERROR_FAILED,
            "This is not a state of this program with as many threads and as much memory.");
    v->loaded = true;
    vmm_say("loaded", "writes=%llu", (unsigned long long)cpus_writes(v->cpus));
    return sd_bus_reply_method_return(m, NULL);
}

static int get_running(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    return sd_bus_message_append(reply, "b", (int)cpus_running(v->cpus));
}

static int get_writes(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    return sd_bus_message_append(reply, "t", cpus_writes(v->cpus));
}

static const sd_bus_vtable vmm_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Pause", "a{sv}", "", on_pause, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Resume", "a{sv}", "", on_resume, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("SaveState", "ha{sv}", "", on_save, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("LoadState", "ha{sv}", "", on_load, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

static const sd_bus_vtable example_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Running", "b", get_running, 0, 0),
    SD_BUS_PROPERTY("Writes", "t", get_writes, 0, 0),
    SD_BUS_VTABLE_END,
};

int vmm_export(struct vmm *vmm, sd_bus *bus)
{
    int r = sd_bus_add_object_vtable(bus, NULL, VMM_PATH, MIGD_IFACE_VMM, vmm_vtable, vmm);
    if (r < 0)
        return r;
    return sd_bus_add_object_vtable(bus, NULL, VMM_PATH, "org.migd.Example", example_vtable, vmm);
}
