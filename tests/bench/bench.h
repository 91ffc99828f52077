/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the transfer benches share: two processes, a sender and a receiver, over loopback TCP, and the line of
 * JSON in which they report. It is written without migd's code, so that the plain programs stay independent
 * of what they are compared with.
 */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BENCH_CONNECTIONS_MAX 16

static inline void bench_check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static inline double bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline double bench_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static inline double bench_thread_cpu(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline uint64_t bench_size(int fd)
{
    struct stat st;
    bench_check(fstat(fd, &st) == 0, "fstat");
    return (uint64_t)st.st_size;
}

/* A whole file, with its page tables filled when asked for. */
static inline uint8_t *bench_map(int fd, int populate)
{
    uint8_t *p =
        mmap(NULL, bench_size(fd), PROT_READ | PROT_WRITE, MAP_SHARED | (populate ? MAP_POPULATE : 0), fd, 0);
    bench_check(p != MAP_FAILED, "mmap");
    return p;
}

struct bench_link {
    int control; /* socketpair between the two */
    int n;
    int data[BENCH_CONNECTIONS_MAX];
};

static inline void bench_tell(const struct bench_link *l, double value)
{
    bench_check(write(l->control, &value, sizeof value) == sizeof value, "control");
}

static inline double bench_hear(const struct bench_link *l)
{
    double value;
    bench_check(read(l->control, &value, sizeof value) == sizeof value, "control: the other process ended");
    return value;
}

/* Makes the receiver process. With the environment BUFFER=BYTES the sockets' buffers have that size, else the
 * kernel sizes them as they are used. Returns 1 in the sender, 0 in the receiver, connected. */
static inline int bench_split(struct bench_link *l, int n, pid_t *ret_child)
{
    int pair[2], on = 1, buffer = getenv("BUFFER") ? atoi(getenv("BUFFER")) : 0;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof sin;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench_check(listener >= 0 && bind(listener, (struct sockaddr *)&sin, size) == 0 &&
                    listen(listener, 64) == 0,
                "listen");
    bench_check(getsockname(listener, (struct sockaddr *)&sin, &size) == 0, "getsockname");
    bench_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    l->n = n;
    *ret_child = fork();
    bench_check(*ret_child >= 0, "fork");
    int sender = *ret_child > 0;
    l->control = pair[sender];
    close(pair[!sender]);
    for (int i = 0; i < n; i++) {
        if (sender) {
            l->data[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            bench_check(connect(l->data[i], (struct sockaddr *)&sin, sizeof sin) == 0, "connect");
        } else {
            l->data[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        }
        bench_check(l->data[i] >= 0, "socket");
        setsockopt(l->data[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (buffer) {
            bench_check(setsockopt(l->data[i], SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) == 0 &&
                            setsockopt(l->data[i], SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) == 0,
                        "socket buffer");
        }
    }
    close(listener);
    return sender;
}

/* receiving_cpu: of those threads of the receiver that receive. */
static inline int bench_report(uint64_t bytes, double seconds, double sender_cpu, double receiver_cpu,
                               double receiving_cpu, pid_t child)
{
    int status = 0;
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"sender_cpu\": %.6f, \"receiver_cpu\": %.6f, "
           "\"receiving_cpu\": %.6f}\n",
           (unsigned long long)bytes, seconds, sender_cpu, receiver_cpu, receiving_cpu);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static inline void bench_arguments(int argc, char **argv, int first, int *connections, int *source, int *dest)
{
    if (argc != first + 3) {
        fprintf(stderr, "usage: %s %sCONNECTIONS SOURCE-FD DESTINATION-FD\n", argv[0],
                first > 1 ? "sendfile|write|sendfile-fresh " : "");
        exit(2);
    }
    *connections = atoi(argv[first]);
    *source = atoi(argv[first + 1]);
    *dest = atoi(argv[first + 2]);
    if (*connections < 1 || *connections > BENCH_CONNECTIONS_MAX ||
        bench_size(*source) != bench_size(*dest)) {
        fprintf(stderr, "%s: 1 to %d connections, files of one size\n", argv[0], BENCH_CONNECTIONS_MAX);
        exit(2);
    }
}
