/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt-xml.h"
#include "json-util.h"
#include "migd-bus.h"
#include <libxml/parser.h>
#include <libxml/xmlsave.h>
#include <stdio.h>
#include <string.h>

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"
#define MONITOR_DIR    "/var/lib/libvirt/qemu" /* libvirt gives it to the user that QEMU runs as */
#define ADDRESSES_MAX  4096u

struct libvirt_xml {
    xmlDoc *doc;
    xmlNode *root;
    char addresses[ADDRESSES_MAX];
};

/* ---- the tree ---- */

static xmlNode *next_element(xmlNode *node, const char *name, const char *space)
{
    for (; node; node = node->next)
        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0 &&
            (space ? node->ns && strcmp((const char *)node->ns->href, space) == 0 : !node->ns))
            return node;
    return NULL;
}

static xmlNode *child(const xmlNode *node, const char *name)
{
    return node ? next_element(node->children, name, NULL) : NULL;
}

static xmlNode *make_child(xmlNode *node, const char *name)
{
    xmlNode *found = child(node, name);
    return found ? found : xmlNewChild(node, NULL, (const xmlChar *)name, NULL);
}

static void attribute(const xmlNode *node, const char *name, char *ret, size_t size)
{
    xmlChar *value = node ? xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
    snprintf(ret, size, "%s", value && strlen((const char *)value) < size ? (const char *)value : "");
    xmlFree(value);
}

static bool is(const xmlNode *node, const char *name, const char *value)
{
    char text[64];
    attribute(node, name, text, sizeof text);
    return strcmp(text, value) == 0;
}

static bool set(xmlNode *node, const char *name, const char *value)
{
    return node && xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static unsigned number(const xmlNode *node, const char *name)
{
    char text[24];
    attribute(node, name, text, sizeof text);
    return (unsigned)strtoul(text, NULL, 0);
}

static int add_change(const struct libvirt_xml *x, struct json_object *changes, const char *part,
                      const char *change, const xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    struct json_object *o = json_object_new_object();
    if (!buffer || !o || xmlNodeDump(buffer, x->doc, (xmlNode *)node, 2, 1) < 0) {
        xmlBufferFree(buffer);
        json_object_put(o);
        return -ENOMEM;
    }
    json_object_object_add(o, "part", json_object_new_string(part));
    json_object_object_add(o, "change", json_object_new_string(change));
    json_object_object_add(o, "xml", json_object_new_string((const char *)xmlBufferContent(buffer)));
    json_object_array_add(changes, o);
    xmlBufferFree(buffer);
    return 0;
}

/* ---- reading ---- */

static void add_address(struct libvirt_xml *x, const xmlNode *device)
{
    const xmlNode *address = child(child(device, "source"), "address");
    char text[96] = "";
    bool interface = strcmp((const char *)device->name, "interface") == 0;
    if (!address || (interface ? !is(device, "type", "hostdev") : !is(device, "mode", "subsystem")))
        return;
    if (!interface && is(device, "type", "mdev"))
        attribute(address, "uuid", text, sizeof text);
    else if (interface || is(device, "type", "pci"))
        snprintf(text, sizeof text, "%04x:%02x:%02x.%x", number(address, "domain"), number(address, "bus"),
                 number(address, "slot"), number(address, "function"));
    size_t at = strlen(x->addresses);
    if (*text && at + strlen(text) + 2 < sizeof x->addresses)
        snprintf(x->addresses + at, sizeof x->addresses - at, "%s%s", at ? " " : "", text);
}

int libvirt_xml_parse(struct libvirt_xml **ret, const char *text, struct mig_error *err)
{
    _cleanup_(libvirt_xml_freep) struct libvirt_xml *x = calloc(1, sizeof *x);
    if (!x)
        return mig_error_oom(err);
    x->doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL,
                           XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS);
    x->root = x->doc ? xmlDocGetRootElement(x->doc) : NULL;
    if (!x->root || x->doc->intSubset || strcmp((const char *)x->root->name, "domain") != 0)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "what libvirt says of the domain is no domain XML");
    const xmlNode *devices = child(x->root, "devices");
    for (const xmlNode *n = devices ? devices->children : NULL; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && (strcmp((const char *)n->name, "hostdev") == 0 ||
                                            strcmp((const char *)n->name, "interface") == 0))
            add_address(x, n);
    *ret = TAKE_PTR(x);
    return 0;
}

