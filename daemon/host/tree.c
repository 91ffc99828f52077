/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/tree.h"
#include "base/fds.h"
#include "base/printable.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int make_path(char path[static PATH_MAX], const struct host_tree *t, const char *format, va_list ap)
{
    size_t n = strlen(t->root);
    if (n >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, t->root, n);
    int r = vsnprintf(path + n, PATH_MAX - n, format, ap);
    return r < 0 || (size_t)r >= PATH_MAX - n ? -ENAMETOOLONG : 0;
}

#define PATH_FROM_ARGUMENTS(t, format)                                                                       \
    char path[PATH_MAX];                                                                                     \
    va_list ap;                                                                                              \
    va_start(ap, format);                                                                                    \
    int r = make_path(path, t, format, ap);                                                                  \
    va_end(ap)

static int read_line(const char *path, char *ret, size_t size)
{
    char text[4096];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, MIN(size, sizeof text) - 1);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    snprintf(ret, size, "%s", make_printable(text));
    return 0;
}

int tree_read(const struct host_tree *t, char *ret, size_t size, const char *format, ...)
{
    PATH_FROM_ARGUMENTS(t, format);
    return r < 0 ? r : read_line(path, ret, size);
}

int tree_read_number(const struct host_tree *t, int64_t *ret, const char *format, ...)
{
    char text[32], *end;
    PATH_FROM_ARGUMENTS(t, format);
    if (r == 0)
        r = read_line(path, text, sizeof text);
    if (r < 0)
        return r;
    errno = 0;
    long long value = strtoll(text, &end, 0);
    if (errno || end == text || *end)
        return -EINVAL;
    *ret = value;
    return 0;
}

int tree_read_whole(const struct host_tree *t, size_t max_bytes, char **ret, size_t *ret_bytes,
                    const char *format, ...)
{
    PATH_FROM_ARGUMENTS(t, format);
    return r < 0 ? r : read_file(path, max_bytes, ret, ret_bytes);
}

static int read_link(const char *path, char *ret, size_t size)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    if ((size_t)n >= size)
        return -ENAMETOOLONG;
    strcpy(ret, make_printable(target));
    return 0;
}

int tree_read_link(const struct host_tree *t, char *ret, size_t size, const char *format, ...)
{
    PATH_FROM_ARGUMENTS(t, format);
    return r < 0 ? r : read_link(path, ret, size);
}

int tree_link_name(const struct host_tree *t, char *ret, size_t size, const char *format, ...)
{
    char target[PATH_MAX];
    PATH_FROM_ARGUMENTS(t, format);
    if (r == 0)
        r = read_link(path, target, sizeof target);
    if (r < 0)
        return r;
    const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
    if (strlen(name) >= size)
        return -ENAMETOOLONG;
    strcpy(ret, name);
    return 0;
}

bool tree_has(const struct host_tree *t, const char *format, ...)
{
    PATH_FROM_ARGUMENTS(t, format);
    return r == 0 && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int tree_open(const struct host_tree *t, int flags, const char *format, ...)
{
    PATH_FROM_ARGUMENTS(t, format);
    if (r < 0)
        return r;
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct tree_names *n, const char *name)
{
    if (n->count >= TREE_NAMES_MAX)
        return -E2BIG;
    if ((n->count & (n->count - 1)) == 0) { /* room for a power of two each time it is full */
        char **names = reallocarray(n->names, n->count ? n->count * 2 : 1, sizeof *names);
        if (!names)
            return -ENOMEM;
        n->names = names;
    }
    n->names[n->count] = strdup(name);
    if (!n->names[n->count])
        return -ENOMEM;
    n->count++;
    return 0;
}

int tree_list(const struct host_tree *t, struct tree_names *ret, const char *format, ...)
{
    PATH_FROM_ARGUMENTS(t, format);
    if (r < 0)
        return r;
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    struct tree_names n = {0};
    struct dirent *e;
    while (r == 0 && (errno = 0, e = readdir(d)))
        if (e->d_name[0] != '.')
            r = add_name(&n, e->d_name);
    if (r == 0 && errno)
        r = -errno;
    closedir(d);
    if (r < 0) {
        tree_names_free(&n);
        return r;
    }
    if (n.count)
        qsort(n.names, n.count, sizeof *n.names, by_name);
    *ret = n;
    return 0;
}

void tree_names_free(struct tree_names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->names[i]);
    free(n->names);
    *n = (struct tree_names){0};
}
