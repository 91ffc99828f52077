/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl: the table of verbs, and what all of them share: options, help, version. */
#include "bus.h"
#include "output.h"
#include "suggest.h"
#include "verbs.h"
#include <string.h>

static const struct verb verbs[] = {
    {"devices", VERB_DEVICES, 0, 256, "[ADDRESS...]",
     "list this host's passthrough devices: can they migrate?",
     "Mediated devices, and PCI functions that are bound to VFIO, are virtual functions, or have a variant\n"
     "driver in this kernel. ADDRESS is that of a PCI function, or the UUID of a mediated device.",
     verb_devices},
    {"register", VERB_REGISTER, 1, 1, "NAME", "register a domain: its memory, devices, trackers, controller",
     "Options and the domain file may be used together; they add up. In KEYS, parts are separated by commas\n"
     "(,, stands for a comma), and iova= may be given several times.",
     verb_register, "it opens files and hands migd their descriptors, which ssh does not carry"},
    {"open", VERB_OPEN, 2, 2, "NAME ADDRESS", "have migd open a kernel VFIO device for a domain",
     "ADDRESS is that of a PCI function (0000:17:00.1), the UUID of a mediated device, or a path below "
     "/sys.\n"
     "The VMM asks for the descriptors over D-Bus (OpenDevice), and gets them again when it is started anew.",
     verb_open, "it is answered with descriptors, which ssh does not carry"},
    {"list", VERB_LIST, 0, 1, "[domains|migrations]", "list domains and migrations", NULL, verb_list},
    {"show", VERB_SHOW, 1, 1, "NAME|ID", "show everything about a domain or a migration", NULL, verb_show},
    {"check", VERB_CHECK, 1, 2, "NAME [DESTINATION]", "say what would be in the way of a migration",
     "Nothing is begun, but tracking is on for a moment. Without DESTINATION only this side is looked at. "
     "Takes "
     "the options that start would\nget. Exit code 1 when start would refuse.",
     verb_check},
    {"link-test", VERB_LINK_TEST, 1, 1, "HOST", "measure the link to another host's migd",
     "HOST is written as the DESTINATION of start. The link is full for some seconds; TotalBandwidth= of "
     "migd.conf\nholds. What is measured is what both hosts are configured for, TLS or plain.",
     verb_link_test},
    {"evacuate", VERB_EVACUATE, 1, 64, "HOST...", "move every running libvirt domain away from this host",
     "The smallest in memory goes first. Each HOST is tried in turn; a definition on disk moves with its "
     "domain. "
     "At the\nend it is said what stayed, and why; exit code 1 then.",
     verb_evacuate},
    {"start", VERB_START, 2, 2, "NAME DESTINATION", "migrate a domain and follow it until it ends",
     "DESTINATION is HOST[:PORT], [V6]:PORT or unix:PATH. A NAME that is not registered is looked for among "
     "libvirt's domains.\nCtrl-C ends the following, not the migration (exit "
     "code 130).",
     verb_start},
    {"monitor", VERB_MONITOR, 0, 1, "[NAME|ID]", "follow a migration that runs", NULL, verb_monitor},
    {"status", VERB_STATUS, 0, 1, "[NAME|ID]", "show how a migration stands", NULL, verb_status},
    {"set", VERB_SET, 2, 64, "NAME|ID KEY=VALUE...", "change the options of a running migration",
     "Keys: bandwidth, max-downtime, timeout, on-stall, gate, gate-resends, max-rounds, reconnect-timeout, "
     "blackout-limit; values as for migctl "
     "start.",
     verb_set},
    {"cancel", VERB_CANCEL, 1, 1, "NAME|ID", "cancel a migration; the workload goes on at the source", NULL,
     verb_cancel},
    {"resolve", VERB_RESOLVE, 1, 1, "NAME|ID", "decide a migration in doubt: --run or --drop", NULL,
     verb_resolve},
    {"release", VERB_RELEASE, 1, 1, "NAME", "give a domain's memory and devices back and forget it", NULL,
     verb_release},
    {"explain", VERB_EXPLAIN, 0, 1, "[CODE]", "tell the whole story of a finding; without a code, list all",
     "Works without migd.", verb_explain, "it tells what this migctl knows, and asks nobody"},
    {"libvirt", VERB_LIBVIRT, 1, 2, "WHAT [NAME]", "prepare libvirt for migd",
     "WHAT is one of\n"
     "  enable-hook   have libvirt tell migd what it does with its domains: one file is written\n"
     "  disable-hook  remove that file\n"
     "  prepare NAME  show what a domain's definition lacks for being moved by migd; --apply changes it",
     verb_libvirt, "it changes files of its own host"},
    {"config", VERB_CONFIG, 0, 1, "[KEY|SECTION]",
     "show the daemon's configuration and where each value comes from",
     "SIGHUP or systemctl reload migd makes the daemon read its files again.", verb_config},
};

