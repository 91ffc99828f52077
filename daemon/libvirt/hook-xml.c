/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/hook-xml.h"
#include "libvirt/xml-walk.h"
#include "migd-bus.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct place {
    struct match_device wish;
    xmlNode *address; /* the <address> below <source> */
    xmlNode *note;    /* in the metadata; NULL: there is none */
};

struct hook_xml {
    xmlDoc *doc;
    char name[256], uuid[64], monitor[XML_MONITOR_MAX];
    struct place *places;
    size_t n;
    bool declared; /* the text begins with <?xml */
    bool swapped;
};

/* ---- what it says ---- */

static bool pci_address(const xmlNode *node, char ret[MATCH_TEXT_MAX])
{
    unsigned domain = 0, bus, slot, function = 0;
    xml_number(node, "domain", 0xffffffff, &domain);
    xml_number(node, "function", 7, &function);
    if (!xml_number(node, "bus", 0xff, &bus) || !xml_number(node, "slot", 0x1f, &slot))
        return false;
    snprintf(ret, MATCH_TEXT_MAX, "%04x:%02x:%02x.%x", domain, bus, slot, function);
    return true;
}

/* <hostdev type='pci|mdev'> and <interface type='hostdev'>. */
static bool read_device(const xmlNode *node, struct place *ret)
{
    struct place p = {.wish = MATCH_DEVICE_INIT};
    struct match_device *wish = &p.wish;
    bool interface = xml_is(node, "interface") && xml_has(node, "type", "hostdev");
    bool hostdev = xml_is(node, "hostdev") && xml_has(node, "mode", "subsystem");
    p.address = xml_child(xml_child(node, "source"), "address");
    if (!p.address || !(interface || hostdev))
        return false;
    wish->may_bind = xml_has(node, "managed", "yes");
    wish->mediated = hostdev && xml_has(node, "type", "mdev");
    if (wish->mediated)
        return xml_attribute(p.address, "uuid", wish->address, sizeof wish->address) && (*ret = p, true);
    if (interface ? !xml_has(p.address, "type", "pci") : !xml_has(node, "type", "pci"))
        return false;
    return pci_address(p.address, wish->address) && (*ret = p, true);
}

static int add_device(struct hook_xml *x, const struct place *p, struct mig_error *err)
{
    if (x->n >= HOOK_XML_DEVICES_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "domain %.80s has more than %u host devices", x->name,
                             HOOK_XML_DEVICES_MAX);
    struct place *places = reallocarray(x->places, x->n + 1, sizeof *places);
    if (!places)
        return mig_error_oom(err);
    x->places = places;
    x->places[x->n++] = *p;
    return 0;
}

static void read_note(const xmlNode *node, struct match_device *wish)
{
    unsigned value;
    const struct {
        const char *name;
        uint16_t *to;
    } ids[] = {{"vendor", &wish->vendor},
               {"device", &wish->device},
               {"subsystem-vendor", &wish->subvendor},
               {"subsystem-device", &wish->subdevice}};
    for (size_t i = 0; i < ELEMENTS(ids); i++)
        if (xml_number(node, ids[i].name, 0xffff, &value))
            *ids[i].to = (uint16_t)value;
    if (xml_number(node, "numa-node", 0xffff, &value))
        wish->numa_node = (int)value;
    xml_attribute(node, "driver", wish->driver, sizeof wish->driver);
    xml_attribute(node, "type", wish->type, sizeof wish->type);
    xml_attribute(node, "label", wish->label, sizeof wish->label);
}

static bool is_ours(const xmlNode *node, const char *name)
{
    return xml_is(node, name) && node->ns && strcmp((const char *)node->ns->href, MIGD_XML_NAMESPACE) == 0;
}

static void read_notes(struct hook_xml *x, const xmlNode *devices)
{
    char address[MATCH_TEXT_MAX];
    for (xmlNode *node = devices->children; node; node = node->next)
        for (size_t i = 0; is_ours(node, "device") && i < x->n; i++)
            if (xml_attribute(node, "address", address, sizeof address) &&
                strcmp(address, x->places[i].wish.address) == 0) {
                read_note(node, &x->places[i].wish);
                x->places[i].note = node;
            }
}

