/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's hook for QEMU domains, switched on by `migctl libvirt enable-hook`. It tells migd what libvirt is
 * about to do with a domain, waits for its answer, and does nothing else: whoever calls libvirt from a hook
 * waits for himself.
 *
 * libvirt runs it as hooks/qemu.d/NAME DOMAIN OPERATION SUB-OPERATION EXTRA with the domain XML as standard
 * input, and believes its exit status: of `migrate`, `prepare`, `start` and `started` a failure stops what
 * was going on, of `reconnect` it KILLS the running guest. Therefore:
 *   - `reconnect` ends with 0, whatever happens;
 *   - without a migd nothing fails, unless the administrator wants so for `migrate` (--without-migd=refuse);
 *   - a migd that was asked and did not answer fails `migrate`, and `started` of a guest whose memory may be
 *     on its way (the source goes on running then), and nothing else;
 *   - an alarm ends it, whatever it waits for.
 */
#include "base/fds.h"
#include "base/parse.h"
#include "migd-bus.h"
#include "migd-errors.h"
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define XML_MAX         ((size_t)4 << 20)
#define RUN_DIR         "/run/libvirt/qemu"
#define ANSWER_SECONDS  30u
#define BARRIER_SECONDS 86400u /* `started` waits while memory moves; migd knows when that is hopeless */
#define SPARE_SECONDS   5u     /* beyond the answer's, for all the rest */

static const char *arg_domain, *arg_operation;
static unsigned arg_timeout_seconds;
static bool arg_refuse;
static volatile sig_atomic_t late_status;

static bool is(const char *operation)
{
    return strcmp(arg_operation, operation) == 0;
}

static bool is_filter(void)
{
    return is("migrate") || is("restore");
}

static void late(int number)
{
    _exit(late_status);
}

/* ---- when there is no answer ---- */

/* Whether the guest's QEMU was started to receive a migration: libvirt knows and does not tell hooks. */
static bool is_incoming(void)
{
    char path[400], number[32] = "";
    _cleanup_free_ char *text = NULL, *arguments = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, RUN_DIR "/%s.pid", arg_domain);
    if (strchr(arg_domain, '/') || read_file(path, 64, &text, NULL) < 0)
        return false;
    snprintf(number, sizeof number, "%.*s", (int)strspn(text, "0123456789"), text);
    snprintf(path, sizeof path, "/proc/%s/cmdline", number);
    if (!*number || read_file(path, XML_MAX, &arguments, &size) < 0)
        return false;
    for (size_t at = 0; at < size; at += strlen(arguments + at) + 1)
        if (strcmp(arguments + at, "-incoming") == 0)
            return true;
    return false;
}

/* Nobody was asked. */
static int without_migd(const char *why)
{
    if (!arg_refuse || !is("migrate"))
        return 0;
    fprintf(stderr, "migd is not there (%s), and its hook was told to refuse migrations then\n", why);
    return 1;
}

/* migd was asked, and it is not known what it did. */
static int without_answer(const char *why)
{
    bool fails = is("migrate") || (is("started") && is_incoming());
    fprintf(stderr, "migd did not answer about %s of %s: %s\n", arg_operation, arg_domain, why);
    return fails ? 1 : 0;
}

/* ---- the call ---- */

static int read_xml(char **ret)
{
    size_t size = 0;
    char *text = malloc(XML_MAX + 1);
    if (!text)
        return -ENOMEM;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, text + size, XML_MAX + 1 - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 && size <= XML_MAX)
            break;
        if (n < 0 || size + (size_t)n > XML_MAX || memchr(text + size, '\0', (size_t)n)) {
            int r = n < 0 ? -errno : -EFBIG;
            free(text);
            return r;
        }
        size += (size_t)n;
    }
    text[size] = '\0';
    *ret = text;
    return 0;
}

static int open_bus(sd_bus **ret)
{
    const char *address = getenv(MIGD_ENV_BUS_ADDRESS);
    if (!address)
        return sd_bus_open_system(ret);
    sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(bus, true);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0) {
        sd_bus_unref(bus);
        return r;
    }
    *ret = bus;
    return 0;
}

static int make_call(sd_bus *bus, const char *sub_operation, const char *extra, const char *xml,
                     sd_bus_message **ret)
{
    int r = sd_bus_message_new_method_call(bus, ret, MIGD_BUS_NAME, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER,
                                           "LibvirtHook");
    if (r >= 0) /* a migd that does not run has nothing to do with the domain */
        r = sd_bus_message_set_auto_start(*ret, false);
    return r < 0 ? r
                 : sd_bus_message_append(*ret, "sssssa{sv}", arg_domain, arg_operation, sub_operation, extra,
                                         xml, 0);
}

