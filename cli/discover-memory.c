/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that a process shares: what its maps say, and which of its descriptors lead there. */
#include "base/fds.h"
#include "discover.h"
#include "foreign-fd.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define MAPPINGS_MAX   262144u
#define SMALL_FILE_MAX 65536u

struct mapping {
    struct discovery_place place;
    uint64_t device, inode;
    char *path;
};

struct mappings {
    struct mapping *list;
    size_t n, room;
};

/* seq_file writes a newline in a name as \012, and nothing else. */
static void unescape(char *path)
{
    char *to = path;
    for (const char *p = path; *p; to++) {
        bool newline = strncmp(p, "\\012", 4) == 0;
        *to = newline ? '\n' : *p;
        p += newline ? 4 : 1;
    }
    *to = '\0';
}

bool discovery_parse_line(char *text, struct discovery_line *ret)
{
    unsigned long long start, end, offset, inode;
    unsigned major, minor;
    char permissions[5];
    int at = -1;
    text[strcspn(text, "\n")] = '\0';
    if (sscanf(text, "%llx-%llx %4s %llx %x:%x %llu%n", &start, &end, permissions, &offset, &major, &minor,
               &inode, &at) != 7 ||
        at < 0 || strlen(permissions) != 4 || start >= end || offset > UINT64_MAX - (end - start))
        return false;
    if (text[at] != ' ' && text[at] != '\0')
        return false;
    char *path = text + at + strspn(text + at, " ");
    unescape(path);
    *ret = (struct discovery_line){
        .place = {.address = start, .offset = offset, .size_bytes = end - start},
        .shared = permissions[3] == 's',
        .writable = permissions[1] == 'w',
        .device = (uint64_t)major << 32 | minor,
        .inode = inode,
        .path = path,
    };
    return true;
}

static bool is_device(const char *path)
{
    return strncmp(path, "/dev/vfio/", 10) == 0 || strncmp(path, "/dev/dri/", 9) == 0;
}

static int add_mapping(struct mappings *m, const struct discovery_line *line)
{
    if (m->n == m->room) {
        struct mapping *more = reallocarray(m->list, m->room ? m->room * 2 : 64, sizeof *more);
        if (!more)
            return -ENOMEM;
        m->list = more;
        m->room = m->room ? m->room * 2 : 64;
    }
    char *path = strdup(line->path);
    if (!path)
        return -ENOMEM;
    m->list[m->n++] = (struct mapping){line->place, line->device, line->inode, path};
    return 0;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_file(const void *a, const void *b)
{
    const struct mapping *x = a, *y = b;
    int c = compare(x->inode, y->inode);
    if (c == 0)
        c = compare(x->device, y->device);
    if (c == 0)
        c = strcmp(x->path, y->path);
    if (c == 0)
        c = compare(x->place.offset, y->place.offset);
    return c ? c : compare(x->place.address, y->place.address);
}

static bool same_file(const struct discovery_memory *x, const struct mapping *y)
{
    return x->inode == y->inode && x->device == y->device && strcmp(x->path, y->path) == 0;
}

/* The mappings of a file follow each other, by offset. */
static int to_memory(struct discovery *d, struct mappings *m)
{
    d->memory = m->n ? calloc(m->n, sizeof *d->memory) : NULL;
    if (m->n && !d->memory)
        return -ENOMEM;
    for (size_t i = 0; i < m->n; i++) {
        struct mapping *from = &m->list[i];
        struct discovery_memory *to = d->n_memory ? &d->memory[d->n_memory - 1] : NULL;
        if (!to || !same_file(to, from)) {
            to = &d->memory[d->n_memory++];
            *to = (struct discovery_memory){.path = TAKE_PTR(from->path),
                                            .inode = from->inode,
                                            .device = from->device,
                                            .fd = -1,
                                            .offset = from->place.offset};
        }
        uint64_t size = from->place.offset + from->place.size_bytes - to->offset;
        to->size_bytes = MAX(to->size_bytes, size);
        if (to->n_places < DISCOVERY_PLACES_MAX)
            to->places[to->n_places] = from->place;
        to->n_places++;
    }
    return 0;
}

int discover_memory(struct discovery *d, const struct discovery_world *world, struct mig_error *err)
{
    char path[600], what[64];
    struct mappings m = {0};
    snprintf(path, sizeof path, "%s/%" PRIu64 "/maps", world->proc, d->pid);
    FILE *f = fopen(path, "re");
    if (!f) {
        int e = errno;
        if (e == ENOENT || e == ESRCH)
            return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, ESRCH, "there is no process %" PRIu64 " here",
                                 d->pid);
        snprintf(what, sizeof what, "cannot read the memory map of process %" PRIu64, d->pid);
        return foreign_explain(d->pid, what, e, err);
    }
    _cleanup_free_ char *text = NULL;
    size_t room = 0;
    int r = 0;
    while (r == 0 && getline(&text, &room, f) > 0) {
        struct discovery_line line;
        if (!discovery_parse_line(text, &line) || !line.shared || !line.writable || !line.inode ||
            line.path[0] != '/' || is_device(line.path))
            continue;
        r = m.n >= MAPPINGS_MAX ? -E2BIG : add_mapping(&m, &line);
    }
    fclose(f);
    if (r == 0 && m.n)
        qsort(m.list, m.n, sizeof *m.list, by_file);
    if (r == 0)
        r = to_memory(d, &m);
    for (size_t i = 0; i < m.n; i++)
        free(m.list[i].path);
    free(m.list);
    if (r == -E2BIG)
        return mig_error_set(err, MIG_ERR_LIMIT, 0,
                             "process %" PRIu64 " has more than %u shared mappings of files", d->pid,
                             MAPPINGS_MAX);
    return r < 0 ? mig_error_oom(err) : 0;
}

