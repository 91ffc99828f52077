/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `info mtree -f` prints a "FlatView" for each different view of memory, with the address spaces that have it
 * ('AS "memory", root: system' is the guest's physical one) and then lines
 *
 *   0000000000100000-000000007fffffff (prio 0, ram): ram0 @0000000000100000 KVM
 *
 * with first and last address, kind, name, and offset where it is not 0.
 */
#include "vmm/qemu-layout.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE       UINT64_C(4096)
#define PIECES_MAX 4096u

struct list {
    struct qemu_piece *pieces;
    size_t n;
};

/* ---- lines ---- */

/* The next line, without its end; false at the end of the text. */
static bool next_line(const char **at, char *line, size_t size)
{
    if (!**at)
        return false;
    size_t n = strcspn(*at, "\r\n");
    snprintf(line, size, "%.*s", (int)MIN(n, size - 1), *at);
    *at += n;
    *at += strspn(*at, "\r\n");
    return true;
}

static bool is_memory(const char *name, const struct qemu_memory *memory, size_t nmemory, size_t *ret)
{
    const char *id = strncmp(name, "/objects/", 9) == 0 ? name + 9 : name;
    for (size_t i = 0; i < nmemory; i++)
        if (strcmp(memory[i].id, id) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

/* False for what is no RAM of these backends, or lies in none of their pages. */
static bool parse_line(const char *line, const struct qemu_memory *memory, size_t nmemory,
                       struct qemu_piece *ret)
{
    char kind[16], name[128];
    uint64_t first, last, offset = 0;
    int prio, at = 0;
    if (sscanf(line, " %" SCNx64 "-%" SCNx64 " (prio %d, %15[^)]): %127s%n", &first, &last, &prio, kind, name,
               &at) != 5 ||
        (strcmp(kind, "ram") != 0 && strcmp(kind, "rom") != 0 && strcmp(kind, "nv-ram") != 0) ||
        !is_memory(name, memory, nmemory, &ret->memory) || last <= first)
        return false;
    if (sscanf(line + at, " @%" SCNx64, &offset) != 1)
        offset = 0;
    ret->offset_bytes = offset;
    ret->address = first;
    ret->size_bytes = last - first + 1;
    uint64_t end;
    return !(first % PAGE || offset % PAGE || ret->size_bytes % PAGE ||
             __builtin_add_overflow(offset, ret->size_bytes, &end) || end > memory[ret->memory].size_bytes);
}

/* ---- pieces ---- */

static uint64_t end_of(const struct qemu_piece *p)
{
    return p->offset_bytes + p->size_bytes;
}

/* One more, in the order of addresses. What goes on where the last one would have gone on belongs to it, and
 * so does what lies over it in between. */
static int append(struct list *l, const struct qemu_piece *p)
{
    struct qemu_piece *last = l->n ? &l->pieces[l->n - 1] : NULL;
    if (last && last->memory == p->memory &&
        p->address - last->address == p->offset_bytes - last->offset_bytes) {
        last->size_bytes = end_of(p) - last->offset_bytes;
        return 0;
    }
    if (l->n == PIECES_MAX)
        return -E2BIG;
    struct qemu_piece *pieces = reallocarray(l->pieces, l->n + 1, sizeof *pieces);
    if (!pieces)
        return -ENOMEM;
    l->pieces = pieces;
    l->pieces[l->n++] = *p;
    return 0;
}

/* A page that something covers at the edge of a piece is the piece's, too: up to where another piece has the
 * next of the backend's pages, and to where another one has the addresses. */
static void stretch(struct list *l, const struct qemu_memory *memory)
{
    for (size_t i = 0; i < l->n; i++) {
        struct qemu_piece *p = &l->pieces[i];
        uint64_t low = 0, high = memory[p->memory].size_bytes, below = 0, above = UINT64_MAX;
        for (size_t k = 0; k < l->n; k++) {
            const struct qemu_piece *o = &l->pieces[k];
            if (k != i && o->memory == p->memory && o->offset_bytes >= end_of(p))
                high = MIN(high, o->offset_bytes);
            if (k != i && o->memory == p->memory && end_of(o) <= p->offset_bytes)
                low = MAX(low, end_of(o));
        }
        if (i > 0)
            below = l->pieces[i - 1].address + l->pieces[i - 1].size_bytes;
        if (i + 1 < l->n)
            above = l->pieces[i + 1].address;
        uint64_t down = MIN(p->offset_bytes - MIN(low, p->offset_bytes), p->address - below);
        p->offset_bytes -= down;
        p->address -= down;
        p->size_bytes += down;
        uint64_t up = MIN(high - MIN(high, end_of(p)), above - (p->address + p->size_bytes));
        p->size_bytes += up;
    }
}

int qemu_layout_parse(const char *text, const struct qemu_memory *memory, size_t nmemory,
                      struct qemu_piece **ret, size_t *ret_n)
{
    char line[256];
    struct list l = {0};
    bool inside = false;
    int r = 0;
    while (r == 0 && next_line(&text, line, sizeof line)) {
        struct qemu_piece p;
        const char *begin = line + strspn(line, " ");
        if (strncmp(begin, "FlatView #", 10) == 0) {
            if (inside)
                break;
        } else if (strncmp(begin, "AS \"memory\",", 12) == 0) {
            inside = true;
        } else if (inside && parse_line(line, memory, nmemory, &p)) {
            r = append(&l, &p);
        }
    }
    if (r == 0 && l.n == 0)
        r = -ENOENT;
    if (r < 0) {
        free(l.pieces);
        return r;
    }
    stretch(&l, memory);
    *ret = l.pieces;
    *ret_n = l.n;
    return 0;
}

/* Those that QEMU emulates give each device an address space of its own, named "vtd-root", "amd_iommu...",
 * "virtio-iommu...", "smmuv3-...". */
bool qemu_layout_has_iommu(const char *text)
{
    char line[256];
    while (next_line(&text, line, sizeof line)) {
        const char *begin = line + strspn(line, " ");
        if (strncmp(begin, "AS \"", 4) == 0 && (strncmp(begin + 4, "vtd", 3) == 0 ||
                                                strncmp(begin + 4, "smmu", 4) == 0 || strstr(begin, "iommu")))
            return true;
    }
    return false;
}

int qemu_layout_ask(struct qmp *q, uint64_t deadline_usec, const struct qemu_memory *memory, size_t nmemory,
                    struct qemu_piece **ret, size_t *ret_n, struct mig_error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = qmp_human(q, "info mtree -f", deadline_usec, &text, err);
    if (r < 0)
        return r;
    if (qemu_layout_has_iommu(text)) {
        r = mig_error_set(
            err, MIG_ERR_NOT_SUPPORTED, 0,
            "QEMU at %s emulates an IOMMU, so where its devices see the RAM only the guest knows",
            qmp_path(q));
        mig_error_hint(err,
                       "take the emulated IOMMU out; or leave the containers out (--no-containers), when "
                       "something else says what devices write");
        return r;
    }
    r = qemu_layout_parse(text, memory, nmemory, ret, ret_n);
    return r < 0 ? mig_error_set(err, MIG_ERR_CONTROLLER, -r,
                                 "QEMU at %s does not say where its guest sees the RAM: %s", qmp_path(q),
                                 r == -ENOENT ? "no RAM in \"info mtree -f\"" : strerror(-r))
                 : 0;
}
