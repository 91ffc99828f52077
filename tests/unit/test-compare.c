/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HELLO held against what is here, without anybody on the line: the words of older sources, room for the
 * memory, and texts that are none. */
#include "incoming/compare.h"
#include "memory/region.h"
#include "vmm/controller.h"
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <cmocka.h>

static struct domain *d;
static struct space_ledger *ledger; /* of compare_text; NULL: none */

static int setup(void **state)
{
    return domain_new(&d, "dom", true, NULL);
}

static int teardown(void **state)
{
    d = domain_unref(d);
    return 0;
}

static void add_made(const char *name, uint64_t size)
{
    struct region *r;
    assert_int_equal(region_new_made(&r, name, size, 0, -1, NULL), 0);
    assert_int_equal(domain_add_memory(d, r, NULL, 0, NULL), 0);
    region_unref(r);
}

static int compare_text(const char *text, struct findings *ret, struct mig_error *err)
{
    struct json_object *hello = json_tokener_parse(text);
    struct here here;
    assert_non_null(hello);
    findings_clear(ret);
    memset(ret->waived, 0, sizeof ret->waived);
    assert_int_equal(here_take(&here, d, true), 0);
    here.ledger = space_ledger_ref(ledger);
    int r = compare_hello(hello, &here, ret, err);
    here_drop(&here);
    json_object_put(hello);
    return r;
}

static const struct finding *find(const struct findings *f, enum finding_code code)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].code == code)
            return &f->items[i];
    return NULL;
}

/* regions, devices and more are put where the percent signs stand. */
#define HELLO                                                                                                \
    "{\"domain\":\"dom\",\"protocol\":1,\"protocol-oldest\":1,\"page-size\":4096,\"vmm-state\":false,"       \
    "\"version\":\"" PACKAGE_VERSION "\",\"regions\":[%s],\"devices\":[%s]%s}"

static int compare_parts(const char *regions, const char *devices, const char *more, struct findings *ret,
                         struct mig_error *err)
{
    char text[2000];
    snprintf(text, sizeof text, HELLO, regions, devices, more);
    return compare_text(text, ret, err);
}

static void region_text(char *buf, size_t size, const char *name, uint64_t bytes, const char *more)
{
    snprintf(buf, size, "{\"name\":\"%s\",\"size\":%llu%s}", name, (unsigned long long)bytes, more);
}

/* ---- room ---- */

static uint64_t memory_available(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (fgets(line, sizeof line, f))
        sscanf(line, "MemAvailable: %llu kB", &kib);
    fclose(f);
    return (uint64_t)kib * 1024;
}

static void memory_that_the_host_has_not(void **state)
{
    struct findings f = {0};
    struct mig_error e;
    char text[200];
    uint64_t size = align_up(memory_available() + (UINT64_C(32) << 30), 4096);
    add_made("ram", size);
    region_text(text, sizeof text, "ram", size, ""); /* an older source does not say what is allocated */
    assert_int_equal(compare_parts(text, "", "", &f, &e), 0);
    assert_non_null(find(&f, FINDING_MEMORY_LOW));
    assert_int_equal(find(&f, FINDING_MEMORY_LOW)->severity, FINDING_WARNING);
    assert_null(find(&f, FINDING_MEMORY_NO_SPACE)); /* a memfd's tmpfs has no size */
    region_text(text, sizeof text, "ram", size, ",\"allocated\":1048576");
    assert_int_equal(compare_parts(text, "", "", &f, &e), 0);
    assert_null(find(&f, FINDING_MEMORY_LOW));
    findings_clear(&f);
}