struct libvirt_xml *libvirt_xml_free(struct libvirt_xml *x)
{
    if (x && x->doc)
        xmlFreeDoc(x->doc);
    free(x);
    return NULL;
}

const char *libvirt_xml_addresses(const struct libvirt_xml *x)
{
    return x->addresses;
}

/* ---- memory ---- */

/* A guest with NUMA nodes may say it of each; true when there was something to change. */
static bool share_cells(struct libvirt_xml *x)
{
    const xmlNode *numa = child(child(x->root, "cpu"), "numa");
    bool changed = false;
    for (xmlNode *n = numa ? numa->children : NULL; (n = next_element(n, "cell", NULL)); n = n->next)
        if (is(n, "memAccess", "private"))
            changed |= set(n, "memAccess", "shared");
    return changed;
}

int libvirt_xml_share_memory(struct libvirt_xml *x, struct json_object *changes, struct mig_error *err)
{
    bool changed = share_cells(x);
    xmlNode *backing = make_child(x->root, "memoryBacking");
    xmlNode *access = backing ? make_child(backing, "access") : NULL, *source = child(backing, "source");
    if (!access)
        return mig_error_oom(err);
    if (!is(access, "mode", "shared"))
        changed |= set(access, "mode", "shared");
    /* Huge pages are files already; a memfd of them is one that QEMU 10 sends through its own stream. */
    if (child(backing, "hugepages")) {
        if (source && is(source, "type", "memfd")) {
            xmlUnlinkNode(source);
            xmlFreeNode(source);
            changed = true;
        }
    } else if (!source || !is(source, "type", "file")) {
        changed |= set(make_child(backing, "source"), "type", "file");
    }
    if (changed &&
        add_change(x, changes, "memory", "its memory is in files that migd can share", backing) < 0)
        return mig_error_oom(err);
    return 0;
}

/* ---- monitor ---- */

/* A QMP monitor on a UNIX socket among the arguments that libvirt passes on. */
static bool has_monitor(const xmlNode *line)
{
    char text[512];
    bool after_qmp = false;
    for (xmlNode *n = line ? line->children : NULL; (n = next_element(n, "arg", QEMU_NAMESPACE));
         n = n->next) {
        attribute(n, "value", text, sizeof text);
        if (after_qmp && strncmp(text, "unix:", 5) == 0)
            return true;
        after_qmp = strcmp(text, "-qmp") == 0;
    }
    return false;
}

static xmlNs *find_space(xmlNode *root)
{
    xmlNs *space = xmlSearchNsByHref(root->doc, root, (const xmlChar *)QEMU_NAMESPACE);
    return space ? space : xmlNewNs(root, (const xmlChar *)QEMU_NAMESPACE, (const xmlChar *)"qemu");
}

int libvirt_xml_add_monitor(struct libvirt_xml *x, struct json_object *changes, struct mig_error *err)
{
    xmlNode *line = next_element(x->root->children, "commandline", QEMU_NAMESPACE);
    char uuid[64] = "", socket[200];
    if (has_monitor(line))
        return 0;
    xmlChar *content = xmlNodeGetContent(child(x->root, "uuid"));
    snprintf(uuid, sizeof uuid, "%s", content ? (const char *)content : "");
    xmlFree(content);
    if (strspn(uuid, "0123456789abcdefABCDEF-") != strlen(uuid) || strlen(uuid) != 36)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "the domain has no UUID");
    snprintf(socket, sizeof socket, "unix:" MONITOR_DIR "/migd-%s.qmp,server=on,wait=off", uuid);
    xmlNs *space = find_space(x->root);
    if (!line && space)
        line = xmlNewChild(x->root, space, (const xmlChar *)"commandline", NULL);
    xmlNode *option = line ? xmlNewChild(line, space, (const xmlChar *)"arg", NULL) : NULL;
    xmlNode *value = option ? xmlNewChild(line, space, (const xmlChar *)"arg", NULL) : NULL;
    if (!set(option, "value", "-qmp") || !set(value, "value", socket) ||
        add_change(x, changes, "monitor",
                   "its QEMU has a second monitor, which migd uses; libvirt calls it tainted then", line) < 0)
        return mig_error_oom(err);
    return 0;
}

