/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop/fdstore.h"
#include "base/fds.h"
#include "base/log.h"
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>

#define LISTENERS_MAX 4u

/* An open file in the store. Its own descriptor here tells whether another one is the same file. */
struct file {
    char name[FDSTORE_NAME_MAX];
    int fd;
    unsigned uses;
};
struct use {
    char *owner, *part;
    struct file *file;
    bool kept;   /* by this process: it ends when a save does not name it; else only with its owner */
    bool marked; /* by the save that is going on */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool there;
    struct file **files;
    size_t nfiles;
    struct use *uses;
    size_t nuses;
    struct listener {
        char name[32];
        int fd;
    } listeners[LISTENERS_MAX];
    size_t nlisteners;
} store;

/* ---- the manager ---- */

/* FDPOLL=0: whether a file has ended is for migd to see, not for the manager to tidy up. */
static int tell_stored(const char *name, int fd)
{
    char text[FDSTORE_NAME_MAX + 40];
    snprintf(text, sizeof text, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    int r = sd_pid_notify_with_fds(0, false, text, &fd, 1);
    return r > 0 ? 0 : r < 0 ? r : -ENOTCONN;
}

static void tell_removed(const char *name)
{
    int r = sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    if (r < 0)
        log_warning("Cannot take %s out of the service manager's store: %s", name, strerror(-r));
}

/* ---- files ---- */

static struct file *find_file(const char *name)
{
    for (size_t i = 0; i < store.nfiles; i++)
        if (strcmp(store.files[i]->name, name) == 0)
            return store.files[i];
    return NULL;
}

static bool is_same_file(int a, int b)
{
    pid_t self = getpid();
    return syscall(SYS_kcmp, self, self, KCMP_FILE, (unsigned long)a, (unsigned long)b) == 0;
}

static struct file *find_same(int fd)
{
    for (size_t i = 0; i < store.nfiles; i++)
        if (is_same_file(store.files[i]->fd, fd))
            return store.files[i];
    return NULL;
}

/* Takes fd over. */
static struct file *add_file(const char *name, int fd)
{
    struct file *f = calloc(1, sizeof *f);
    struct file **files = f ? reallocarray(store.files, store.nfiles + 1, sizeof *files) : NULL;
    if (!files) {
        free(f);
        close(fd);
        return NULL;
    }
    store.files = files;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->fd = fd;
    files[store.nfiles++] = f;
    return f;
}

static void forget_file(struct file *f)
{
    for (size_t i = 0; i < store.nfiles; i++)
        if (store.files[i] == f)
            store.files[i] = store.files[--store.nfiles];
    close(f->fd);
    free(f);
}

static void release_file(struct file *f)
{
    if (--f->uses > 0)
        return;
    tell_removed(f->name);
    forget_file(f);
}

/* The manager lists names with colons between them. */
static void make_valid(char *name)
{
    for (; *name; name++)
        if (*name == ':' || (unsigned char)*name <= ' ' || (unsigned char)*name >= 127)
            *name = '=';
}

/* What a part's file is called, where no file of an ended use still has that name. */
static int choose_name(const char *owner, const char *part, char *name)
{
    for (unsigned n = 1; n < 1000; n++) {
        int length = n == 1 ? snprintf(name, FDSTORE_NAME_MAX, "%s/%s", owner, part)
                            : snprintf(name, FDSTORE_NAME_MAX, "%s/%s#%u", owner, part, n);
        if (length >= FDSTORE_NAME_MAX)
            return -ENAMETOOLONG;
        make_valid(name);
        if (!find_file(name))
            return 0;
    }
    return -EEXIST;
}

/* The same inode in an open file of its own: then the manager keeps it, although another part may have come
 * with the same open file. Only where a path leads to it. */
static int open_again(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return fd_dup(fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, (flags & O_ACCMODE) | O_CLOEXEC | O_NOCTTY);
    return again < 0 ? fd_dup(fd) : again;
}

static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int new_file(const char *owner, const char *part, int fd, struct file **ret)
{
    struct file *f = is_regular(fd) ? NULL : find_same(fd);
    if (f) {
        *ret = f;
        return 0;
    }
    char name[FDSTORE_NAME_MAX];
    int r = choose_name(owner, part, name);
    if (r < 0)
        return r;
    int copy = open_again(fd);
    if (copy < 0)
        return copy;
    f = add_file(name, copy);
    if (!f)
        return -ENOMEM;
    r = tell_stored(name, f->fd);
    if (r < 0) {
        forget_file(f);
        return r;
    }
    *ret = f;
    return 0;
}

/* ---- uses ---- */

static struct use *find_use(const char *owner, const char *part)
{
    for (size_t i = 0; i < store.nuses; i++)
        if (strcmp(store.uses[i].owner, owner) == 0 && strcmp(store.uses[i].part, part) == 0)
            return &store.uses[i];
    return NULL;
}

static int add_use(const char *owner, const char *part, struct file *f, struct use **ret)
{
    struct use *uses = reallocarray(store.uses, store.nuses + 1, sizeof *uses);
    if (!uses)
        return -ENOMEM;
    store.uses = uses;
    struct use *u = &uses[store.nuses];
    *u = (struct use){.owner = strdup(owner), .part = strdup(part), .file = f};
    if (!u->owner || !u->part) {
        free(u->owner);
        free(u->part);
        return -ENOMEM;
    }
    f->uses++;
    store.nuses++;
    *ret = u;
    return 0;
}

static void end_use(struct use *u)
{
    release_file(u->file);
    free(u->owner);
    free(u->part);
    *u = store.uses[--store.nuses];
}

/* Whether fd is what the use already has in the store: the same open file, or for files on disk and memfds,
 * which are opened again, the same inode. */
static bool is_stored(const struct use *u, int fd)
{
    struct stat a, b;
    if (is_same_file(u->file->fd, fd))
        return true;
    return is_regular(fd) && fstat(fd, &a) == 0 && fstat(u->file->fd, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int keep(const char *owner, const char *part, int fd, struct use **ret)
{
    struct use *u = find_use(owner, part);
    if (u && !is_stored(u, fd)) {
        end_use(u);
        u = NULL;
    }
    if (!u) {
        struct file *f;
        int r = new_file(owner, part, fd, &f);
        if (r < 0)
            return r;
        r = add_use(owner, part, f, &u);
        if (r < 0) {
            if (f->uses == 0) {
                tell_removed(f->name);
                forget_file(f);
            }
            return r;
        }
    }
    u->kept = u->marked = true;
    *ret = u;
    return 0;
}

void fdstore_begin(const char *owner)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < store.nuses; i++)
        if (strcmp(store.uses[i].owner, owner) == 0)
            store.uses[i].marked = false;
    pthread_mutex_unlock(&lock);
}

void fdstore_keep(const char *owner, const char *part, int fd, char ret_name[static FDSTORE_NAME_MAX])
{
    struct use *u;
    ret_name[0] = '\0';
    if (!store.there || fd < 0)
        return;
    pthread_mutex_lock(&lock);
    int r = keep(owner, part, fd, &u);
    if (r == 0)
        snprintf(ret_name, FDSTORE_NAME_MAX, "%s", u->file->name);
    pthread_mutex_unlock(&lock);
    if (r < 0)
        log_write(LOG_WARNING,
                  &(struct log_fields){.message = MESSAGE_DESCRIPTOR_NOT_KEPT, .error_number = -r},
                  "The service manager cannot keep %s of %s: %s; it would be lost with this process", part,
                  owner, strerror(-r));
}

static void end_uses(const char *owner, bool all)
{
    pthread_mutex_lock(&lock);
    for (size_t i = store.nuses; i-- > 0;) {
        struct use *u = &store.uses[i];
        if (strcmp(u->owner, owner) == 0 && (all || (u->kept && !u->marked)))
            end_use(u);
    }
    pthread_mutex_unlock(&lock);
}

void fdstore_end(const char *owner)
{
    end_uses(owner, false);
}

void fdstore_drop(const char *owner)
{
    end_uses(owner, true);
}

/* ---- from the process before ---- */

int fdstore_get(const char *owner, const char *part, const char *name, int *ret)
{
    int r = -ENOENT;
    pthread_mutex_lock(&lock);
    struct file *f = find_file(name);
    struct use *u = find_use(owner, part);
    if (f && u && u->file != f) {
        end_use(u);
        u = NULL;
    }
    if (f)
        r = u ? 0 : add_use(owner, part, f, &u);
    if (r == 0)
        r = fd_dup(f->fd);
    if (r >= 0)
        *ret = r;
    pthread_mutex_unlock(&lock);
    return r < 0 ? r : 0;
}

unsigned fdstore_close_unknown(void)
{
    unsigned closed = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = store.nfiles; i-- > 0;) {
        struct file *f = store.files[i];
        if (f->uses > 0)
            continue;
        log_write(
            LOG_WARNING, &(struct log_fields){.message = MESSAGE_DESCRIPTOR_UNKNOWN},
            "The service manager kept a descriptor %s, which belongs to nothing that migd knows: closed",
            f->name);
        tell_removed(f->name);
        forget_file(f);
        closed++;
    }
    for (size_t i = 0; i < store.nlisteners; i++) {
        if (store.listeners[i].fd < 0)
            continue;
        log_warning(
            "The service manager handed over a listening socket %s, for which migd has no use: closed; "
            "FileDescriptorName= of its unit must be peer or metrics",
            store.listeners[i].name);
        close_fd(&store.listeners[i].fd);
    }
    pthread_mutex_unlock(&lock);
    return closed;
}

