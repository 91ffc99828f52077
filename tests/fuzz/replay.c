/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a fuzz target without libFuzzer: every file of its corpus as it is, cut off at several places, and
 * with a few hundred small damages that are the same in every run. Usage: replay-TARGET [FILE...]; without
 * arguments the corpus of the source tree.
 */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX_BYTES (96u << 10)
#define DAMAGES        400

static uint64_t random_state = 0x2545f4914f6cdd1d;
static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void damage(uint8_t *data, size_t size)
{
    static const uint64_t edges[] = {
        0, 1, 15, 4095, 4096, 4097, 1u << 16, 1u << 22, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 63};
    size_t at =
        random_u64() % (random_u64() % 2 && size > 65 ? 65 : size); /* half of them in the first header */
    uint64_t edge = edges[random_u64() % (sizeof edges / sizeof *edges)];
    if (random_u64() % 2)
        data[at] ^= (uint8_t)(1u << random_u64() % 8);
    else
        memcpy(data + at, &edge, size - at < sizeof edge ? size - at : sizeof edge);
}

static int replay(const char *path)
{
    static uint8_t data[FILE_MAX_BYTES], copy[FILE_MAX_BYTES];
    FILE *f = fopen(path, "re");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    for (size_t cut = 0; cut < size; cut += 1 + cut / 4)
        LLVMFuzzerTestOneInput(data, cut);
    for (int i = 0; i < DAMAGES && size > 0; i++) {
        memcpy(copy, data, size);
        for (uint64_t n = 1 + random_u64() % 3; n > 0; n--)
            damage(copy, size);
        LLVMFuzzerTestOneInput(copy, size);
    }
    return 0;
}

int main(int argc, char **argv)
{
    alarm(600);
    if (argc > 1) {
        int r = 0;
        for (int i = 1; i < argc; i++)
            r |= replay(argv[i]);
        return r;
    }
    char path[4096];
    const char *top = getenv("TOP_SRCDIR");
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/" FUZZ_TARGET, top ? top : ".");
    DIR *d = opendir(path);
    if (!d) {
        perror(path);
        return 1;
    }
    int r = 0, files = 0;
    size_t n = strlen(path);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path + n, sizeof path - n, "/%s", e->d_name);
        r |= replay(path);
        files++;
    }
    closedir(d);
    printf("%d files\n", files);
    return r || files == 0;
}