static int take_answer(sd_bus_message *reply)
{
    int32_t status;
    const char *xml, *message;
    int r = sd_bus_message_read(reply, "iss", &status, &xml, &message);
    if (r < 0)
        return without_answer("its answer makes no sense");
    if (*message)
        fprintf(stderr, "migd: %s\n", message);
    if (status == 0 && *xml && is_filter() && write_full(STDOUT_FILENO, xml, strlen(xml)) < 0)
        return without_answer("the domain XML cannot be written");
    return status == 0 ? 0 : 1;
}

static bool nobody_there(const sd_bus_error *error)
{
    return sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
           sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
           sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD); /* older than this hook */
}

static int ask(sd_bus *bus, const char *sub_operation, const char *extra, const char *xml)
{
    sd_bus_message *call = NULL, *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int status, r = make_call(bus, sub_operation, extra, xml, &call);
    if (r < 0)
        status = without_answer(strerror(-r));
    else if ((r = sd_bus_call(bus, call, arg_timeout_seconds * UINT64_C(1000000), &error, &reply)) >= 0)
        status = take_answer(reply);
    else
        status = nobody_there(&error) ? without_migd("it does not run")
                                      : without_answer(error.message ? error.message : strerror(-r));
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    return status;
}

static int run(const char *sub_operation, const char *extra)
{
    _cleanup_free_ char *xml = NULL;
    sd_bus *bus = NULL;
    int r = open_bus(&bus);
    if (r < 0)
        return without_migd(strerror(-r));
    r = read_xml(&xml);
    int status =
        r < 0 ? without_answer("the domain XML cannot be read") : ask(bus, sub_operation, extra, xml);
    sd_bus_flush_close_unref(bus);
    return status;
}

/* ---- what was typed ---- */

static int usage(FILE *f, int status)
{
    fputs("libvirt-hook [OPTION...] DOMAIN OPERATION SUB-OPERATION EXTRA <DOMAIN-XML\n\n"
          "Tells migd what libvirt does with a QEMU domain. libvirt runs it; `migctl libvirt enable-hook` "
          "switches it on.\n\n"
          "  --without-migd=pass|refuse  what becomes of a migration to this host when migd does not run\n"
          "                              here (default: pass)\n"
          "  --timeout=SECONDS           how long migd may take for an answer (default: 30; `started` of a\n"
          "                              guest that comes in waits for its memory)\n"
          "  --help                      this text\n",
          f);
    return status;
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {{"without-migd", required_argument, NULL, 'w'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seconds = 0;
    for (int c; (c = getopt_long(argc, argv, "+", options, NULL)) >= 0;)
        if (c == 'h')
            return usage(stdout, 0);
        else if (c == 'w' && (strcmp(optarg, "pass") == 0 || strcmp(optarg, "refuse") == 0))
            arg_refuse = strcmp(optarg, "refuse") == 0;
        else if (c != 't' || parse_unsigned(optarg, BARRIER_SECONDS, &seconds) < 0 || seconds == 0)
            return usage(stderr, MIGD_EXIT_USAGE);
    if (argc - optind < 4) /* a newer libvirt may say more */
        return usage(stderr, MIGD_EXIT_USAGE);
    arg_domain = argv[optind];
    arg_operation = argv[optind + 1];
    arg_timeout_seconds = seconds ? (unsigned)seconds : is("started") ? BARRIER_SECONDS : ANSWER_SECONDS;
    return -1;
}

/* libvirt may have been started without one of them, and what is opened must not become one. */
static void keep_stdio(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    close_fd(&fd);
}

int main(int argc, char **argv)
{
    bool reconnect = false;
    /* Arguments that are not understood must not cost a guest either. */
    for (int i = 1; i < argc; i++)
        reconnect |= strcmp(argv[i], "reconnect") == 0;
    int status = parse(argc, argv);
    if (status >= 0)
        return reconnect ? 0 : status;
    reconnect = is("reconnect");
    if (is("start") || !(is_filter() || is("prepare") || is("started") || is("stopped") || is("release") ||
                         is("reconnect") || is("attach")))
        return 0; /* nothing to tell, or an operation of a newer libvirt */
    keep_stdio();
    signal(SIGPIPE, SIG_IGN);
    late_status = !reconnect && (is("migrate") || is("started"));
    signal(SIGALRM, late);
    alarm(arg_timeout_seconds + SPARE_SECONDS);
    status = run(argv[optind + 2], argv[optind + 3]);
    return reconnect ? 0 : status;
}