/* Ours have an owner and a part; a socket unit's name has no slash. */
static bool is_ours(const char *name)
{
    return strchr(name, '/') && strlen(name) < FDSTORE_NAME_MAX;
}

static bool add_listener(const char *name, int fd)
{
    struct listener *l = &store.listeners[store.nlisteners];
    if (store.nlisteners == LISTENERS_MAX || sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
        (size_t)snprintf(l->name, sizeof l->name, "%s", name) >= sizeof l->name)
        return false;
    l->fd = fd;
    store.nlisteners++;
    return true;
}

int fdstore_take_listener(const char *name)
{
    for (size_t i = 0; i < store.nlisteners; i++)
        if (strcmp(store.listeners[i].name, name) == 0)
            return TAKE_FD(store.listeners[i].fd);
    return -1;
}

size_t fdstore_count(void)
{
    pthread_mutex_lock(&lock);
    size_t n = store.there ? store.nfiles : 0;
    pthread_mutex_unlock(&lock);
    return n;
}

/* One of the store under a name of ours. The manager removes by name, so a second file of that name takes the
 * first one along, which is stored again. */
static void take_stored(const char *name, int fd)
{
    const struct file *first = find_file(name);
    if (!first) {
        add_file(name, fd);
        return;
    }
    log_warning("The service manager kept two descriptors %s: the second one is closed", name);
    close(fd);
    tell_removed(name);
    int r = tell_stored(name, first->fd);
    if (r < 0)
        log_warning("The service manager cannot keep %s: %s; it would be lost with this process", name,
                    strerror(-r));
}

void fdstore_init(void)
{
    char **names = NULL;
    store.there = getenv("NOTIFY_SOCKET");
    int n = sd_listen_fds_with_names(true, &names);
    for (int i = 0; i < n; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (is_ours(names[i])) {
            take_stored(names[i], fd);
        } else if (!add_listener(names[i], fd)) {
            log_warning(
                "The service manager handed over a descriptor %s, which is no listening socket: closed",
                names[i]);
            close(fd);
            tell_removed(names[i]); /* of the store, if it came from there: else it is back at every start */
        }
        free(names[i]);
    }
    free(names);
}

void fdstore_done(void)
{
    while (store.nuses > 0) {
        struct use *u = &store.uses[--store.nuses];
        free(u->owner);
        free(u->part);
    }
    while (store.nfiles > 0)
        forget_file(store.files[store.nfiles - 1]);
    for (size_t i = 0; i < store.nlisteners; i++)
        close_fd(&store.listeners[i].fd);
    free(store.uses);
    free(store.files);
    memset(&store, 0, sizeof store);
}

bool fdstore_is_there(void)
{
    return store.there;
}
