/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fds.h"
#include "config/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <cmocka.h>

static char top[] = "/tmp/test-config-XXXXXX";
static char lib_dir[64], etc_dir[64];

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(write_file_atomic(path, text, strlen(text)), 0);
}

static int make_dirs(void **state)
{
    char path[128];
    if (!mkdtemp(top))
        return -1;
    snprintf(lib_dir, sizeof lib_dir, "%s/lib", top);
    snprintf(etc_dir, sizeof etc_dir, "%s/etc", top);
    snprintf(path, sizeof path, "%s/migd.conf.d", lib_dir);
    if (mkdir_parents(path) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/migd.conf.d", etc_dir);
    return mkdir_parents(path);
}

static int remove_dirs(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", top);
    return system(command);
}

static int load(struct config *c, struct mig_error *e)
{
    config_init(c);
    *e = MIG_ERROR_INIT;
    return config_load_from(c, lib_dir, etc_dir, e);
}

static void defaults_without_files(void **state)
{
    struct config c;
    struct mig_error e;
    assert_int_equal(load(&c, &e), 0);
    assert_int_equal(c.log_level, LOG_INFO);
    assert_int_equal(c.max_downtime_usec, 300000);
    assert_string_equal(c.listen, "");
    assert_int_equal(c.total_bytes_per_sec, 0);
    assert_string_equal(c.gate, "");
    assert_string_equal(config_origin(&c, "Migration", "Gate"), "default");
}

static void later_files_win(void **state)
{
    struct config c;
    struct mig_error e;
    put(lib_dir, "migd.conf",
        "[Daemon]\nLogLevel=err\nRuntimeDirectory=/run/"
        "a\n[Peer]\nListen=1.2.3.4\nAcceptOverrides=no\n[Migration]\nMaxDowntime=1s\n");
    put(lib_dir, "migd.conf.d/50-b.conf",
        "[Migration]\nMaxDowntime=4s\nBandwidth=8Gbit\nTotalBandwidth=500M\n");
    put(lib_dir, "migd.conf.d/60-hidden.conf", "[Migration]\nMaxDowntime=9s\n");
    put(etc_dir, "migd.conf",
        "# comment\n[Daemon]\nRuntimeDirectory = /run/b\n[Migration]\nMaxDowntime=2s\nGate=resend\n");
    put(etc_dir, "migd.conf.d/40-a.conf", "[Migration]\nMaxDowntime=3s\nConnections=4\n");
    put(etc_dir, "migd.conf.d/60-hidden.conf", "");
    put(etc_dir, "migd.conf.d/99-other.txt", "garbage");
    assert_int_equal(load(&c, &e), 0);
    assert_int_equal(c.log_level, LOG_ERR);
    assert_string_equal(c.runtime_dir, "/run/b");
    assert_string_equal(c.listen, "1.2.3.4");
    assert_false(c.accept_overrides);
    assert_int_equal(c.max_downtime_usec, 4000000);
    assert_int_equal(c.bandwidth_bytes_per_sec, 1000000000);
    assert_int_equal(c.total_bytes_per_sec, 500u << 20);
    assert_int_equal(c.connections, 4);
    assert_string_equal(c.gate, "resend");
    assert_non_null(strstr(config_origin(&c, "Migration", "Gate"), "etc/migd.conf:6"));
    assert_string_equal(config_origin(&c, "Migration", "Verify"), "default");
}

static void check_error(const char *text, const char *message, const char *hint)
{
    struct config c;
    struct mig_error e = MIG_ERROR_INIT;
    char path[128];
    put(top, "one.conf", text);
    snprintf(path, sizeof path, "%s/one.conf", top);
    config_init(&c);
    struct config before = c;
    int r = config_load(&c, path, &e);
    if (r >= 0 || e.code != MIG_ERR_CONFIG || !strstr(e.message, message) || !strstr(e.hint, hint))
        fail_msg("%d \"%s\" \"%s\"", r, e.message, e.hint);
    assert_memory_equal(&c, &before, sizeof c);
    assert_true(config_load(&c, path, NULL) < 0);
}

static void errors_name_file_and_line(void **state)
{
    check_error("[Daemon]\n\nLogLevl=err\n", "one.conf:3: unknown key \"LogLevl\" in section [Daemon]",
                "LogLevel");
    check_error("[Deamon]\nLogLevel=err\n", "one.conf:2: unknown section [Deamon]", "Daemon.LogLevel");
    check_error("LogLevel=err\n", "one.conf:1: \"LogLevel\" stands before the first section",
                "Daemon.LogLevel");
    check_error("[Migration]\nMaxDowntime=300\n", "one.conf:2: \"300\" is not a value for MaxDowntime",
                "300ms");
    check_error("[Migration]\nConnections=17\n", "one.conf:2: \"17\" is not a value", "up to 16");
    check_error("[Daemon]\nRuntimeDirectory=run\n", "one.conf:2:", "absolute path");
    check_error("[Daemon]\nnonsense\n", "one.conf:2: ", "");
    check_error("[Daemon]\nLogLevel=err\nLogLevel=loud\nAlso=bad\n", "one.conf:3: \"loud\"", "debug");
    char line[600] = "[Daemon]\nRuntimeDirectory=/";
    memset(line + strlen(line), 'x', 400);
    check_error(line, "one.conf:2: the line is too long", "200");
}

/* Every line of the shipped file that is commented out is a key with its default. */
static void the_shipped_file_shows_the_defaults(void **state)
{
    const char *source = getenv("TOP_SRCDIR");
    char path[512];
    _cleanup_free_ char *text = NULL;
    if (!source)
        skip();
    snprintf(path, sizeof path, "%s/unit/migd.conf", source);
    assert_int_equal(read_file(path, 65536, &text, NULL), 0);
    unsigned keys = 0;
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (line[0] == '#' && line[1] >= 'A' && line[1] <= 'Z') {
            line[0] = ' ';
            memmove(line, line + 1, strlen(line));
            keys++;
        }
    put(top, "shipped.conf", text);
    snprintf(path, sizeof path, "%s/shipped.conf", top);
    struct config c, defaults;
    struct mig_error e = MIG_ERROR_INIT;
    config_init(&c);
    config_init(&defaults);
    if (config_load(&c, path, &e) < 0)
        fail_msg("%s", e.message);
    struct config_view is, was;
    unsigned all = 0;
    for (; config_nth(&c, all, &is) && config_nth(&defaults, all, &was); all++) {
        assert_non_null(strstr(is.origin, "shipped.conf:"));
        if (strcmp(is.name, "RuntimeDirectory") != 0) /* its default is the build's */
            assert_string_equal(is.value, was.value);
    }
    assert_int_equal(keys, all);
}

static void a_named_file_must_exist(void **state)
{
    struct config c;
    struct mig_error e = MIG_ERROR_INIT;
    config_init(&c);
    assert_int_equal(config_load(&c, "/nonexistent/migd.conf", &e), -ENOENT);
    assert_non_null(strstr(e.message, "/nonexistent/migd.conf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_without_files),
        cmocka_unit_test(later_files_win),
        cmocka_unit_test(errors_name_file_and_line),
        cmocka_unit_test(a_named_file_must_exist),
        cmocka_unit_test(the_shipped_file_shows_the_defaults),
    };
    return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