static int help(const struct verb *verb)
{
    if (verb) {
        printf("migctl %s %s [OPTION...]\n\n%s.\n", verb->name, verb->synopsis, verb->summary);
        if (verb->details)
            printf("%s\n", verb->details);
        printf("\nOptions:\n");
        args_print_options(stdout, verb->bit);
        args_print_options(stdout, 0);
        return output_finish();
    }
    printf("migctl VERB [ARGUMENT...] [OPTION...]\n\nMigrates passthrough devices together with the memory "
           "that they DMA into.\n\nVerbs:\n");
    for (size_t i = 0; i < ELEMENTS(verbs); i++)
        printf("  %-9s %-20s %s\n", verbs[i].name, verbs[i].synopsis, verbs[i].summary);
    printf("\nOptions of every verb (migctl VERB --help shows the others):\n");
    args_print_options(stdout, 0);
    printf("\nExit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 cancelled,\n"
           "6 did not converge or timed out, 7 in doubt.\n");
    return output_finish();
}

static const struct verb *find_verb(const char *name, struct mig_error *err)
{
    for (size_t i = 0; i < ELEMENTS(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "there is no verb %.64s", name);
    const char *near = suggest_nearest(name, verbs, sizeof verbs[0], ELEMENTS(verbs));
    if (near)
        mig_error_hint(err, "Did you mean %s?", near);
    else
        mig_error_hint(err, "migctl --help lists the verbs");
    return NULL;
}

/* Before anything is done. */
static int check_host(const struct verb *verb, const char *host, struct mig_error *err)
{
    if (!host)
        return 0;
    if (!*host || host[0] == '-')
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.100s\" is not a host: --host [USER@]HOST",
                             host);
    if (!verb->only_here)
        return 0;
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s works on its own host only: %s", verb->name,
                          verb->only_here);
    mig_error_hint(err, "Run it there: ssh %.100s migctl %s ...", host, verb->name);
    return r;
}

static int check_arguments(const struct verb *verb, const struct args *args, struct mig_error *err)
{
    int r = args_check_verb(args, verb->bit, verb->name, err);
    if (r < 0)
        return r;
    if (args->n_positional >= verb->min_args && args->n_positional <= verb->max_args)
        return 0;
    r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: %s", verb->name,
                      args->n_positional < verb->min_args ? "something is missing"
                                                          : "there is an argument too many");
    mig_error_hint(err, "Usage: migctl %s %s [OPTION...]", verb->name, verb->synopsis);
    return r;
}

int main(int argc, char *argv[])
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_(args_done) struct args args = {0};
    int r = args_parse(&args, argc, argv, &err);
    arg_json = args_has(&args, OPT_JSON);
    if (r < 0)
        return output_error(&err);
    if (args_has(&args, OPT_VERSION)) {
        printf("migctl %s\n", PACKAGE_VERSION);
        return output_finish();
    }
    const struct verb *verb = args.verb ? find_verb(args.verb, &err) : NULL;
    if (args.verb && !verb)
        return output_error(&err);
    if (args_has(&args, OPT_HELP))
        return help(verb);
    if (!verb) {
        mig_error_set(&err, MIG_ERR_INVALID_ARGUMENT, 0, "say what to do: migctl VERB");
        mig_error_hint(&err, "migctl --help lists the verbs");
        return output_error(&err);
    }
    arg_host = args_value(&args, OPT_HOST);
    if (check_arguments(verb, &args, &err) < 0 || check_host(verb, arg_host, &err) < 0)
        return output_error(&err);
    return verb->run(&args);
}