/* What others will take is not free, until it has arrived or they have gone. */
static void memory_that_others_were_promised(void **state)
{
    struct findings f = {0};
    struct mig_error e;
    char text[200], all[600];
    struct region *theirs;
    const int they = 0;
    uint64_t mine = 64u << 20, size = align_up(memory_available() + (UINT64_C(32) << 30), 4096);
    add_made("ram", mine);
    region_text(text, sizeof text, "ram", mine, "");
    assert_int_equal(region_new_made(&theirs, "theirs", size, 0, -1, NULL), 0);
    assert_int_equal(space_ledger_new(&ledger), 0);
    assert_int_equal(compare_parts(text, "", "", &f, &e), 0);
    assert_null(find(&f, FINDING_MEMORY_LOW));
    assert_int_equal(space_ledger_promise(ledger, &they, theirs->fd, size, true), 0);
    assert_int_equal(compare_parts(text, "", "", &f, &e), 0);
    assert_non_null(find(&f, FINDING_MEMORY_LOW));
    assert_non_null(strstr(find(&f, FINDING_MEMORY_LOW)->message, "promised to other migrations"));
    assert_int_equal(space_ledger_in_memory(ledger, &they), 0); /* one's own does not count */
    assert_int_equal(space_ledger_in_memory(ledger, NULL), size);
    memset(theirs->map, 1, 8u << 20); /* what has arrived is allocated */
    assert_int_equal(space_ledger_in_memory(ledger, NULL), size - (8u << 20));
    space_ledger_forget(ledger, &they);
    assert_int_equal(compare_parts(text, "", "", &f, &e), 0);
    assert_null(find(&f, FINDING_MEMORY_LOW));
    findings_clear(&f);
    /* A HELLO promises what the files must grow by. */
    struct here here;
    snprintf(all, sizeof all, HELLO, text, "", "");
    struct json_object *hello = json_tokener_parse(all);
    assert_int_equal(here_take(&here, d, true), 0);
    here.ledger = space_ledger_ref(ledger);
    here.who = &they;
    assert_int_equal(compare_promise(hello, &here), 0);
    here_drop(&here);
    json_object_put(hello);
    assert_int_equal(space_ledger_in_memory(ledger, NULL), mine);
    region_unref(theirs);
    ledger = space_ledger_unref(ledger); /* with a promise in it */
}

static void a_file_system_without_room(void **state)
{
    char path[] = "/tmp/migd-compare-XXXXXX", two[400], text[200];
    struct findings f = {0};
    struct mig_error e;
    struct statvfs fs;
    struct region *r;
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(fstatvfs(fd, &fs), 0);
    /* Two halves of a file, neither of which is too large alone. */
    uint64_t half = align_up((uint64_t)fs.f_bavail * fs.f_frsize / 4 * 3, 2u << 20);
    assert_int_equal(ftruncate(fd, (off_t)(2 * half)), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(region_new_from_fd(&r, i ? "b" : "a", fd, i ? half : 0, half, true, &e), 0);
        assert_int_equal(domain_add_memory(d, r, NULL, 0, NULL), 0);
        region_unref(r);
    }
    region_text(text, sizeof text, "b", half, "");
    snprintf(two, sizeof two, "{\"name\":\"a\",\"size\":%llu},%s", (unsigned long long)half, text);
    assert_int_equal(compare_parts(two, "", "", &f, &e), 0);
    const struct finding *no_space = find(&f, FINDING_MEMORY_NO_SPACE);
    assert_non_null(no_space);
    assert_int_equal(no_space->severity, FINDING_ERROR);
    assert_int_equal(compare_parts(two, "", ",\"allow\":[\"memory-no-space\",\"unheard-of\"]", &f, &e), 0);
    assert_int_equal(find(&f, FINDING_MEMORY_NO_SPACE)->severity, FINDING_WARNING);
    /* One of them is empty at the source. */
    snprintf(two, sizeof two, "{\"name\":\"a\",\"size\":%llu,\"allocated\":0},%s", (unsigned long long)half,
             text);
    assert_int_equal(compare_parts(two, "", "", &f, &e), 0);
    assert_null(find(&f, FINDING_MEMORY_NO_SPACE));
    findings_clear(&f);
    close(fd);
}

static void pages_of_another_size(void **state)
{
    struct findings f = {0};
    struct mig_error e;
    add_made("ram", 65536);
    assert_int_equal(
        compare_parts("{\"name\":\"ram\",\"size\":65536,\"file-page-size\":2097152}", "", "", &f, &e), 0);
    assert_non_null(find(&f, FINDING_MEMORY_PAGE_SIZE_DIFFERS));
    assert_non_null(strstr(find(&f, FINDING_MEMORY_PAGE_SIZE_DIFFERS)->message, "2.0 MiB at the source"));
    findings_clear(&f);
}

