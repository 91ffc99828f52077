/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/domain.h"
#include <string.h>

static const char *const state_words[] = {
#define X(symbol, word) [symbol] = word,
    MIGD_DOMAIN_STATE_TABLE(X)
#undef X
};

const char *domain_state_to_string(enum domain_state s)
{
    return s < DOMAIN_STATE_MAX ? state_words[s] : "unknown";
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int domain_part_name_check(const char *what, const char *name, struct mig_error *err)
{
    size_t n = strlen(name);
    bool good = n >= 1 && n <= DOMAIN_NAME_MAX && is_alnum(name[0]), part = strcmp(what, "domain") != 0;
    for (size_t i = 0; good && i < n; i++) /* a device may be named by its PCI address */
        good = is_alnum(name[i]) || strchr("._-", name[i]) || (part && name[i] == ':');
    if (good)
        return 0;
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.80s\" is not a name for a %s", name, what);
    mig_error_hint(err,
                   "1 to %d letters, digits, dots, underscores%s and dashes, the first a letter or a digit",
                   DOMAIN_NAME_MAX, part ? ", colons" : "");
    return r;
}

int domain_name_check(const char *name, struct mig_error *err)
{
    return domain_part_name_check("domain", name, err);
}
