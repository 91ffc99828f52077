/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay as a program: relay LISTEN DESTINATION DAMAGE. Says "ready ADDRESS" when it listens, "damaged"
 * when it has done it, and runs until it is killed. */
#include "relay.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int find_damage(const char *word)
{
    for (int i = 0; i < RELAY_DAMAGE_MAX; i++)
        if (strcmp(relay_damage_words[i], word) == 0)
            return i;
    return -1;
}

int main(int argc, char *argv[])
{
    struct mig_error err = MIG_ERROR_INIT;
    struct relay *r;
    char *bound;
    int damage = argc == 4 ? find_damage(argv[3]) : -1;
    if (damage < 0) {
        fprintf(stderr, "Usage: relay LISTEN DESTINATION DAMAGE; it is one of");
        for (int i = 0; i < RELAY_DAMAGE_MAX; i++)
            fprintf(stderr, " %s", relay_damage_words[i]);
        fprintf(stderr, "\n");
        return 2;
    }
    if (relay_new(&r, argv[1], argv[2], (enum relay_damage)damage, 0, &bound, &err) < 0) {
        fprintf(stderr, "relay: %s\n", err.message);
        return 1;
    }
    printf("ready %s\n", bound);
    fflush(stdout);
    for (bool told = false;; usleep(20000))
        if (!told && relay_has_damaged(r)) {
            puts("damaged");
            fflush(stdout);
            told = true;
        }
}
