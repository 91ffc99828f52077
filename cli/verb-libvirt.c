/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl libvirt: what prepares libvirt for migd, on this host. */
#include "libvirt-verbs.h"
#include "output.h"
#include "verbs.h"
#include <string.h>

static const struct {
    const char *word;
    int n_args; /* after the word */
    int (*run)(const struct args *args);
} words[] = {
    {"enable-hook", 0, libvirt_enable_hook},
    {"disable-hook", 0, libvirt_disable_hook},
    {"prepare", 1, libvirt_prepare},
};

int verb_libvirt(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    const char *word = args->positional[0];
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcmp(words[i].word, word) == 0) {
            if (args->n_positional - 1 == words[i].n_args)
                return words[i].run(args);
            mig_error_set(&err, MIG_ERR_INVALID_ARGUMENT, 0, "libvirt %s: %s", word,
                          args->n_positional - 1 < words[i].n_args ? "something is missing"
                                                                   : "there is an argument too many");
            mig_error_hint(&err, "migctl libvirt --help shows how it is used");
            return output_error(&err);
        }
    mig_error_set(&err, MIG_ERR_INVALID_ARGUMENT, 0, "libvirt: what is \"%.40s\"?", word);
    mig_error_hint(&err, "migctl libvirt --help lists what it can do");
    return output_error(&err);
}