static void versions(void **state)
{
    struct findings f = {0};
    struct mig_error e;
    assert_int_equal(compare_text("{\"protocol\":9,\"protocol-oldest\":7,\"page-size\":65536,\"version\":"
                                  "\"9.\\u001b\",\"regions\":[],\"devices\":[],\"vmm-state\":true}",
                                  &f, &e),
                     0);
    assert_non_null(strstr(find(&f, FINDING_PROTOCOL_VERSIONS)->message, "protocol 7 to 9"));
    assert_non_null(strstr(find(&f, FINDING_PAGE_SIZE_DIFFERS)->message, "65536"));
    assert_non_null(strstr(find(&f, FINDING_VERSION_DIFFERS)->message, "migd 9.?,"));
    assert_non_null(find(&f, FINDING_CONTROLLER_MISSING));
    assert_true(compare_refuse(&f, &e) < 0);
    assert_int_equal(e.code, MIG_ERR_INCOMPATIBLE);
    assert_non_null(strstr(e.hint, "protocol-versions"));
    findings_clear(&f);
}

/* ---- texts that are none ---- */

#define DEVICE                                                                                               \
    "{\"name\":\"d\",\"kind\":\"k\",\"migration-flags\":1,\"vendor\":0,\"device\":0,"                        \
    "\"subsystem-vendor\":0,\"subsystem-device\":0%s}"

static void malformed(void **state)
{
    static const struct {
        const char *regions, *devices, *more;
    } bad[] = {
        {"17", "", ""},
        {"{}", "", ""},
        {"{\"name\":\"ram\"}", "", ""},
        {"{\"name\":\"ram\",\"size\":\"65536\"}", "", ""},
        {"{\"name\":\"ram\",\"size\":-1}", "", ""},
        {"{\"name\":\"a\\u0000b\",\"size\":1}", "", ""},
        {"{\"name\":\"x\",\"size\":1},{\"name\":\"x\",\"size\":1}", "", ""},
        {"", "null", ""},
        {"", "{\"name\":\"d\"}", ""},
        {"", "{\"name\":\"d\",\"kind\":\"k\",\"migration-flags\":\"7\"}", ""},
        {"", "", ",\"allow\":17"},
        {"", "", ",\"allow\":[17]"},
        {"", "", ",\"allow\":{}"},
    };
    struct findings f = {0};
    struct mig_error e;
    char twice[600], one[300];
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        e = MIG_ERROR_INIT;
        if (compare_parts(bad[i].regions, bad[i].devices, bad[i].more, &f, &e) >= 0 ||
            e.code != MIG_ERR_PEER_PROTOCOL)
            fail_msg("%s %s %s: %s", bad[i].regions, bad[i].devices, bad[i].more, e.message);
    }
    snprintf(one, sizeof one, DEVICE, "");
    snprintf(twice, sizeof twice, "%s,%s", one, one);
    assert_true(compare_parts("", twice, "", &f, &e) < 0);
    assert_true(compare_text("{}", &f, &e) < 0);
    assert_true(compare_text("{\"protocol\":1,\"protocol-oldest\":1,\"page-size\":4096}", &f, &e) < 0);
    /* Optional keys of the wrong type count as absent; names are shown harmless. */
    snprintf(one, sizeof one, DEVICE,
             ",\"driver\":17,\"revision\":\"x\",\"stop-copy-size\":[],\"regions\":{}");
    assert_int_equal(compare_parts("{\"name\":\"\\u001b[31m\",\"size\":1,\"iovas\":7,\"allocated\":\"x\"}",
                                   one, ",\"allow\":[]", &f, &e),
                     0);
    assert_string_equal(find(&f, FINDING_MEMORY_MISSING)->subject, "?[31m");
    findings_clear(&f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(memory_that_the_host_has_not),
        T(a_file_system_without_room),
        T(memory_that_others_were_promised),
        T(pages_of_another_size),
        T(versions),
        T(malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
