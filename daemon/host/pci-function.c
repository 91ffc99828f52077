/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/pci-function.h"
#include "host/variants.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PCI "/sys/bus/pci/devices"

static uint32_t read_id(const struct host_tree *t, const char *address, const char *file, uint32_t max)
{
    int64_t value;
    if (tree_read_number(t, &value, PCI "/%s/%s", address, file) < 0 || value < 0 || value > max)
        return 0;
    return (uint32_t)value;
}

/* The kernel makes a class device for whatever speaks VFIO (since 6.1); before that only names tell. */
static void learn_vfio(struct host_device *d, const struct host_tree *t, const char *folder)
{
    struct tree_names names = {0};
    if (tree_list(t, &names, "%s/vfio-dev", folder) == 0 && names.count > 0) {
        d->on_vfio = true;
        if (strlen(names.names[0]) < sizeof d->cdev && tree_has(t, "/dev/vfio/devices/%s", names.names[0]))
            strcpy(d->cdev, names.names[0]);
    }
    tree_names_free(&names);
    d->on_vfio |= d->driver[0] && (d->kind == HOST_MDEV || strstr(d->driver, "vfio"));
}

/* Of the IOMMU itself, not of what the kernel does with it: Intel's extended capability bit 45 (second-stage
 * accessed and dirty bits), AMD's extended feature bits 49 and 52 (host access and dirty update). Arm's SMMU
 * does not say. */
static enum fact read_dirty_bits(const struct host_tree *t, const char *address)
{
    char text[64], *end;
    bool amd = false;
    if (tree_read(t, text, sizeof text, PCI "/%s/iommu/intel-iommu/ecap", address) < 0) {
        amd = true;
        if (tree_read(t, text, sizeof text, PCI "/%s/iommu/amd-iommu/features", address) < 0)
            return FACT_UNKNOWN;
    }
    unsigned long long value = strtoull(text, &end, 16);
    if (end == text || (*end && *end != ':'))
        return FACT_UNKNOWN;
    uint64_t wanted = amd ? UINT64_C(1) << 49 | UINT64_C(1) << 52 : UINT64_C(1) << 45;
    return (value & wanted) == wanted ? FACT_YES : FACT_NO;
}

static void learn_virtual_functions(struct host_device *d, const struct host_tree *t,
                                    const struct variants *v)
{
    char modalias[128], id[16];
    tree_link_name(t, d->physical, sizeof d->physical, PCI "/%s/physfn", d->address);
    d->vfs = read_id(t, d->address, "sriov_numvfs", UINT16_MAX);
    d->vfs_max = read_id(t, d->address, "sriov_totalvfs", UINT16_MAX);
    const char *rest = strstr(d->modalias, "sv"); /* a VF has its PF's subsystem and class, as a rule */
    if (d->vfs_max == 0 || !rest ||
        tree_read(t, id, sizeof id, PCI "/%s/sriov_vf_device", d->address) < 0) /* hexadecimal, without 0x */
        return;
    snprintf(modalias, sizeof modalias, "pci:v%08Xd%08X%.40s", d->vendor, (unsigned)strtoul(id, NULL, 16),
             rest);
    const char *found = variants_find(v, modalias);
    if (found)
        snprintf(d->vf_variant, sizeof d->vf_variant, "%s", found);
}

