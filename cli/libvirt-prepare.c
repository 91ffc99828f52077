/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl libvirt prepare: changes the definition of a libvirt domain so that migd can move it by itself from
 * its next start on. Shows what it would do, and does it with --apply. */
#include "bus-json.h"
#include "bus.h"
#include "json-util.h"
#include "libvirt-verbs.h"
#include "libvirt-xml.h"
#include "base/fds.h"
#include "migd-bus.h"
#include "output.h"
#include "virsh.h"
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#define QEMU_CONF "/etc/libvirt/qemu.conf"
#define BACKING_DIR                                                                                          \
    "/var/lib/libvirt/qemu/ram" /* where libvirt puts memory files when nobody says otherwise */

static int read_definition(const char *name, struct libvirt_xml **ret, struct mig_error *err)
{
    _cleanup_free_ char *text = NULL;
    const char *const arguments[] = {"-q",       "dumpxml", "--inactive", "--security-info",
                                     "--domain", name,      NULL};
    int r = virsh_run(arguments, NULL, &text, err);
    return r < 0 ? r : libvirt_xml_parse(ret, text, err);
}

static int ask_devices(const char *addresses, struct json_object **ret, struct mig_error *err)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_message_ sd_bus_message *call = NULL, *reply = NULL;
    int r = bus_open(&bus, err);
    if (r == 0)
        r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "ListDevices", &call, err);
    if (r < 0)
        return r;
    r = sd_bus_message_append(call, "a{sv}", 2, "probe", "b", 0, "addresses", "s", addresses);
    if (r < 0)
        return bus_message_failed(r, err);
    r = bus_call(bus, call, BUS_CALL_TIMEOUT_USEC, &reply, err);
    if (r < 0)
        return r;
    r = bus_read_json(reply, ret);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

static int find_changes(struct libvirt_xml *x, struct json_object *changes, struct mig_error *err)
{
    _cleanup_json_ struct json_object *devices = NULL;
    int r = libvirt_xml_share_memory(x, changes, err);
    if (r == 0)
        r = libvirt_xml_add_monitor(x, changes, err);
    if (r < 0 || !*libvirt_xml_addresses(x))
        return r;
    r = ask_devices(libvirt_xml_addresses(x), &devices, err);
    return r < 0 ? mig_error_wrap(err, "what its devices are cannot be noted")
                 : libvirt_xml_note_devices(x, devices, changes, err);
}

/* Memory files belong on a file system in memory; "" when they are. */
static void look_at_backing_dir(char *ret, size_t size)
{
    _cleanup_free_ char *text = NULL;
    char dir[256] = BACKING_DIR;
    struct statfs fs;
    if (read_file(QEMU_CONF, (size_t)1 << 20, &text, NULL) == 0)
        for (char *line = text, *next; line && *line; line = next) {
            next = strchr(line, '\n');
            if (next)
                *next++ = '\0';
            sscanf(line, " memory_backing_dir = \"%255[^\"]\"", dir);
        }
    *ret = '\0';
    if (statfs(dir, &fs) < 0 ||
        ((unsigned long)fs.f_type != TMPFS_MAGIC && (unsigned long)fs.f_type != HUGETLBFS_MAGIC))
        snprintf(ret, size,
                 "libvirt puts memory files into %.200s, which is not in memory: set memory_backing_dir = "
                 "\"/dev/shm\" in " QEMU_CONF " and restart libvirtd",
                 dir);
}

static int define(const struct libvirt_xml *x, struct mig_error *err)
{
    _cleanup_free_ char *text = NULL;
    const char *const arguments[] = {"-q", "define", "--file", "/dev/stdin", "--validate", NULL};
    int r = libvirt_xml_write(x, &text, err);
    return r < 0 ? r : virsh_run(arguments, text, NULL, err);
}

static void print_indented(const char *text)
{
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        printf("      %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static int tell(const char *name, struct json_object *changes, bool applied, const char *note)
{
    size_t n = json_length(changes);
    if (arg_json) {
        _cleanup_json_ struct json_object *o = json_object_new_object();
        json_object_object_add(o, "domain", json_object_new_string(name));
        json_object_object_add(o, "changes", json_object_get(changes));
        json_object_object_add(o, "applied", json_object_new_boolean(applied));
        json_object_object_add(o, "note", json_object_new_string(note));
        output_json(o);
        return output_finish();
    }
    if (n == 0)
        printf("The definition of %s is as migd needs it; nothing was changed.\n", name);
    for (size_t i = 0; i < n; i++) {
        struct json_object *c = json_object_array_get_idx(changes, i);
        printf("%-8s %s\n", json_str(c, "part"), json_str(c, "change"));
        print_indented(json_str(c, "xml"));
    }
    if (n)
        printf("%s\n",
               applied
                   ? "The definition was changed. It takes effect when the domain is started the next time."
                   : "Nothing was changed; --apply changes the definition, for the next start.");
    if (*note)
        printf("Note: %s.\n", note);
    return output_finish();
}

int libvirt_prepare(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    const char *name = args->positional[1];
    _cleanup_(libvirt_xml_freep) struct libvirt_xml *x = NULL;
    _cleanup_json_ struct json_object *changes = json_object_new_array();
    char note[600];
    bool apply = args_has(args, OPT_APPLY) && !args_has(args, OPT_DRY_RUN);
    if (!changes || read_definition(name, &x, &err) < 0 || find_changes(x, changes, &err) < 0)
        return output_error(&err);
    apply = apply && json_length(changes);
    if (apply && define(x, &err) < 0)
        return output_error(&err);
    look_at_backing_dir(note, sizeof note);
    return tell(name, changes, apply, note);
}