/* ---- devices ---- */

static bool set_hex(xmlNode *node, const char *name, struct json_object *o, const char *key)
{
    char text[16];
    if (!json_u64(o, key))
        return true;
    snprintf(text, sizeof text, "0x%04x", (unsigned)json_u64(o, key));
    return set(node, name, text);
}

static bool set_text(xmlNode *node, const char *name, const char *value)
{
    return !*value || set(node, name, value);
}

static bool note_device(xmlNode *notes, xmlNs *space, struct json_object *d)
{
    char node_number[16] = "", type[96];
    snprintf(type, sizeof type, "%.*s", (int)strcspn(json_str(d, "type"), " "),
             json_str(d, "type")); /* without its name */
    if (json_get(d, "numa-node"))
        snprintf(node_number, sizeof node_number, "%u", (unsigned)json_u64(d, "numa-node"));
    xmlNode *n = xmlNewChild(notes, space, (const xmlChar *)"device", NULL);
    /* A driver that is not VFIO's is that of the time when no guest has the device. */
    return set(n, "address", json_str(d, "address")) && set_hex(n, "vendor", d, "vendor") &&
           set_hex(n, "device", d, "device") && set_hex(n, "subsystem-vendor", d, "subsystem-vendor") &&
           set_hex(n, "subsystem-device", d, "subsystem-device") && set_text(n, "type", type) &&
           set_text(n, "driver", json_flag(d, "vfio") && !*type ? json_str(d, "driver") : "") &&
           set_text(n, "numa-node", node_number) && set_text(n, "label", json_str(d, "label"));
}

static bool has_address(const struct libvirt_xml *x, const char *address)
{
    size_t length = strlen(address);
    for (const char *at = x->addresses; length && (at = strstr(at, address)); at += length)
        if ((at == x->addresses || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
            return true;
    return false;
}

static char *dump(const struct libvirt_xml *x, xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text = buffer && node && xmlNodeDump(buffer, x->doc, node, 0, 0) >= 0
                     ? strdup((const char *)xmlBufferContent(buffer))
                     : NULL;
    xmlBufferFree(buffer);
    return text;
}

int libvirt_xml_note_devices(struct libvirt_xml *x, struct json_object *devices, struct json_object *changes,
                             struct mig_error *err)
{
    xmlNode *metadata = make_child(x->root, "metadata");
    xmlNode *old = metadata ? next_element(metadata->children, "devices", MIGD_XML_NAMESPACE) : NULL;
    _cleanup_free_ char *before = dump(x, old);
    xmlNode *notes = metadata ? xmlNewChild(metadata, NULL, (const xmlChar *)"devices", NULL) : NULL;
    xmlNs *space =
        notes ? xmlNewNs(notes, (const xmlChar *)MIGD_XML_NAMESPACE, (const xmlChar *)"migd") : NULL;
    if (!space)
        return mig_error_oom(err);
    xmlSetNs(notes, space);
    for (size_t i = 0; i < json_length(devices); i++) {
        struct json_object *d = json_object_array_get_idx(devices, i);
        if (has_address(x, json_str(d, "address")) && !note_device(notes, space, d))
            return mig_error_oom(err);
    }
    _cleanup_free_ char *after = dump(x, notes);
    if (old) {
        xmlUnlinkNode(old);
        xmlFreeNode(old);
    }
    if (!after)
        return mig_error_oom(err);
    if (before && strcmp(before, after) == 0)
        return 0;
    return add_change(x, changes, "devices",
                      "its metadata says what its devices are, for hosts that it comes to", notes) < 0
               ? mig_error_oom(err)
               : 0;
}

int libvirt_xml_write(const struct libvirt_xml *x, char **ret, struct mig_error *err)
{
    xmlChar *text = NULL;
    int size = 0;
    xmlDocDumpFormatMemory(x->doc, &text, &size, 1);
    *ret = text ? strdup((const char *)text) : NULL;
    xmlFree(text);
    return *ret ? 0 : mig_error_oom(err);
}
