// SPDX-License-Identifier: LGPL-2.1-or-later
// The guest that proves its memory: PID 1 and the only program of a Linux guest without a root file system.
//
// It claims most of its RAM and writes a pattern into every page that follows from the page's number and a
// generation. Then it goes on for ever with two cursors: one walks through all pages and only checks them,
// the other one checks a page and rewrites it with the next generation. A page that is not what it was is
// counted, named and put right, so that each loss counts once. It also looks at its clocks between two slices
// of work and keeps the largest gap, which is how long the guest stood still as far as it can know (a clock
// that stands still with the guest shows nothing). Once per second it prints one line on the console:
//
//   guest: n=SECONDS pages=ALL checked=N written=N sweeps=N bad=N gap_us=LARGEST tsc_gap_us=LARGEST
//   last_gap_us=THIS-SECOND
//
// Words of the kernel command line: guest.fill=MIB (default: 70 % of what is free), guest.rate=PAGES
// rewritten per second (default 0; "max" for as many as it can), guest.check=PAGES checked per second
// (default: everything within two seconds), guest.pulse=MSEC writes a byte to the second serial line this
// often (default 0, none), so that somebody outside sees when the guest ran.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#define PAGE_BYTES 4096
#define PAGE_WORDS (PAGE_BYTES / 8)
#define SLICE_NSEC 1000000u

static uint64_t *memory;
static uint32_t *generations;
static uint64_t n_pages, n_checked, n_written, n_bad, n_sweeps;

static uint64_t now_nsec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t ticks(void)
{
#ifdef __x86_64__
    return __rdtsc();
#else
    return now_nsec();
#endif
}

static uint64_t seed(uint64_t page, uint32_t generation)
{
    uint64_t x = (page << 32 | generation) * 0x9e3779b97f4a7c15u;

    return x ^ x >> 29;
}

static void write_page(uint64_t page)
{
    uint64_t *words = memory + page * PAGE_WORDS, x = seed(page, generations[page]);

    for (unsigned i = 0; i < PAGE_WORDS; i++)
        words[i] = x + i * 0x2545f4914f6cdd1du;
}

static void check_page(uint64_t page)
{
    const uint64_t *words = memory + page * PAGE_WORDS;
    uint64_t x = seed(page, generations[page]), wrong = 0;

    n_checked++;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        wrong |= words[i] ^ (x + i * 0x2545f4914f6cdd1du);
    if (!wrong)
        return;
    if (n_bad++ < 16) {
        unsigned older = 0;

        for (uint32_t g = 1; g < 64 && g <= generations[page] && !older; g++)
            if (words[0] == seed(page, generations[page] - g))
                older = g;
        printf("guest: BAD page=%llu generation=%u %s=%u\n", (unsigned long long)page, generations[page],
               older ? "is-older-by" : "unknown", older);
    }
    write_page(page);
}

// The value of a word of the command line, or NULL.
static const char *word(char *line, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);

    for (char *at = line; (at = strstr(at, key)); at += length)
        if ((at == line || at[-1] == ' ') && at[length] == '=') {
            snprintf(value, size, "%.*s", (int)strcspn(at + length + 1, " \n"), at + length + 1);
            return value;
        }
    return NULL;
}

