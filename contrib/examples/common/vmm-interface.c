/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm-interface.h"
#include "migd-bus.h"
#include "say.h"
#include <errno.h>
#include <unistd.h>

static unsigned long long writes(const struct vmm_interface *v)
{
    return v->callbacks->writes(v->userdata);
}

/* The text of an error goes to whoever started the migration: it says what and why. */
static int answer(sd_bus_message *m, sd_bus_error *error, int r, const char *why)
{
    if (r >= 0)
        return sd_bus_reply_method_return(m, NULL);
    return why ? sd_bus_error_set(error, SD_BUS_ERROR_FAILED, why) : sd_bus_error_set_errno(error, r);
}

/* Whoever may call these may stop the VM and read its registers: root, which migd is, and who runs this VMM.
 * (The check that sd-bus makes by itself wants CAP_SYS_ADMIN, which migd does not have.) */
static int refuse_strangers(sd_bus_message *m, sd_bus_error *error)
{
    sd_bus_creds *creds = NULL;
    uid_t uid;
    int r = sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds);
    if (r >= 0)
        r = sd_bus_creds_get_euid(creds, &uid);
    sd_bus_creds_unref(creds);
    if (r >= 0 && (uid == 0 || uid == geteuid()))
        return 0;
    return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Only migd may ask for this.");
}

static int on_pause(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    const char *why = NULL;
    bool ran = v->callbacks->running(v->userdata);
    int r = refuse_strangers(m, error);
    if (r < 0)
        return r;
    r = v->callbacks->pause(v->userdata, &why);
    if (r >= 0 && ran)
        say("paused", "writes=%llu", writes(v));
    return answer(m, error, r, why);
}

static int on_resume(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    const char *why = "This side waits for a migration; it cannot run before its state was loaded.";
    int r = refuse_strangers(m, error);
    if (r < 0)
        return r;
    if (v->incoming && !v->loaded)
        return answer(m, error, -EINVAL, why);
    if (v->callbacks->running(v->userdata))
        return answer(m, error, 0, NULL);
    why = NULL;
    unsigned long long before = writes(v);
    r = v->callbacks->resume(v->userdata, &why);
    if (r >= 0)
        say("resumed", "writes=%llu", before);
    return answer(m, error, r, why);
}

static int on_start_log(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    const char *why = NULL;
    int r = refuse_strangers(m, error);
    if (r < 0)
        return r;
    r = v->callbacks->start_log ? v->callbacks->start_log(v->userdata, &why) : 0;
    if (r >= 0)
        say("logging", "on");
    return answer(m, error, r, why);
}

static int on_stop_log(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    const char *why = NULL;
    int r = refuse_strangers(m, error);
    if (r < 0)
        return r;
    r = v->callbacks->stop_log ? v->callbacks->stop_log(v->userdata, &why) : 0;
    if (r >= 0)
        say("logging", "off");
    return answer(m, error, r, why);
}

static int on_save(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    const char *why = "The state can only be saved while paused.";
    int fd, r;
    if ((r = refuse_strangers(m, error)) < 0 || (r = sd_bus_message_read(m, "h", &fd)) < 0 ||
        (r = sd_bus_message_skip(m, "a{sv}")) < 0)
        return r;
    if (v->callbacks->running(v->userdata))
        return answer(m, error, -EINVAL, why);
    why = NULL;
    r = v->callbacks->save(v->userdata, fd, &why);
    if (r >= 0)
        say("saved", "%s", "");
    return answer(m, error, r, why);
}

static int on_load(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    const char *why = "A state can only be loaded while paused.";
    int fd, r;
    if ((r = refuse_strangers(m, error)) < 0 || (r = sd_bus_message_read(m, "h", &fd)) < 0 ||
        (r = sd_bus_message_skip(m, "a{sv}")) < 0)
        return r;
    if (v->callbacks->running(v->userdata))
        return answer(m, error, -EINVAL, why);
    why = NULL;
    r = v->callbacks->load(v->userdata, fd, &why);
    if (r >= 0) {
        v->loaded = true;
        say("loaded", "writes=%llu", writes(v));
    }
    return answer(m, error, r, why);
}

static int get_running(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    return sd_bus_message_append(reply, "b", (int)v->callbacks->running(v->userdata));
}

static int get_writes(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct vmm_interface *v = userdata;
    return sd_bus_message_append(reply, "t", v->callbacks->writes(v->userdata));
}

static const sd_bus_vtable vmm_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("StartLog", "a{sv}", "", on_start_log, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("StopLog", "a{sv}", "", on_stop_log, SD_BUS_VTABLE_UNPRIVILEGED),
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

int vmm_interface_export(struct vmm_interface *vmm, sd_bus *bus, const char *path)
{
    int r = sd_bus_add_object_vtable(bus, NULL, path, MIGD_IFACE_VMM, vmm_vtable, vmm);
    if (r < 0)
        return r;
    return sd_bus_add_object_vtable(bus, NULL, path, "org.migd.Example", example_vtable, vmm);
}
