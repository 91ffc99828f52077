/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migd for the tests of its clients: the objects of org.migd.Migd1.xml with canned behaviour, on the bus of
 * MIGD_BUS_ADDRESS. Nothing is migrated. What it is asked is written to a log (argv[1]), one call a line:
 * METHOD [arguments as JSON]. The name of the destination picks the story of a migration (see fake-story.c);
 * memory, devices and trackers whose name begins with "bad" are refused, "slow" ones take a second, and
 * "blind" ones are not supported.
 */
#include "base/util.h"
#include "bus-json.h"
#include "fake.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migd-errors.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct fake fake;

int fake_log_call(sd_bus_message *m)
{
    struct json_object *array = json_object_new_array();
    int r;
    while ((r = sd_bus_message_at_end(m, true)) == 0) {
        struct json_object *value = NULL;
        if ((r = bus_read_json(m, &value)) < 0)
            return r;
        json_object_array_add(array, value);
    }
    fprintf(fake.log, "%s %s\n", sd_bus_message_get_member(m),
            json_object_to_json_string_ext(array, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    fflush(fake.log);
    json_object_put(array);
    return sd_bus_message_rewind(m, true);
}

static struct fake_domain *find_domain(const char *name)
{
    for (size_t i = 0; i < fake.n_domains; i++)
        if (!fake.domain[i].released && strcmp(fake.domain[i].name, name) == 0)
            return &fake.domain[i];
    return NULL;
}

static int no_domain(const char *name, sd_bus_error *e)
{
    return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "NoSuchDomain",
                             "there is no domain \"%s\". List them: migctl list", name);
}

static int register_domain(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    fake_log_call(m);
    const char *name;
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    if (strcmp(name, "forbidden") == 0)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "NotAllowed",
                                 "registering is not allowed. Ask the administrator");
    if (find_domain(name))
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "Exists",
                                 "domain \"%s\" is registered already. Release it first", name);
    if (fake.n_domains == ELEMENTS(fake.domain))
        return sd_bus_error_set_const(e, MIGD_ERROR_PREFIX "LimitExceeded", "too many domains");
    struct fake_domain *d = &fake.domain[fake.n_domains++];
    _cleanup_json_ struct json_object *options = NULL;
    bus_read_json(m, &options);
    *d = (struct fake_domain){.name = strdup(name), .incoming = json_flag(options, "incoming")};
    snprintf(d->path, sizeof d->path, "%s/%s", MIGD_BUS_DOMAIN_PREFIX, name);
    if ((r = sd_bus_add_object_vtable(fake.bus, &d->slot, d->path, MIGD_IFACE_DOMAIN, fake_domain_vtable,
                                      d)) < 0)
        return r;
    return sd_bus_reply_method_return(m, "o", d->path);
}

static int get_domain(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    const char *name;
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    struct fake_domain *d = find_domain(name);
    return d ? sd_bus_reply_method_return(m, "o", d->path) : no_domain(name, e);
}

static int get_migration(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    const char *id;
    int r = sd_bus_message_read(m, "s", &id);
    if (r < 0)
        return r;
    for (size_t i = fake.n_migrations; i-- > 0;) {
        struct fake_migration *x = &fake.migration[i];
        if (strncmp(x->id, id, strlen(id)) == 0 || strcmp(x->domain->name, id) == 0)
            return sd_bus_reply_method_return(m, "o", x->path);
    }
    return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "NoSuchMigration",
                             "there is no migration \"%s\". List them: migctl list", id);
}

static int get_text(sd_bus *bus, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *e)
{
    return sd_bus_message_append(reply, "s", strcmp(property, "Version") == 0 ? "0-fake" : "[::]:16509");
}

static const sd_bus_vtable manager_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("RegisterDomain", SD_BUS_ARGS("s", name, "a{sv}", options),
                            SD_BUS_RESULT("o", domain), register_domain, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetDomain", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_RESULT("o", domain),
                            get_domain, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetMigration", SD_BUS_ARGS("s", id, "a{sv}", options),
                            SD_BUS_RESULT("o", migration), get_migration, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListDevices", SD_BUS_ARGS("a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", devices, "aa{sv}", findings), fake_list_devices,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Version", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("PeerAddress", "s", get_text, 0, 0),
    SD_BUS_VTABLE_END,
};

static void log_descriptor(const char *name, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return;
    fprintf(fake.log, "descriptor of %s: inode %llu\n", name, (unsigned long long)st.st_ino);
    fflush(fake.log);
}