static uint64_t free_mib(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    unsigned long long kib = 0;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

static _Noreturn void give_up(const char *why)
{
    printf("guest: GIVES UP: %s\n", why);
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}

// How many of something are due after this time, at this rate per second.
static uint64_t due(uint64_t rate, uint64_t nsec)
{
    return (uint64_t)((double)rate * (double)nsec / 1e9);
}

int main(void)
{
    char line[2048] = "", value[64];
    uint64_t mib, rate = 0, check_rate, pulse_msec = 0, start, last, last_tick, second = 0, rewritten = 0,
                  checked = 0, writing = 0, checking = 0;
    uint64_t gap = 0, gap_ticks = 0, gap_now = 0, tick_rate, pulse_at = 0;
    int fd, pulse_fd = -1;

    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    fd = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int i = 0; fd >= 0 && i < 3; i++)
        dup2(fd, i);
    setvbuf(stdout, NULL, _IOLBF, 0);
    fd = open("/proc/cmdline", O_RDONLY);
    if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
        give_up("no /proc/cmdline");

    mib = word(line, "guest.fill", value, sizeof value) ? strtoull(value, NULL, 10) : free_mib() * 7 / 10;
    n_pages = mib * 256;
    if (word(line, "guest.rate", value, sizeof value))
        rate = !strcmp(value, "max") ? UINT64_MAX : strtoull(value, NULL, 10);
    check_rate = word(line, "guest.check", value, sizeof value) ? strtoull(value, NULL, 10) : n_pages / 2;
    if (word(line, "guest.pulse", value, sizeof value))
        pulse_msec = strtoull(value, NULL, 10);
    if (pulse_msec && (pulse_fd = open("/dev/ttyS1", O_WRONLY | O_NOCTTY | O_NONBLOCK)) < 0)
        give_up("guest.pulse without a second serial line");

    memory = mmap(NULL, n_pages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    generations =
        mmap(NULL, n_pages * sizeof *generations, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!n_pages || memory == MAP_FAILED || generations == MAP_FAILED)
        give_up("not so much memory");
    for (uint64_t p = 0; p < n_pages; p++)
        write_page(p);
    printf("guest: filled mib=%llu pages=%llu\n", (unsigned long long)mib, (unsigned long long)n_pages);

    start = last = now_nsec();
    last_tick = ticks();
    usleep(100000);
    tick_rate = (ticks() - last_tick) * 10; // per second
    last = now_nsec();
    last_tick = ticks();
    for (;;) {
        uint64_t now = now_nsec(), tick = ticks(), end, want;

        if (now - last > gap_now)
            gap_now = now - last;
        if (tick - last_tick > gap_ticks)
            gap_ticks = tick - last_tick;
        last = now;
        last_tick = tick;
        if (pulse_msec && now >= pulse_at) {
            (void)!write(pulse_fd, ".", 1);
            pulse_at = now + pulse_msec * 1000000u;
        }

        // A slow machine must not check so much that it writes nothing.
        end = now + (rate ? SLICE_NSEC / 2 : SLICE_NSEC);
        want = due(check_rate, now - start);
        // After a standstill nothing is made up for: what was missed would be one burst.
        if (want > checked + check_rate / 10)
            checked = want - check_rate / 10;
        for (; checked < want && now_nsec() < end; checked++) {
            check_page(checking);
            if (++checking == n_pages) {
                checking = 0;
                n_sweeps++;
            }
        }
        end = now_nsec() + SLICE_NSEC / 2;
        want = rate == UINT64_MAX ? UINT64_MAX : due(rate, now - start);
        if (rate != UINT64_MAX && want > rewritten + rate / 10)
            rewritten = want - rate / 10;
        for (; rewritten < want && now_nsec() < end; rewritten++) {
            check_page(writing);
            generations[writing]++;
            write_page(writing);
            n_written++;
            writing = (writing + 1) % n_pages;
        }

        if (now - start >= (second + 1) * 1000000000u) {
            second = (now - start) / 1000000000u;
            if (gap_now > gap)
                gap = gap_now;
            printf("guest: n=%llu pages=%llu checked=%llu written=%llu sweeps=%llu bad=%llu gap_us=%llu "
                   "tsc_gap_us=%llu last_gap_us=%llu\n",
                   (unsigned long long)second, (unsigned long long)n_pages, (unsigned long long)n_checked,
                   (unsigned long long)n_written, (unsigned long long)n_sweeps, (unsigned long long)n_bad,
                   (unsigned long long)gap / 1000,
                   (unsigned long long)(gap_ticks * 1000000.0 / (double)(tick_rate ? tick_rate : 1)),
                   (unsigned long long)gap_now / 1000);
            gap_now = 0;
            last = now_nsec(); // a slow serial line is no standstill
            last_tick = ticks();
        }
        if (rate != UINT64_MAX)
            usleep(1000);
    }
}
