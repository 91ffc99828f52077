/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/format.h"
#include "base/printable.h"
#include "incoming/compare-parts.h"
#include "migd-wire.h"
#include <stdio.h>
#include <string.h>

static const struct domain_memory *find(const struct here *here, const char *name)
{
    for (size_t i = 0; i < here->nmemory; i++)
        if (strcmp(here->memory[i].region->name, name) == 0)
            return &here->memory[i];
    return NULL;
}

static bool is_among(struct json_object *regions, size_t before, const char *name)
{
    const char *other;
    for (size_t i = 0; i < before; i++)
        if (json_get_string(json_object_array_get_idx(regions, i), "name", &other) == 0 &&
            strcmp(other, name) == 0)
            return true;
    return false;
}

static int compare_page_size(struct json_object *o, const struct region *here, struct findings *ret)
{
    uint64_t page_bytes;
    if (json_get_u64(o, "file-page-size", &page_bytes) < 0 || page_bytes == here->file_page_bytes)
        return 0;
    return findings_add(ret, FINDING_MEMORY_PAGE_SIZE_DIFFERS, here->name, NULL,
                        "Memory %s is backed by pages of %s at the source and %s at the destination",
                        here->name, FORMAT_BYTES(page_bytes), FORMAT_BYTES(here->file_page_bytes));
}

static bool has_iova(struct json_object *iovas, size_t n, uint64_t iova)
{
    for (size_t i = 0; i < n; i++) {
        struct json_object *v = json_object_array_get_idx(iovas, i);
        if (json_object_is_type(v, json_type_int) && json_object_get_uint64(v) == iova)
            return true;
    }
    return false;
}

/* Only where both sides know any: a VMM may map later, or by itself. */
static int compare_iovas(struct json_object *o, const struct domain_memory *m, struct findings *ret)
{
    struct json_object *iovas;
    size_t n;
    if (json_get_array(o, "iovas", &iovas, &n) < 0 || n == 0 || m->niovas == 0)
        return 0;
    bool same = n == m->niovas;
    for (size_t i = 0; i < m->niovas && same; i++)
        same = has_iova(iovas, n, m->iova[i]);
    if (same)
        return 0;
    return findings_add(
        ret, FINDING_MEMORY_IOVAS_DIFFER, m->region->name, NULL,
        "Memory %s is mapped for the devices at 0x%llx%s at the source and at 0x%llx%s at the destination",
        m->region->name, (unsigned long long)json_object_get_uint64(json_object_array_get_idx(iovas, 0)),
        n > 1 ? " and elsewhere" : "", (unsigned long long)m->iova[0], m->niovas > 1 ? " and elsewhere" : "");
}

static int compare_region(struct json_object *o, const char *name, const struct here *here,
                          struct findings *ret, struct mig_error *err)
{
    char text[REGION_NAME_MAX + 1];
    uint64_t size;
    if (json_get_u64(o, "size", &size) < 0)
        return compare_malformed(err, "a region without name or size");
    snprintf(text, sizeof text, "%s", name);
    make_printable(text);
    const struct domain_memory *m = find(here, name);
    int r = 0;
    if (!m) {
        r = findings_add(
            ret, FINDING_MEMORY_MISSING, text, "Register it at the destination under the same name",
            "The source has memory %s, which domain %s at the destination has not", text, here->name);
        return r < 0 ? mig_error_oom(err) : 0;
    }
    const struct region *region = m->region;
    if (region->size_bytes != size)
        r = findings_add(ret, FINDING_MEMORY_SIZE_DIFFERS, name,
                         "Register it at the destination with the size that it has at the source",
                         "Memory %s has %llu bytes at the source and %llu at the destination", name,
                         (unsigned long long)size, (unsigned long long)region->size_bytes);
    if (r == 0 && !region->writable)
        r = findings_add(ret, FINDING_MEMORY_READ_ONLY_AT_DESTINATION, name,
                         "Register it at the destination without read-only",
                         "Memory %s of domain %s is read-only at the destination", name, here->name);
    if (r == 0)
        r = compare_iovas(o, m, ret);
    if (r == 0)
        r = compare_page_size(o, region, ret);
    return r < 0 ? mig_error_oom(err) : 0;
}

/* What is here and not there. */
static int compare_surplus(struct json_object *regions, size_t n, const struct here *here,
                           struct findings *ret)
{
    int r = 0;
    for (size_t i = 0; i < here->nmemory && r == 0; i++) {
        const char *name = here->memory[i].region->name;
        if (!is_among(regions, n, name))
            r = findings_add(ret, FINDING_MEMORY_SURPLUS, name, "Register the same memory on both sides",
                             "Domain %s at the destination has memory %s, which the source has not",
                             here->name, name);
    }
    return r;
}

int compare_memory(struct json_object *hello, const struct here *here, struct findings *ret,
                   struct mig_error *err)
{
    struct json_object *regions;
    size_t n;
    if (json_get_array(hello, "regions", &regions, &n) < 0 || n > WIRE_REGIONS_MAX)
        return compare_malformed(err, "no regions, or too many");
    for (size_t i = 0; i < n; i++) {
        struct json_object *o = json_object_array_get_idx(regions, i);
        const char *name;
        if (json_get_string(o, "name", &name) < 0)
            return compare_malformed(err, "a region without name or size");
        if (is_among(regions, i, name))
            return compare_malformed(err, "a region twice");
        int r = compare_region(o, name, here, ret, err);
        if (r < 0)
            return r;
    }
    int r = compare_surplus(regions, n, here, ret);
    if (r == 0)
        r = compare_space(regions, here, ret);
    return r < 0 ? mig_error_oom(err) : 0;
}
