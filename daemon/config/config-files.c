/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the files of the configuration and reads them in their order. */
#include "config/config.h"
#include <dirent.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME    "migd.conf"
#define DROP_IN_DIR  "migd.conf.d"
#define DROP_INS_MAX 256u

/* One file that is being read. */
struct reading {
    struct config *c;
    const char *path;
    FILE *file;
    unsigned line;
    struct mig_error *err;
    struct mig_error local; /* where err is NULL */
};

static int handle(void *userdata, const char *section, const char *name, const char *value)
{
    struct reading *r = userdata;
    char origin[280];
    if (mig_error_is_set(r->err))
        return 0; /* the first one counts */
    snprintf(origin, sizeof origin, "%.260s:%u", r->path, r->line);
    return config_set(r->c, section, name, value ? value : "", origin, r->err) == 0; /* inih: 0 is failure */
}

/* inih's reader, which counts lines on the way. */
static char *next_line(char *buf, int size, void *userdata)
{
    struct reading *r = userdata;
    if (!fgets(buf, size, r->file))
        return NULL;
    r->line++;
    if (!strchr(buf, '\n') && !feof(r->file)) {
        mig_error_set(r->err, MIG_ERR_CONFIG, 0, "%s:%u: the line is too long", r->path, r->line);
        mig_error_hint(r->err, "expected at most %d bytes", INI_MAX_LINE);
        return NULL;
    }
    return buf;
}

static int read_one(struct config *c, const char *path, bool must_exist, struct mig_error *err)
{
    struct reading r = {.c = c, .path = path};
    r.err = err ? err : &r.local;
    r.file = fopen(path, "re");
    if (!r.file) {
        int e = errno;
        if (e == ENOENT && !must_exist)
            return 0;
        return mig_error_set(err, MIG_ERR_CONFIG, e, "cannot read %s: %s", path, strerror(e));
    }
    int bad_line = ini_parse_stream(next_line, &r, handle, &r);
    int read_error = ferror(r.file) ? EIO : 0;
    fclose(r.file);
    if (mig_error_is_set(r.err))
        return -r.err->err;
    if (read_error)
        return mig_error_set(err, MIG_ERR_CONFIG, read_error, "cannot read %s: %s", path,
                             strerror(read_error));
    if (bad_line != 0) {
        int e =
            mig_error_set(err, MIG_ERR_CONFIG, 0, "%s:%d: neither [Section] nor Key=value", path, bad_line);
        mig_error_hint(err, "comments begin with # or ;");
        return e;
    }
    return 0;
}

static int is_drop_in(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static bool exists_in(const char *dir, const char *name)
{
    char path[1024];
    return (size_t)snprintf(path, sizeof path, "%s/" DROP_IN_DIR "/%s", dir, name) < sizeof path &&
           access(path, F_OK) == 0;
}

struct drop_in {
    const char *dir;
    char name[256];
};

static int compare_drop_ins(const void *a, const void *b)
{
    return strcmp(((const struct drop_in *)a)->name, ((const struct drop_in *)b)->name);
}

/* Adds the drop-ins of one folder; those that `hidden_by` has too are left out. */
static void collect(struct drop_in *all, size_t *n, const char *dir, const char *hidden_by)
{
    char path[1024];
    if ((size_t)snprintf(path, sizeof path, "%s/" DROP_IN_DIR, dir) >= sizeof path)
        return;
    struct dirent **entries;
    int count = scandir(path, &entries, is_drop_in, NULL);
    for (int i = 0; i < count; i++) {
        if (*n < DROP_INS_MAX && !(hidden_by && exists_in(hidden_by, entries[i]->d_name))) {
            all[*n].dir = dir;
            snprintf(all[*n].name, sizeof all[*n].name, "%s", entries[i]->d_name);
            (*n)++;
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static int read_drop_ins(struct config *c, const char *lib_dir, const char *sysconf_dir,
                         struct mig_error *err)
{
    _cleanup_free_ struct drop_in *all = calloc(DROP_INS_MAX, sizeof *all);
    size_t n = 0;
    if (!all)
        return mig_error_oom(err);
    collect(all, &n, lib_dir, sysconf_dir);
    collect(all, &n, sysconf_dir, NULL);
    if (n == DROP_INS_MAX)
        return mig_error_set(err, MIG_ERR_CONFIG, 0, "more than %u files in " DROP_IN_DIR, DROP_INS_MAX - 1);
    qsort(all, n, sizeof *all, compare_drop_ins);
    for (size_t i = 0; i < n; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%.700s/" DROP_IN_DIR "/%s", all[i].dir, all[i].name);
        int r = read_one(c, path, false, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int config_load_from(struct config *c, const char *lib_dir, const char *sysconf_dir, struct mig_error *err)
{
    struct config next = *c;
    const char *const dirs[] = {lib_dir, sysconf_dir};
    for (size_t i = 0; i < ELEMENTS(dirs); i++) {
        char path[1024];
        if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, dirs[i]) >= sizeof path)
            return mig_error_set(err, MIG_ERR_CONFIG, ENAMETOOLONG,
                                 "the path of the configuration is too long");
        int r = read_one(&next, path, false, err);
        if (r < 0)
            return r;
    }
    int r = read_drop_ins(&next, lib_dir, sysconf_dir, err);
    if (r == 0)
        *c = next;
    return r;
}

int config_load(struct config *c, const char *file, struct mig_error *err)
{
    if (!file)
        return config_load_from(c, PKGLIBDIR, PKGSYSCONFDIR, err);
    struct config next = *c;
    int r = read_one(&next, file, true, err);
    if (r == 0)
        *c = next;
    return r;
}
