/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The list is one pass of lines: "8086  Vendor", "\t1572  Device", "\t\t...  Subsystem", and after the
 * vendors "C 02  Class", "\t00  Subclass".
 */
#include "host/pci-names.h"
#include "base/printable.h"
#include <stdio.h>
#include <string.h>

#define LIST_MAX_BYTES (UINT64_C(16) << 20)

static const char *const places[] = {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"};

/* digits hexadecimal digits, two blanks, a name. */
static const char *take_id(const char *line, int digits, unsigned *ret)
{
    char number[8];
    char *end;
    if (strnlen(line, (size_t)digits + 3) < (size_t)digits + 3)
        return NULL;
    memcpy(number, line, (size_t)digits);
    number[digits] = '\0';
    *ret = (unsigned)strtoul(number, &end, 16);
    return *end == '\0' && end != number && line[digits] == ' ' && line[digits + 1] == ' ' ? line + digits + 2
                                                                                           : NULL;
}

static void put(char *to, size_t size, const char *name)
{
    snprintf(to, size, "%s", name);
    make_printable(to); /* cut between bytes, perhaps */
}

struct place {
    bool in_classes;
    bool known; /* the line without a tab before this one was understood */
    unsigned top;
};

static void take_line(struct host_device *devices, size_t n, struct place *p, const char *line)
{
    unsigned id;
    const char *name;
    bool below = line[0] == '\t';
    if (line[0] == '#' || line[0] == '\0' || (below && (line[1] == '\t' || !p->known)))
        return;
    if (!below) {
        p->in_classes = line[0] == 'C' && line[1] == ' ';
        name = take_id(line + (p->in_classes ? 2 : 0), p->in_classes ? 2 : 4, &p->top);
        p->known = name;
        id = p->top;
    } else {
        name = take_id(line + 1, p->in_classes ? 2 : 4, &id);
    }
    for (size_t i = 0; name && i < n; i++) {
        struct host_device *d = &devices[i];
        if (p->in_classes) {
            /* A class is named by its subclass where there is one. */
            if (d->kind == HOST_PCI && d->class >> 16 == p->top && (!below || ((d->class >> 8) & 0xff) == id))
                put(d->class_name, sizeof d->class_name, name);
        } else if (d->vendor == p->top && d->vendor) {
            if (!below)
                put(d->vendor_name, sizeof d->vendor_name, name);
            else if (d->device == id)
                put(d->device_name, sizeof d->device_name, name);
        }
    }
}

int pci_names_find(struct host_device *devices, size_t n, const struct host_tree *t)
{
    _cleanup_free_ char *text = NULL;
    struct place p = {0};
    int r = -ENOENT;
    for (size_t i = 0; n && r == -ENOENT && i < ELEMENTS(places); i++)
        r = tree_read_whole(t, LIST_MAX_BYTES, &text, NULL, "%s", places[i]);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    for (char *line = text; line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        take_line(devices, n, &p, line);
        line = end ? end + 1 : NULL;
    }
    return 0;
}
