/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records whole migrations of the migd that it is linked with, frame by frame, for tests of later versions
 * (README.md). Both sides are those of tests/fake/two-sides, in this process; between them stands a relay, to
 * which connect() of the source is led. It uses nothing that the first version did not have.
 *
 * recorder FOLDER writes FOLDER/NAME for each migration in the table below.
 */
#include "../fake/two-sides.h"
#include "migd-wire.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct {
    const char *name;
    enum verify_mode verify;
    bool checksum;
} migrations[] = {{"plain", VERIFY_OFF, false}, {"verified", VERIFY_STRICT, true}};

struct line { /* one direction of one connection */
    int from, to;
    uint8_t number, back;
};

static struct {
    FILE *file;
    pthread_mutex_t lock;
    char dir[64];
    int listen_fd;
    uint8_t lines;
} relay = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local bool relaying;

/* Where the destination listens is where the source goes, and where it finds the relay. */
int connect(int fd, const struct sockaddr *to, socklen_t size)
{
    int (*real)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    struct sockaddr_un at;
    size_t n = size > sizeof(sa_family_t) ? size - sizeof(sa_family_t) : 0;
    memset(&at, 0, sizeof at);
    memcpy(&at, to, size < sizeof at ? size : sizeof at);
    n = strnlen(at.sun_path, n);
    if (relaying || to->sa_family != AF_UNIX || n < 5 || strncmp(at.sun_path + n - 5, "/peer", 5) != 0)
        return real(fd, to, size);
    snprintf(at.sun_path, sizeof at.sun_path, "%s/relay", relay.dir);
    return real(fd, (struct sockaddr *)&at, sizeof at);
}

static bool take(int fd, uint8_t *at, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = recv(fd, at + done, size - done, 0);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* Written before it goes on: what a frame brings about stands behind it in the file. */
static void keep(const struct line *l, const uint8_t *frame, size_t size)
{
    const uint8_t head[2] = {l->number, l->back};
    pthread_mutex_lock(&relay.lock);
    if (fwrite(head, 1, sizeof head, relay.file) != sizeof head || fwrite(frame, 1, size, relay.file) != size)
        abort();
    pthread_mutex_unlock(&relay.lock);
}

static void *run_line(void *userdata)
{
    struct line *l = userdata;
    uint8_t *frame = malloc(sizeof(struct wire_header) + WIRE_PAYLOAD_MAX_BYTES);
    struct wire_header h;
    relaying = true;
    while (frame && take(l->from, frame, sizeof h)) {
        memcpy(&h, frame, sizeof h);
        if (h.length > WIRE_PAYLOAD_MAX_BYTES || !take(l->from, frame + sizeof h, h.length))
            break;
        keep(l, frame, sizeof h + h.length);
        if (send(l->to, frame, sizeof h + h.length, MSG_NOSIGNAL) < 0)
            break;
    }
    shutdown(l->to, SHUT_WR);
    free(frame);
    free(l);
    return NULL;
}

static void start_line(int from, int to, uint8_t number, uint8_t back)
{
    struct line *l = malloc(sizeof *l);
    pthread_t thread;
    if (!l)
        abort();
    *l = (struct line){from, to, number, back};
    if (pthread_create(&thread, NULL, run_line, l) != 0)
        abort();
    pthread_detach(thread);
}

static struct sockaddr_un place(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/%s", relay.dir, name);
    return at;
}

static void *run_relay(void *userdata)
{
    struct sockaddr_un peer = place("peer");
    relaying = true;
    for (int in; (in = accept(relay.listen_fd, NULL, NULL)) >= 0;) {
        int out = socket(AF_UNIX, SOCK_STREAM, 0);
        if (out < 0 || connect(out, (struct sockaddr *)&peer, sizeof peer) < 0)
            abort();
        start_line(in, out, relay.lines, 0);
        start_line(out, in, relay.lines++, 1);
    }
    return NULL;
}

/* A little memory with something in it: the recordings are to be small. */
static void fill(struct region *r)
{
    memset(r->map, 0, MEMORY_BYTES);
    for (size_t page = 0; page < 40; page += page % 5 == 3 ? 2 : 1)
        memset(r->map + page * REGION_PAGE_SIZE, (int)page + 1, REGION_PAGE_SIZE);
}

static int record(size_t which, const char *folder)
{
    struct scene s;
    struct migration_options o;
    char path[4096];
    pthread_t thread;
    make_scene(&s, 1);
    fill(s.source.region);
    snprintf(relay.dir, sizeof relay.dir, "%s", s.dir);
    snprintf(path, sizeof path, "%s/%s", folder, migrations[which].name);
    relay.file = fopen(path, "we");
    relay.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    relay.lines = 0;
    struct sockaddr_un at = place("relay");
    if (!relay.file || bind(relay.listen_fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(relay.listen_fd, 8) < 0 || pthread_create(&thread, NULL, run_relay, NULL) != 0)
        abort();
    migration_options_init(&o);
    o.connections = 1;
    o.max_downtime_usec = 5000000;
    o.verify = migrations[which].verify;
    o.checksum = migrations[which].checksum;
    int r = run_scene(&s, &o, NULL);
    bool moved = r == 0 && !s.late && side_runs_whole(&s.destination, 1) && !side_runs(&s.source, 1);
    usleep(200000); /* the last frames are on their way through the relay */
    shutdown(relay.listen_fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(relay.listen_fd);
    pthread_mutex_lock(&relay.lock);
    fclose(relay.file);
    pthread_mutex_unlock(&relay.lock);
    end_scene(&s);
    printf("%s: %s, %u connections\n", migrations[which].name, moved ? "recorded" : "it did not move",
           relay.lines);
    return moved ? 0 : 1;
}

int main(int argc, char **argv)
{
    int r = argc == 2 ? 0 : 2;
    for (size_t i = 0; i < sizeof migrations / sizeof *migrations && r == 0; i++)
        r = record(i, argv[1]);
    return r;
}