int pci_function_learn(struct host_device *d, const struct host_tree *t, const struct variants *v,
                       const char *address)
{
    char folder[128];
    int64_t node;
    if (strlen(address) >= sizeof d->address || strchr(address, '/') || !tree_has(t, PCI "/%s", address))
        return -ENOENT;
    *d = (struct host_device){.kind = HOST_PCI, .numa_node = -1};
    strcpy(d->address, address);
    snprintf(folder, sizeof folder, PCI "/%s", address);
    d->vendor = (uint16_t)read_id(t, address, "vendor", UINT16_MAX);
    d->device = (uint16_t)read_id(t, address, "device", UINT16_MAX);
    d->subvendor = (uint16_t)read_id(t, address, "subsystem_vendor", UINT16_MAX);
    d->subdevice = (uint16_t)read_id(t, address, "subsystem_device", UINT16_MAX);
    d->class = read_id(t, address, "class", 0xffffff);
    tree_read(t, d->modalias, sizeof d->modalias, PCI "/%s/modalias", address);
    tree_link_name(t, d->driver, sizeof d->driver, PCI "/%s/driver", address);
    tree_link_name(t, d->group, sizeof d->group, PCI "/%s/iommu_group", address);
    tree_link_name(t, d->unit, sizeof d->unit, PCI "/%s/iommu", address);
    d->dirty_bits = read_dirty_bits(t, address);
    if (tree_read_number(t, &node, PCI "/%s/numa_node", address) == 0 && node >= 0 && node <= 4096)
        d->numa_node = (int)node;
    learn_vfio(d, t, folder);
    const char *variant = variants_find(v, d->modalias);
    if (variant)
        snprintf(d->variant, sizeof d->variant, "%s", variant);
    learn_virtual_functions(d, t, v);
    return 0;
}

bool pci_function_is_bridge(const struct host_device *d)
{
    return d->class >> 16 == 0x06;
}

/* ---- mediated devices ---- */

int mdev_learn(struct host_device *d, const struct host_tree *t, const char *uuid)
{
    char folder[128], target[1024], type[HOST_NAME_MAX_BYTES] = "", name[64] = "";
    int64_t node;
    if (strlen(uuid) >= sizeof d->address || strchr(uuid, '/') ||
        !tree_has(t, "/sys/bus/mdev/devices/%s", uuid))
        return -ENOENT;
    *d = (struct host_device){.kind = HOST_MDEV, .numa_node = -1};
    strcpy(d->address, uuid);
    snprintf(folder, sizeof folder, "/sys/bus/mdev/devices/%s", uuid);
    /* ../../../devices/pci0000:00/0000:00:02.0/UUID */
    if (tree_read_link(t, target, sizeof target, "%s", folder) == 0) {
        char *slash = strrchr(target, '/');
        if (slash) {
            *slash = '\0';
            slash = strrchr(target, '/');
            snprintf(d->parent, sizeof d->parent, "%.63s", slash ? slash + 1 : target);
        }
    }
    tree_link_name(t, type, sizeof type, "%s/mdev_type", folder);
    if (tree_read(t, name, sizeof name, "%s/mdev_type/name", folder) == 0 && *name)
        snprintf(d->type, sizeof d->type, "%.40s (%.50s)", type, name);
    else
        snprintf(d->type, sizeof d->type, "%s", type);
    tree_link_name(t, d->driver, sizeof d->driver, "%s/driver", folder);
    tree_link_name(t, d->group, sizeof d->group, "%s/iommu_group", folder);
    if (tree_read_number(t, &node, PCI "/%s/numa_node", d->parent) == 0 && node >= 0 && node <= 4096)
        d->numa_node = (int)node;
    learn_vfio(d, t, folder);
    return 0;
}

/* ---- addresses ---- */

/* Digits of a pattern: 'x' stands for one in hexadecimal, everything else for itself. */
static bool looks_like(const char *text, const char *pattern)
{
    for (; *pattern; pattern++, text++)
        if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
            return false;
    return *text == '\0';
}

bool pci_address_complete(char ret[static HOST_NAME_MAX_BYTES], const char *typed)
{
    bool is_short = looks_like(typed, "xx:xx.x");
    if (!is_short && !looks_like(typed, "xxxx:xx:xx.x") && !looks_like(typed, "xxxxx:xx:xx.x") &&
        !looks_like(typed, "xxxxxxxx:xx:xx.x") && !looks_like(typed, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
        return false;
    snprintf(ret, HOST_NAME_MAX_BYTES, "%s%.36s", is_short ? "0000:" : "", typed);
    for (char *c = ret; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return true;
}
