/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options and configuration; everything else is in service.c. */
#include "base/log.h"
#include "config/config.h"
#include "libvirt/hook.h"
#include "migd-bus.h"
#include "migration/configured.h"
#include "service.h"
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *arg_config, *arg_listen, *arg_security, *arg_runtime_dir, *arg_log_level;
static bool arg_print_config;

static void print_help(void)
{
    printf(
        "migd [OPTION...]\n\n"
        "Live-migrates passthrough devices together with the memory that they DMA into.\n\n"
        "  -h --help              Show this help\n"
        "     --version           Show the version\n"
        "     --config FILE       Read this configuration and no other\n"
        "     --listen ADDRESS    Where peers reach it: host[:port], [v6]:port, unix:PATH; \"\" for nowhere\n"
        "     --security MODE     Between hosts: tls (certificates of both sides, the default) or plain\n"
        "     --runtime-dir DIR   Saved domains and records of migrations\n"
        "     --log-level LEVEL   emerg, alert, crit, err, warning, notice, info, debug or 0 to 7\n"
        "     --print-config      Check the configuration, show each key and where it comes from, and end\n\n"
        "Environment: " MIGD_ENV_BUS_ADDRESS " names a bus other than the system bus.\n");
}

/* 0: go on; else exit with *ret_code. */
static int parse_options(int argc, char **argv, int *ret_code)
{
    enum {
        OPT_VERSION = 256,
        OPT_CONFIG,
        OPT_LISTEN,
        OPT_SECURITY,
        OPT_RUNTIME_DIR,
        OPT_LOG_LEVEL,
        OPT_PRINT_CONFIG
    };
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPT_VERSION},
        {"config", required_argument, NULL, OPT_CONFIG},
        {"listen", required_argument, NULL, OPT_LISTEN},
        {"security", required_argument, NULL, OPT_SECURITY},
        {"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
        {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
        {"print-config", no_argument, NULL, OPT_PRINT_CONFIG},
        {NULL, 0, NULL, 0},
    };
    *ret_code = EXIT_SUCCESS;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) >= 0;)
        switch (c) {
        case 'h':
            print_help();
            return 1;
        case OPT_VERSION:
            printf("migd %s\n", PACKAGE_VERSION);
            return 1;
        case OPT_CONFIG:
            arg_config = optarg;
            break;
        case OPT_LISTEN:
            arg_listen = optarg;
            break;
        case OPT_SECURITY:
            arg_security = optarg;
            break;
        case OPT_RUNTIME_DIR:
            arg_runtime_dir = optarg;
            break;
        case OPT_LOG_LEVEL:
            arg_log_level = optarg;
            break;
        case OPT_PRINT_CONFIG:
            arg_print_config = true;
            break;
        default:
            *ret_code = MIGD_EXIT_USAGE;
            return 1;
        }
    if (optind < argc) {
        fprintf(stderr, "migd: unexpected argument \"%s\"; see migd --help\n", argv[optind]);
        *ret_code = MIGD_EXIT_USAGE;
        return 1;
    }
    return 0;
}

static int override(struct config *c, const char *section, const char *name, const char *value,
                    const char *option, struct mig_error *err)
{
    return value ? config_set(c, section, name, value, option, err) : 0;
}

/* The command line wins over the files. Once more at each reload. */
static int load_config(struct config *c, struct mig_error *err)
{
    config_init(c);
    int r = config_load(c, arg_config, err);
    if (r == 0)
        r = override(c, "Peer", "Listen", arg_listen, "--listen", err);
    if (r == 0)
        r = override(c, "Peer", "Security", arg_security, "--security", err);
    if (r == 0)
        r = override(c, "Daemon", "RuntimeDirectory", arg_runtime_dir, "--runtime-dir", err);
    if (r == 0)
        r = override(c, "Daemon", "LogLevel", arg_log_level, "--log-level", err);
    struct migration_options defaults; /* for the words in it */
    if (r == 0)
        r = migration_options_configure(&defaults, c, err);
    return r < 0 ? r : hook_check_configuration(c, err);
}

/* In the form of the file, each key with where it comes from. */
static void print_config(const struct config *c)
{
    struct config_view v;
    const char *section = "";
    for (size_t i = 0; config_nth(c, i, &v); i++) {
        if (strcmp(section, v.section) != 0)
            printf("%s[%s]\n", *section ? "\n" : "", v.section);
        section = v.section;
        printf("# %s\n%s=%s\n", v.origin, v.name, v.value);
    }
}

int main(int argc, char **argv)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct config config;
    int code;
    if (parse_options(argc, argv, &code))
        return code;
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 2); /* threads come and go; an arena each would stay */
    if (load_config(&config, &e) < 0) {
        log_mig_error(LOG_ERR, NULL, &e, "Cannot start");
        return MIGD_EXIT_USAGE;
    }
    if (arg_print_config) {
        print_config(&config);
        return EXIT_SUCCESS;
    }
    log_set_max_level(config.log_level);
    code = service_run(&config, load_config, getenv(MIGD_ENV_BUS_ADDRESS), &e);
    if (mig_error_is_set(&e))
        log_mig_error(LOG_ERR, NULL, &e, "Cannot go on");
    return code;
}
