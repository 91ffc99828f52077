/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metrics/process.h"
#include "base/clock.h"
#include "base/util.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int count_entries(const char *path, uint64_t *ret)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    *ret = 0;
    for (struct dirent *e; (e = readdir(d));)
        *ret += e->d_name[0] != '.';
    closedir(d);
    (*ret)--; /* the one that was opened to count */
    return 0;
}

/* proc(5): resident and shared (of files and shared memory) are the second and third figure, in pages. */
static int read_memory(struct process_figures *f)
{
    unsigned long long resident, shared;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return -errno;
    int n = fscanf(file, "%*u %llu %llu", &resident, &shared);
    fclose(file);
    if (n != 2)
        return -EIO;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    f->resident_bytes = resident * page;
    f->shared_bytes = shared * page;
    return 0;
}

/* proc(5): the 22nd figure of stat is the start, in ticks since the boot. */
static int read_start(uint64_t *ret_usec)
{
    char text[1024];
    unsigned long long ticks;
    struct timespec boot, now;
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return -errno;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* the name before it may hold anything */
    for (int i = 2; p && i < 22; i++)
        p = strchr(p + 1, ' ');
    if (!p || sscanf(p, " %llu", &ticks) != 1)
        return -EIO;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t up_usec = (uint64_t)boot.tv_sec * USEC_PER_SEC + (uint64_t)boot.tv_nsec / 1000;
    uint64_t now_real_usec = (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
    *ret_usec = now_real_usec - up_usec + ticks * USEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
    return 0;
}

int process_look(struct process_figures *ret)
{
    struct rusage u;
    int r = getrusage(RUSAGE_SELF, &u) < 0 ? -errno : 0;
    if (r == 0)
        ret->cpu_usec = (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
                        (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    if (r == 0)
        r = read_memory(ret);
    if (r == 0)
        r = count_entries("/proc/self/fd", &ret->open_fds);
    return r == 0 ? read_start(&ret->started_usec) : r;
}