/* The first argument is the name of a part: refused when it is a bad one. */
static int add_part(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_domain *d = userdata;
    const char *name, *member = sd_bus_message_get_member(m);
    fake_log_call(m);
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    if (strncmp(name, "bad", 3) == 0)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "DeviceFailed", "%s of %s broke. Mend %s", member, name,
                                 name);
    if (strncmp(name, "blind", 5) == 0)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "NotSupported", "%s cannot track. Track by device",
                                 name);
    if (strncmp(name, "slow", 4) == 0)
        usleep(1000 * 1000); /* nobody else is served meanwhile */
    if (strcmp(member, "AddMemory") == 0) {
        int fd;
        uint64_t offset, size;
        struct stat st;
        if ((r = sd_bus_message_read(m, "htt", &fd, &offset, &size)) < 0)
            return r;
        if (fstat(fd, &st) < 0)
            return -errno;
        log_descriptor(name, fd);
        d->memory_bytes += size ? size : (uint64_t)st.st_size - offset;
        return sd_bus_reply_method_return(m, "u", d->n_memory++);
    }
    if (strcmp(member, "AddDirtyLog") == 0) {
        const char *type;
        int fd;
        sd_bus_message_read(m, "s", &type);
        sd_bus_message_enter_container(m, 'a', "h");
        while (sd_bus_message_read(m, "h", &fd) > 0)
            log_descriptor(name, fd);
    }
    if (strcmp(member, "AddContainer") == 0 || strcmp(member, "AddDevice") == 0) {
        int fd;
        if ((r = sd_bus_message_read(m, "h", &fd)) < 0)
            return r;
        log_descriptor(name, fd);
    }
    return sd_bus_reply_method_return(m, NULL);
}

static int open_device(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    const char *name, *address;
    fake_log_call(m);
    int r = sd_bus_message_read(m, "ss", &name, &address);
    if (r < 0)
        return r;
    if (strncmp(name, "bad", 3) == 0)
        return sd_bus_error_setf(
            e, MIGD_ERROR_PREFIX "WrongState",
            "device %s at %s is bound to no driver. driverctl (migctl explain device-not-vfio)", name,
            address);
    return sd_bus_reply_method_return(m, "a{sh}a{sv}", 1, "device", fileno(fake.log), 6, "name", "s", name,
                                      "address", "s", address, "interface", "s", "iommufd", "hwpt", "u", 3u,
                                      "split", "b", true, "again", "b", strncmp(name, "again", 5) == 0);
}

static int make_memory(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_domain *d = userdata;
    fake_log_call(m);
    _cleanup_close_ int fd = memfd_create("fake", MFD_CLOEXEC);
    return fd < 0 ? -errno : sd_bus_reply_method_return(m, "uh", d->n_memory++, fd);
}

static int log_only(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    fake_log_call(m);
    return sd_bus_reply_method_return(m, NULL);
}

static int release(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_domain *d = userdata;
    fake_log_call(m);
    if (d->migration && d->migration->running)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "Busy",
                                 "domain %s is being migrated. Cancel that first", d->name);
    d->released = true;
    d->slot = sd_bus_slot_unref(d->slot);
    return sd_bus_reply_method_return(m, NULL);
}

static int migrate(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    struct fake_domain *d = userdata;
    const char *destination;
    fake_log_call(m);
    int r = sd_bus_message_read(m, "s", &destination);
    if (r < 0)
        return r;
    if (strncmp(destination, "refused", 7) == 0)
        return sd_bus_error_setf(e, MIGD_ERROR_PREFIX "PeerUnreachable",
                                 "nobody answers at %s. Is migd running there, and the port open?",
                                 destination);
    struct fake_migration *x = NULL;
    if ((r = fake_story_begin(&fake, d, destination, &x)) < 0)
        return r;
    return sd_bus_reply_method_return(m, "o", x->path);
}

static int append_finding(sd_bus_message *reply, const char *code, const char *severity, const char *side,
                          const char *subject, const char *message)
{
    return sd_bus_message_append(reply, "a{sv}", 7, "code", "s", code, "severity", "s", severity, "side", "s",
                                 side, "subject", "s", subject, "message", "s", message, "remedy", "s",
                                 "Do something about it", "waivable", "b", 0);
}

