/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpus.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define TICK_NSEC 1000000ll
#define BATCH_MAX 4096u

static int64_t now_nsec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void write_page(struct cpu *cpu)
{
    struct cpus *c = cpu->cpus;
    uint64_t page = random_step(&cpu->random) % c->span_pages;
    struct cpu_record record;
    struct cpu_journal_header *h = c->journal->header;

    cpu_record_fill(&record, cpu->index, cpu->next, page);
    if (h)
        __atomic_store_n(&h->thread[cpu->index].started, cpu->next, __ATOMIC_RELEASE);
    memcpy(c->memory->base + cpu_record_offset(page, cpu->index), &record, sizeof record);
    cpu_log_mark(c->log, page);
    if (h) {
        __atomic_store_n(cpu_journal_entry(c->journal, cpu->index, page), cpu->next, __ATOMIC_RELEASE);
        __atomic_store_n(&h->thread[cpu->index].done, cpu->next, __ATOMIC_RELEASE);
    }
    cpu->next++;
    cpu->writes++;
}

static void *cpu_main(void *userdata)
{
    struct cpu *cpu = userdata;
    struct cpus *c = cpu->cpus;
    int64_t last = now_nsec();
    double owed = 0;

    pthread_mutex_lock(&c->lock);
    for (;;) {
        if (!c->run && !c->quit) {
            c->standing++;
            pthread_cond_signal(&c->stood);
            while (!c->run && !c->quit)
                pthread_cond_wait(&c->go, &c->lock);
            c->standing--;
            last = now_nsec();
            owed = 0;
        }
        if (c->quit)
            break;
        pthread_mutex_unlock(&c->lock);

        int64_t now = now_nsec();
        owed += (double)c->rate / c->count * (double)(now - last) / 1e9;
        last = now;
        if (owed > BATCH_MAX) /* never more than a moment's work between two looks at `run` */
            owed = BATCH_MAX;
        for (; owed >= 1; owed--)
            write_page(cpu);

        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NSEC;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_mutex_lock(&c->lock);
        if (c->run && !c->quit)
            pthread_cond_timedwait(&c->go, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void cpus_init(struct cpus *c, uint64_t seed)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->go, &attr);
    pthread_cond_init(&c->stood, &attr);
    pthread_condattr_destroy(&attr);
    for (unsigned i = 0; i < c->count; i++)
        c->cpu[i] = (struct cpu){.cpus = c, .index = i, .next = 1, .random = seed + i * 7919};
}

int cpus_resume(struct cpus *c)
{
    pthread_mutex_lock(&c->lock);
    c->run = true;
    if (c->journal->header)
        for (unsigned i = 0; i < c->count; i++)
            if (!c->journal->header->thread[i].first)
                c->journal->header->thread[i].first = c->cpu[i].next;
    int r = 0;
    for (unsigned i = 0; !c->started && i < c->count && r == 0; i++)
        r = -pthread_create(&c->cpu[i].thread, NULL, cpu_main, &c->cpu[i]);
    if (r == 0)
        c->started = true;
    pthread_cond_broadcast(&c->go);
    pthread_mutex_unlock(&c->lock);
    return r;
}

void cpus_pause(struct cpus *c)
{
    pthread_mutex_lock(&c->lock);
    c->run = false;
    pthread_cond_broadcast(&c->go);
    while (c->started && c->standing < c->count)
        pthread_cond_wait(&c->stood, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

bool cpus_running(const struct cpus *c)
{
    return c->run;
}

uint64_t cpus_writes(const struct cpus *c)
{
    uint64_t writes = 0;
    for (unsigned i = 0; i < c->count; i++)
        writes += c->cpu[i].writes;
    return writes;
}

void cpus_save(const struct cpus *c, struct cpus_state *s)
{
    *s = (struct cpus_state){
        .magic = CPUS_STATE_MAGIC,
        .memory_bytes = c->memory->size,
        .total_writes = cpus_writes(c),
        .count = c->count,
    };
    for (unsigned i = 0; i < c->count; i++) {
        s->cpu[i].next = c->cpu[i].next;
        s->cpu[i].random = c->cpu[i].random;
        s->cpu[i].writes = c->cpu[i].writes;
    }
}

int cpus_load(struct cpus *c, const struct cpus_state *s)
{
    if (s->magic != CPUS_STATE_MAGIC || s->count != c->count || s->memory_bytes != c->memory->size)
        return -EINVAL;
    cpu_journal_restart(c->journal);
    for (unsigned i = 0; i < c->count; i++) {
        c->cpu[i].next = s->cpu[i].next;
        c->cpu[i].random = s->cpu[i].random;
        c->cpu[i].writes = s->cpu[i].writes;
    }
    return 0;
}

void cpus_quit(struct cpus *c)
{
    pthread_mutex_lock(&c->lock);
    c->quit = true;
    c->run = false;
    pthread_cond_broadcast(&c->go);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; c->started && i < c->count; i++)
        pthread_join(c->cpu[i].thread, NULL);
    c->started = false;
}