static int read_domain(struct hook_xml *x, const xmlNode *root, struct mig_error *err)
{
    const xmlNode *devices = xml_child(root, "devices"), *metadata = xml_child(root, "metadata");
    struct place p;
    int r = 0;
    xml_text(xml_child(root, "name"), x->name, sizeof x->name);
    xml_text(xml_child(root, "uuid"), x->uuid, sizeof x->uuid);
    for (xmlNode *n = devices ? devices->children : NULL; r == 0 && n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && !n->ns && read_device(n, &p))
            r = add_device(x, &p, err);
    xml_monitors(root, &x->monitor, 1);
    for (xmlNode *n = metadata ? metadata->children : NULL; r == 0 && n; n = n->next)
        if (is_ours(n, "devices"))
            read_notes(x, n);
    return r;
}

int hook_xml_parse(struct hook_xml **ret, const char *text, struct mig_error *err)
{
    _cleanup_(hook_xml_freep) struct hook_xml *x = calloc(1, sizeof *x);
    if (!x)
        return mig_error_oom(err);
    x->declared = strncmp(text, "<?xml", 5) == 0;
    int r = xml_parse_domain(text, &x->doc, err);
    if (r == 0)
        r = read_domain(x, xml_library.xmlDocGetRootElement(x->doc), err);
    if (r == 0)
        *ret = TAKE_PTR(x);
    return r;
}

struct hook_xml *hook_xml_free(struct hook_xml *x)
{
    if (!x)
        return NULL;
    if (x->doc)
        xml_library.xmlFreeDoc(x->doc);
    free(x->places);
    free(x);
    return NULL;
}

const char *hook_xml_name(const struct hook_xml *x)
{
    return x->name;
}

const char *hook_xml_uuid(const struct hook_xml *x)
{
    return x->uuid;
}

const char *hook_xml_monitor(const struct hook_xml *x)
{
    return x->monitor;
}

size_t hook_xml_count(const struct hook_xml *x)
{
    return x->n;
}

const struct match_device *hook_xml_device(const struct hook_xml *x, size_t i)
{
    return &x->places[i].wish;
}

/* ---- swapping ---- */

static bool set_attribute(xmlNode *node, const char *name, const char *value)
{
    return xml_library.xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value) != NULL;
}

static bool set_pci(xmlNode *node, const char *address)
{
    unsigned domain, bus, slot, function;
    char text[4][16];
    int end = 0;
    if (sscanf(address, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &end) != 4 || address[end])
        return false;
    snprintf(text[0], sizeof text[0], "0x%04x", domain);
    snprintf(text[1], sizeof text[1], "0x%02x", bus);
    snprintf(text[2], sizeof text[2], "0x%02x", slot);
    snprintf(text[3], sizeof text[3], "0x%x", function);
    return set_attribute(node, "domain", text[0]) && set_attribute(node, "bus", text[1]) &&
           set_attribute(node, "slot", text[2]) && set_attribute(node, "function", text[3]);
}

int hook_xml_swap(struct hook_xml *x, size_t i, const char *address, struct mig_error *err)
{
    struct place *p = &x->places[i];
    struct match_device *wish = &p->wish;
    if (strcmp(wish->address, address) == 0)
        return 0;
    x->swapped = true;
    if (!(wish->mediated ? set_attribute(p->address, "uuid", address) : set_pci(p->address, address)) ||
        (p->note && !set_attribute(p->note, "address", address)))
        return mig_error_set(err, MIG_ERR_FAILED, 0, "device %.90s cannot be put in the place of %.90s",
                             address, wish->address);
    snprintf(wish->address, sizeof wish->address, "%s", address);
    return 0;
}

int hook_xml_write(const struct hook_xml *x, char **ret, struct mig_error *err)
{
    if (!x->swapped)
        return (*ret = strdup("")) ? 0 : mig_error_oom(err);
    xmlBuffer *buffer = xml_library.xmlBufferCreate();
    xmlSaveCtxt *save = buffer ? xml_library.xmlSaveToBuffer(buffer, "UTF-8",
                                                             x->declared ? XML_SAVE_AS_XML : XML_SAVE_NO_DECL)
                               : NULL;
    bool ok = save && xml_library.xmlSaveDoc(save, x->doc) >= 0;
    ok = save && xml_library.xmlSaveClose(save) >= 0 && ok;
    *ret = ok ? strdup((const char *)xml_library.xmlBufferContent(buffer)) : NULL;
    xml_library.xmlBufferFree(buffer);
    return *ret ? 0 : mig_error_oom(err);
}
