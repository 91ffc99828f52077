/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that proves its own memory: no operating system, one CPU, a PC that QEMU starts by -kernel
 * (multiboot). It claims all memory above 4 MiB, writes patterns, checks each page whole before it writes it
 * anew, and says on the first serial port how far it is: one line "count=N pages=N bad=N" now and then.
 *
 * What must be in a page follows from its number and from a sequence number that stands both in the page and
 * in a table elsewhere: a page that was lost, is old, or lies at the wrong place is found at its next turn.
 */
#include <stdint.h>

#define PAGE       4096u
#define WORDS      (PAGE / 4)
#define BASE       0x400000u
#define TABLE_BASE 0x200000u /* one word per page: 2 MiB are enough for 2 GiB */
#define REPORT     512u      /* pages between two lines */
#define PAUSE      60000u    /* turns of an empty loop after each page */

__attribute__((section(".multiboot"), used)) static const uint32_t header[] = {0x1badb002, 2,
                                                                               -(0x1badb002 + 2)};
__attribute__((used)) static uint8_t stack[16384];

struct info { /* of the loader */
    uint32_t flags, lower_kib, upper_kib;
};

static void out(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(const char *text)
{
    for (; *text; text++) {
        while (!(in(0x3fd) & 0x20))
            ;
        out(0x3f8, (uint8_t)*text);
    }
}

static void put_number(const char *name, uint32_t value)
{
    char digits[12], *at = digits + 11;
    *at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put(name);
    put(at);
}

static uint32_t word_of(uint32_t page, uint32_t sequence, uint32_t i)
{
    uint32_t x = page * 2654435761u ^ sequence * 2246822519u ^ i * 3266489917u;
    return x ^ x >> 15;
}

static int is_right(uint32_t page, uint32_t sequence)
{
    const volatile uint32_t *at = (const volatile uint32_t *)(BASE + page * PAGE);
    for (uint32_t i = 0; i < WORDS; i++)
        if (at[i] != word_of(page, sequence, i))
            return 0;
    return 1;
}

static void write_page(uint32_t page, uint32_t sequence)
{
    volatile uint32_t *at = (volatile uint32_t *)(BASE + page * PAGE);
    for (uint32_t i = 0; i < WORDS; i++)
        at[i] = word_of(page, sequence, i);
    ((volatile uint32_t *)TABLE_BASE)[page] = sequence;
}

__attribute__((used)) static void guest(uint32_t magic, const struct info *info)
{
    uint32_t pages = ((info->upper_kib << 10) + 0x100000u - BASE) / PAGE, count = 0, bad = 0, random = 1;
    out(0x3f9, 0);
    for (uint32_t page = 0; page < pages; page++)
        write_page(page, 0);
    put_number("guest: ", pages);
    put(" pages\n");
    for (;;) {
        random = random * 1664525u + 1013904223u;
        uint32_t page = (uint32_t)((uint64_t)random * pages >> 32);
        uint32_t sequence = ((volatile uint32_t *)TABLE_BASE)[page];
        bad += !is_right(page, sequence);
        write_page(page, sequence + 1);
        for (volatile uint32_t i = 0; i < PAUSE; i++)
            ;
        if (++count % REPORT == 0) {
            put_number("count=", count);
            put_number(" pages=", pages);
            put_number(" bad=", bad);
            put("\n");
        }
    }
}

__asm__(".globl _start\n_start: mov $stack + 16384, %esp\n push %ebx\n push %eax\n call guest\n");