/* ---- descriptors ---- */

static bool info_number(const char *text, const char *key, int base, uint64_t *ret)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':') {
            *ret = strtoull(line + n + 1, NULL, base);
            return true;
        }
    return false;
}

static struct discovery_memory *find_memory(struct discovery *d, uint64_t inode, const char *path)
{
    size_t low = 0, high = d->n_memory;
    while (inode && low < high) { /* the first with this inode */
        size_t middle = low + (high - low) / 2;
        if (d->memory[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < d->n_memory && (!inode || d->memory[low].inode == inode); low++)
        if (strcmp(d->memory[low].path, path) == 0 && (inode || d->memory[low].fd < 0))
            return &d->memory[low];
    return NULL;
}

void discover_memory_fd(struct discovery *d, const struct discovery_world *world, int fd, const char *link)
{
    char path[600], pid[24];
    uint64_t inode = 0, flags = 0;
    _cleanup_free_ char *info = NULL;
    snprintf(path, sizeof path, "%s/%" PRIu64 "/fdinfo/%d", world->proc, d->pid, fd);
    if (d->n_memory == 0 || read_file(path, SMALL_FILE_MAX, &info, NULL) < 0 ||
        !info_number(info, "flags", 8, &flags) || (flags & O_ACCMODE) != O_RDWR)
        return;
    (void)info_number(info, "ino", 10, &inode); /* not before Linux 5.14 */
    struct discovery_memory *m = find_memory(d, inode, link);
    if (!m || m->fd >= 0)
        return;
    snprintf(pid, sizeof pid, "%" PRIu64, d->pid);
    m->identity = foreign_identity(world->proc, pid, (uint64_t)fd);
    m->fd = m->identity ? fd : -1;
}

/* ---- proposals ---- */

int discovery_real_memory_file(const char *path, bool *ret_memory, uint64_t *ret_page_bytes)
{
    struct statfs fs;
    struct stat st;
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC); /* does not wait for anybody */
    if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return -errno;
    *ret_memory = S_ISREG(st.st_mode) &&
                  (fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    *ret_page_bytes = (uint64_t)fs.f_bsize;
    return 0;
}

/* What a file is when it cannot be looked at. */
static bool looks_like_memory(const char *path)
{
    static const char *const starts[] = {"/memfd:", "/dev/shm/",       "/dev/hugepages/",
                                         "/SYSV",   "/anon_hugepage ", "/dev/zero (deleted)"};
    for (size_t i = 0; i < ELEMENTS(starts); i++)
        if (strncmp(path, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

static int largest_first(const void *a, const void *b)
{
    const struct discovery_memory *x = a, *y = b;
    int c = compare(y->size_bytes, x->size_bytes);
    return c ? c : compare(x->inode, y->inode);
}

void discover_memory_proposals(struct discovery *d, const struct discovery_world *world)
{
    for (size_t i = 0; i < d->n_memory; i++) {
        struct discovery_memory *m = &d->memory[i];
        char path[600];
        bool memory = false;
        if (m->size_bytes < DISCOVERY_LARGE)
            continue;
        if (m->fd >= 0)
            snprintf(path, sizeof path, "%s/%" PRIu64 "/fd/%d", world->proc, d->pid, m->fd);
        else
            snprintf(path, sizeof path, "%s/%" PRIu64 "/map_files/%" PRIx64 "-%" PRIx64, world->proc, d->pid,
                     m->places[0].address, m->places[0].address + m->places[0].size_bytes);
        m->proposed =
            world->memory_file(path, &memory, &m->page_bytes) == 0 ? memory : looks_like_memory(m->path);
    }
    if (d->n_memory)
        qsort(d->memory, d->n_memory, sizeof *d->memory, largest_first);
}
