/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same transfer as plain-transfer, by what migd uses: page_stream on one side, apply_run on the other.
 * With the environment TLS=FOLDER over TLS; with FRESH into memory that is not there yet, and with BESIDE=N
 * as many threads make it present beside those that receive; with PAGES=N that many are taken at once. The
 * time is that of round 0, from its call until every connection's fence has come.
 */
#include "bench.h"
#include "base/clock.h"
#include "incoming/apply.h"
#include "incoming/populate-beside.h"
#include "outgoing/page-stream.h"
#include "transport/tls.h"
#include <pthread.h>

static void check(int r, const struct mig_error *err)
{
    if (r < 0) {
        fprintf(stderr, "%s\n", err->message);
        exit(1);
    }
}

/* With TLS=FOLDER of certificates for 127.0.0.1: before the time is taken. */
static void secure(struct channel **c, bool server)
{
    const char *folder = getenv("TLS");
    struct tls_files files = {0};
    struct tls_credentials credentials;
    struct tls_verify v = {.host = server ? NULL : "127.0.0.1"};
    struct mig_error err = MIG_ERROR_INIT;
    if (!folder)
        return;
    snprintf(files.folder, sizeof files.folder, "%s", folder);
    check(tls_credentials_load(&credentials, &files, server, &err), &err);
    check(tls_handshake(c, credentials.context, server, &v, &err), &err);
    tls_credentials_clear(&credentials);
}

struct receiver {
    struct apply apply;
    struct apply_counters counters;
    struct receiver_link {
        struct receiver *all;
        unsigned index;
        struct channel *channel;
        pthread_t thread;
        double cpu;
    } links[BENCH_CONNECTIONS_MAX];
    pthread_barrier_t fences;
};

static void on_fence(void *userdata, unsigned connection, uint32_t round, uint64_t of)
{
    struct receiver *r = userdata;
    r->links[connection].cpu = bench_thread_cpu();
    (void)round;
    (void)of;
    pthread_barrier_wait(&r->fences);
}

static void *receive(void *p)
{
    struct receiver_link *l = p;
    struct frame_stream stream;
    struct mig_error err = MIG_ERROR_INIT;
    frame_stream_init(&stream, l->channel, false);
    stream.recv_sequence = 1;
    check(apply_run(&l->all->apply, l->index, &stream, &err), &err);
    return NULL;
}

static int receiver_main(struct bench_link *link, struct region *region)
{
    static struct receiver r;
    struct mig_error err = MIG_ERROR_INIT;
    r.apply = (struct apply){
        .regions = &region, .nregions = 1, .counters = &r.counters, .fence = on_fence, .userdata = &r};
    pthread_barrier_init(&r.fences, NULL, (unsigned)link->n + 1);
    if (!getenv("FRESH"))
        bench_check(madvise(region->map, region->size_bytes, MADV_POPULATE_WRITE) == 0, "populate");
    for (int i = 0; i < link->n; i++) {
        r.links[i] = (struct receiver_link){.all = &r, .index = (unsigned)i};
        check(channel_from_socket(&r.links[i].channel, link->data[i], "source", -1), &err);
        secure(&r.links[i].channel, true);
    }
    const char *beside = getenv("BESIDE");
    bench_check(!beside || populate_beside_new(&r.apply.beside, &region, 1, (unsigned)atoi(beside)) == 0,
                "populate-beside");
    bench_tell(link, 0);
    double cpu = bench_cpu();
    for (int i = 0; i < link->n; i++)
        bench_check(pthread_create(&r.links[i].thread, NULL, receive, &r.links[i]) == 0, "thread");
    pthread_barrier_wait(&r.fences);
    bench_tell(link, bench_cpu() - cpu);
    double receiving_cpu = 0;
    for (int i = 0; i < link->n; i++)
        receiving_cpu += r.links[i].cpu;
    bench_tell(link, receiving_cpu);
    for (int i = 0; i < link->n; i++)
        pthread_join(r.links[i].thread, NULL);
    bench_check(r.counters.normal_pages + r.counters.zero_pages == region->npages, "pages are missing");
    return 0;
}

static int sender_main(struct bench_link *link, struct region *region, pid_t child)
{
    struct channel *channels[BENCH_CONNECTIONS_MAX];
    struct page_stream *stream = NULL;
    struct page_stream_options options = {.cancel_fd = -1};
    struct page_round round;
    const char *pages = getenv("PAGES");
    options.batch_pages = pages ? (uint32_t)atoi(pages) : 0;
    struct mig_error err = MIG_ERROR_INIT;
    for (int i = 0; i < link->n; i++) {
        check(channel_from_socket(&channels[i], link->data[i], "destination", -1), &err);
        secure(&channels[i], false);
        channels[i]->local = !getenv("REMOTE");
    }
    check(page_stream_new(&stream, channels, (size_t)link->n, &region, 1, &options, &err), &err);
    bench_hear(link);
    double start = bench_now(), cpu = bench_cpu();
    check(page_stream_round(stream, 0, &round, &err), &err);
    cpu = bench_cpu() - cpu;
    double receiver_cpu = bench_hear(link), seconds = bench_now() - start;
    double receiving_cpu = bench_hear(link);
    page_stream_free(stream);
    for (int i = 0; i < link->n; i++)
        channel_free(channels[i]);
    return bench_report(region->size_bytes, seconds, cpu, receiver_cpu, receiving_cpu, child);
}

int main(int argc, char **argv)
{
    int connections, source, dest;
    struct bench_link link;
    pid_t child;
    struct region *region = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    bench_arguments(argc, argv, 1, &connections, &source, &dest);
    int sender = bench_split(&link, connections, &child);
    check(region_new_from_fd(&region, sender ? "source" : "destination", sender ? source : dest, 0, 0,
                             !sender, &err),
          &err);
    int r = sender ? sender_main(&link, region, child) : receiver_main(&link, region);
    region_unref(region);
    return r;
}
