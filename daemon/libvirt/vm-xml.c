/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-xml.h"
#include "libvirt/xml-walk.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- memory ---- */

/* <memory unit='KiB'>: the units that libvirt knows; without one KiB. */
static uint64_t read_size(const xmlNode *node)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"b", 1},
                 {"bytes", 1},
                 {"KB", 1000},
                 {"k", UINT64_C(1) << 10},
                 {"KiB", UINT64_C(1) << 10},
                 {"MB", 1000000},
                 {"M", UINT64_C(1) << 20},
                 {"MiB", UINT64_C(1) << 20},
                 {"GB", 1000000000},
                 {"G", UINT64_C(1) << 30},
                 {"GiB", UINT64_C(1) << 30},
                 {"TB", 1000000000000},
                 {"T", UINT64_C(1) << 40},
                 {"TiB", UINT64_C(1) << 40}};
    char text[32], unit[16];
    xml_text(node, text, sizeof text);
    if (!xml_attribute(node, "unit", unit, sizeof unit))
        snprintf(unit, sizeof unit, "KiB");
    for (size_t i = 0; i < ELEMENTS(units); i++)
        if (strcmp(units[i].unit, unit) == 0)
            return strtoull(text, NULL, 10) * units[i].bytes;
    return 0;
}

static void read_memory(struct vm_xml *x, const xmlNode *root)
{
    const xmlNode *backing = xml_child(root, "memoryBacking");
    x->memory_bytes = read_size(xml_child(root, "memory"));
    xml_attribute(xml_child(backing, "source"), "type", x->memory_source, sizeof x->memory_source);
    x->memory_shared = backing && xml_has(xml_child(backing, "access"), "mode", "shared");
    x->hugepages = xml_child(backing, "hugepages") != NULL;
}

bool vm_xml_memory_is_shared_file(const struct vm_xml *x)
{
    return x->memory_shared && (strcmp(x->memory_source, "file") == 0 || x->hugepages);
}

/* ---- devices ---- */

static void pci_address(const xmlNode *address, char *ret, size_t size)
{
    unsigned domain = 0, bus = 0, slot = 0, function = 0;
    xml_number(address, "domain", 0xffffffff, &domain);
    xml_number(address, "bus", 0xff, &bus);
    xml_number(address, "slot", 0x1f, &slot);
    xml_number(address, "function", 7, &function);
    snprintf(ret, size, "%04x:%02x:%02x.%x", domain, bus, slot, function);
}

static int add_device(struct vm_xml *x, const xmlNode *node, const char *type, struct mig_error *err)
{
    const xmlNode *address = xml_child(xml_child(node, "source"), "address");
    if (x->ndevices == VM_DEVICES_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "domain %.80s has more than %u host devices", x->name,
                             VM_DEVICES_MAX);
    struct vm_device *d = &x->devices[x->ndevices++];
    snprintf(d->type, sizeof d->type, "%s", type);
    if (strcmp(type, "mdev") == 0)
        xml_attribute(address, "uuid", d->address, sizeof d->address);
    else if (strcmp(type, "pci") == 0)
        pci_address(address, d->address, sizeof d->address);
    else
        snprintf(d->address, sizeof d->address, "%s%zu", type, x->ndevices);
    return 0;
}

static int add_disk(struct vm_xml *x, const xmlNode *node, struct mig_error *err)
{
    if (x->ndisks == VM_DISKS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "domain %.80s has more than %u disks", x->name,
                             VM_DISKS_MAX);
    struct vm_disk *d = &x->disks[x->ndisks++];
    const xmlNode *source = xml_child(node, "source");
    xml_attribute(xml_child(node, "target"), "dev", d->target, sizeof d->target);
    if (source && xml_has(node, "type", "file"))
        d->file = xml_attribute(source, "file", d->source, sizeof d->source);
    else if (source && xml_has(node, "type", "block"))
        d->block = xml_attribute(source, "dev", d->source, sizeof d->source);
    d->readonly = xml_child(node, "readonly") != NULL;
    d->shareable = xml_child(node, "shareable") != NULL;
    xml_attribute(xml_child(node, "driver"), "cache", d->cache, sizeof d->cache);
    return 0;
}

static int read_device(struct vm_xml *x, const xmlNode *node, struct mig_error *err)
{
    char type[24];
    if (xml_is(node, "disk"))
        return add_disk(x, node, err);
    if (xml_is(node, "hostdev") && xml_attribute(node, "type", type, sizeof type))
        return add_device(x, node, type, err);
    if (xml_is(node, "interface") && xml_has(node, "type", "hostdev"))
        return add_device(x, node, "pci", err);
    return 0;
}

/* ---- the whole ---- */

static int read_domain(struct vm_xml *x, const xmlNode *root, struct mig_error *err)
{
    const xmlNode *devices = xml_child(root, "devices");
    const xmlNode *type = xml_child(xml_child(root, "os"), "type");
    char text[16];
    int r = 0;
    xml_text(xml_child(root, "name"), x->name, sizeof x->name);
    xml_text(xml_child(root, "uuid"), x->uuid, sizeof x->uuid);
    xml_attribute(root, "type", x->type, sizeof x->type);
    xml_attribute(type, "arch", x->arch, sizeof x->arch);
    xml_attribute(type, "machine", x->machine, sizeof x->machine);
    xml_text(xml_child(devices, "emulator"), x->emulator, sizeof x->emulator);
    xml_attribute(xml_child(root, "cpu"), "mode", x->cpu_mode, sizeof x->cpu_mode);
    xml_text(xml_child(root, "vcpu"), text, sizeof text);
    x->vcpus = (unsigned)strtoul(text, NULL, 10);
    read_memory(x, root);
    x->nmonitors = xml_monitors(root, x->monitors, VM_MONITORS_MAX);
    for (const xmlNode *n = devices ? devices->children : NULL; r == 0 && n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && !n->ns)
            r = read_device(x, n, err);
    return r;
}

int vm_xml_parse(struct vm_xml *ret, const char *text, struct mig_error *err)
{
    xmlDoc *doc = NULL;
    *ret = (struct vm_xml){0};
    int r = xml_parse_domain(text, &doc, err);
    if (r == 0)
        r = read_domain(ret, xml_library.xmlDocGetRootElement(doc), err);
    if (doc)
        xml_library.xmlFreeDoc(doc);
    return r;
}
