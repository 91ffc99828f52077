/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What migd itself needs on this host: records, descriptors, memory, a way to be asked; and the way to the
 * peer. */
#include "base/fds.h"
#include "base/format.h"
#include "check/check-private.h"
#include "transport/address.h"
#include "transport/security.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define CONNECTIONS_WHEN_CHOSEN 8u  /* at most */
#define OTHER_DESCRIPTORS       16u /* state and control connections, records, the VMM's state, ... */

static void check_address(struct check *c)
{
    const char *destination = c->request->destination;
    struct mig_error e = MIG_ERROR_INIT;
    struct address a;
    if (!*destination)
        return;
    if (address_parse(&a, destination, &e) < 0)
        TELL_ERROR(c, FINDING_DESTINATION_INVALID, destination, &e, "The destination");
    else if (!a.is_unix && !security_is_tls(c->request->security))
        TELL(c, FINDING_TRANSPORT_PLAIN, destination, NULL,
             "The connection to %s is neither encrypted nor authenticated", destination);
    else if (!a.is_unix && security_check(c->request->security, &e) < 0)
        TELL_ERROR(c, FINDING_TLS_CREDENTIALS, destination, &e, "TLS");
}

/* A file as small as a record, made and removed: as quick as what the main thread writes there anyhow. */
static int try_writing(const char *path_template)
{
    static const char block[4096];
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s", path_template) >= sizeof path)
        return -ENAMETOOLONG;
    _cleanup_close_ int fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    int r = write_full(fd, block, sizeof block);
    unlink(path);
    return r;
}

static void check_runtime_dir(struct check *c)
{
    char path[4096];
    int r = -ENAMETOOLONG;
    if ((size_t)snprintf(path, sizeof path, "%s/migrations/.check-XXXXXX", c->request->runtime_dir) <
        sizeof path)
        r = try_writing(path);
    if (r < 0)
        TELL(c, FINDING_RUNTIME_DIR, c->request->runtime_dir, NULL,
             "Cannot write records into %s/migrations: %s", c->request->runtime_dir, strerror(-r));
}

void check_host_facts(struct check *c)
{
    const struct migration_options *o = c->request->options;
    check_address(c);
    check_runtime_dir(c);
    if (!*c->request->listen_address)
        TELL(c, FINDING_LISTENER_OFF, "", NULL,
             "migd does not listen for peers here: a destination in doubt could not ask for the decision");
    if (o->gate == GATE_OFF && o->verify != VERIFY_STRICT)
        TELL(c, FINDING_GATE_OFF, "", NULL,
             "With the gate off, what a device writes after it was stopped is lost without a sign");
}

static size_t count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void check_descriptors(struct check *c)
{
    struct rlimit limit;
    unsigned wanted = c->request->options->connections;
    size_t needed = (wanted ? wanted : CONNECTIONS_WHEN_CHOSEN) + OTHER_DESCRIPTORS,
           used = count_descriptors();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        used + needed > limit.rlim_cur)
        TELL(c, FINDING_MIGD_DESCRIPTORS, "", NULL,
             "This migration may need %zu descriptors, which migd has not left of its %llu", needed,
             (unsigned long long)limit.rlim_cur);
}

static uint64_t available_bytes(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib ? (uint64_t)kib << 10 : UINT64_MAX;
}

static void check_own_memory(struct check *c)
{
    uint64_t bytes = 0;
    bool digests = c->request->options->verify != VERIFY_OFF;
    for (size_t i = 0; i < c->nmemory; i++) {
        bytes += c->memory[i].region->npages * sizeof(uint64_t);
        digests |= c->unknown[i];
    }
    uint64_t available = digests ? available_bytes() : UINT64_MAX;
    if (bytes > available)
        TELL(c, FINDING_HOST_MEMORY_SHORT, "", NULL,
             "Digests of all pages take %s of migd's memory, and %s are free here", FORMAT_BYTES(bytes),
             FORMAT_BYTES(available));
}

void check_host_asks(struct check *c)
{
    check_descriptors(c);
    check_own_memory(c);
}