/* What is found stands in the destination: "blind", "cannot", "silent" (nobody there), else nothing bad. */
static int check(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
    const char *destination;
    sd_bus_message *reply = NULL;
    fake_log_call(m);
    int r = sd_bus_message_read(m, "s", &destination);
    if (r >= 0)
        r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    if (r >= 0 && strcmp(destination, "nothing") != 0)
        r = append_finding(reply, "memory-can-shrink", "note", "source", "ram0", "It is not sealed");
    if (r >= 0 && *destination && strcmp(destination, "nothing") != 0)
        r = append_finding(reply, "transport-plain", "warning", "source", destination, "It is not encrypted");
    if (r >= 0 && (strcmp(destination, "blind") == 0 || strcmp(destination, "cannot") == 0))
        r = append_finding(reply, "container-blind", "error", "source", "dma", "Container dma knows nothing");
    if (r >= 0 && strcmp(destination, "cannot") == 0)
        r = append_finding(reply, "memory-size-differs", "error", "destination", "ram0",
                           "Memory ram0 has 1.0 GiB \x1b[2Jthere");
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

static int domain_property(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *e)
{
    struct fake_domain *d = userdata;
    if (strcmp(property, "Name") == 0)
        return sd_bus_message_append(reply, "s", d->name);
    if (strcmp(property, "Incoming") == 0)
        return sd_bus_message_append(reply, "b", d->incoming);
    if (strcmp(property, "State") == 0)
        return sd_bus_message_append(reply, "s", d->state ? d->state : d->incoming ? "waiting" : "running");
    if (strcmp(property, "Problem") == 0)
        return sd_bus_message_append(reply, "s", "");
    if (strcmp(property, "Memory") == 0)
        return sd_bus_message_append(reply, "aa{sv}", 1, 6, "name", "s", "ram0", "size", "t", d->memory_bytes,
                                     "offset", "t", (uint64_t)0, "page-size", "t", (uint64_t)4096, "made",
                                     "b", 0, "iova", "at", 2, (uint64_t)0, UINT64_C(0x100000000));
    if (strcmp(property, "Devices") == 0)
        return sd_bus_message_append(reply, "aa{sv}", 1, 6, "name", "s", "nic0", "kind", "s", "vfio-user",
                                     "state", "s", "RUNNING", "vendor", "u", 0x1234, "gone", "b", 0,
                                     "migration-flags", "as", 2, "stop-copy", "p2p");
    if (strcmp(property, "Trackers") == 0)
        return sd_bus_message_append(reply, "aa{sv}", 1, 3, "name", "s", "nic0", "kind", "s", "vfio-user",
                                     "started", "b", 0);
    if (strcmp(property, "Controller") == 0)
        return sd_bus_message_append(reply, "s", "none");
    return sd_bus_message_append(reply, "o",
                                 d->migration && d->migration->running ? d->migration->path : "/");
}

#define PART(name, in, out, function) SD_BUS_METHOD(name, in, out, function, SD_BUS_VTABLE_UNPRIVILEGED)
#define SHOWN(name, type)             SD_BUS_PROPERTY(name, type, domain_property, 0, 0)
const sd_bus_vtable fake_domain_vtable[] = {
    SD_BUS_VTABLE_START(0),
    PART("AddMemory", "shtta{sv}", "u", add_part),
    PART("MakeMemory", "sta{sv}", "uh", make_memory),
    PART("AddUserDevice", "sva{sv}", "", add_part),
    PART("AddContainer", "sha{sv}", "", add_part),
    PART("AddDevice", "sha{sv}", "", add_part),
    PART("OpenDevice", "ssa{sv}", "a{sh}a{sv}", open_device),
    PART("AddDirtyLog", "ssaha{sv}", "", add_part),
    PART("AddQemu", "sa{sv}", "", log_only),
    PART("SetController", "sa{sv}", "", log_only),
    PART("Check", "sa{sv}", "aa{sv}", check),
    PART("Migrate", "sa{sv}", "o", migrate),
    PART("Release", "a{sv}", "", release),
    SHOWN("Name", "s"),
    SHOWN("Incoming", "b"),
    SHOWN("State", "s"),
    SHOWN("Problem", "s"),
    SHOWN("Memory", "aa{sv}"),
    SHOWN("Devices", "aa{sv}"),
    SHOWN("Trackers", "aa{sv}"),
    SHOWN("Controller", "s"),
    SHOWN("Migration", "o"),
    SD_BUS_VTABLE_END,
};

int main(int argc, char *argv[])
{
    if (argc < 2 || !(fake.log = fopen(argv[1], "a")))
        return 2;
    int r = sd_event_new(&fake.event);
    if (r >= 0)
        r = sd_bus_new(&fake.bus);
    if (r >= 0)
        r = sd_bus_set_address(fake.bus, getenv(MIGD_ENV_BUS_ADDRESS));
    if (r >= 0)
        r = sd_bus_set_bus_client(fake.bus, true);
    if (r >= 0)
        r = sd_bus_negotiate_fds(fake.bus, true);
    if (r >= 0)
        r = sd_bus_start(fake.bus);
    if (r >= 0)
        r = sd_bus_set_exit_on_disconnect(fake.bus, true);
    if (r >= 0)
        r = sd_bus_attach_event(fake.bus, fake.event, 0);
    if (r >= 0)
        r = sd_bus_add_object_manager(fake.bus, NULL, MIGD_BUS_ROOT);
    if (r >= 0)
        r = sd_bus_add_object_vtable(fake.bus, NULL, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, manager_vtable, NULL);
    if (r >= 0)
        r = sd_bus_request_name(fake.bus, MIGD_BUS_NAME, 0);
    if (r < 0) {
        fprintf(stderr, "fake-migd: %s\n", strerror(-r));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    r = sd_event_loop(fake.event);
    fake_story_end_all(&fake);
    sd_bus_flush_close_unref(fake.bus);
    sd_event_unref(fake.event);
    fclose(fake.log);
    return r < 0;
}
