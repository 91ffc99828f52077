/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What migctl prints: cells, tables, the progress line, suggestions, errors that were split into message and
 * hint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "bus.h"
#include "json-util.h"
#include "progress.h"
#include "status-view.h"
#include "suggest.h"
#include "table.h"
#include <stdio.h>
#include <string.h>

static char *cell(const char *json, char unit)
{
    static char buf[64];
    _cleanup_json_ struct json_object *o = json_tokener_parse(json);
    return cell_text(buf, sizeof buf, o, unit);
}

static void cells(void **state)
{
    assert_string_equal(cell("1610612736", MIGD_UNIT_BYTES), "1.5 GiB");
    assert_string_equal(cell("1500", MIGD_UNIT_MILLI), "1.50");
    assert_string_equal(cell("-3", MIGD_UNIT_COUNT), "-3");
    assert_string_equal(cell("18446744073709551615", MIGD_UNIT_COUNT), "18446744073709551615");
    assert_string_equal(cell("true", UNIT_BOOL), "yes");
    assert_string_equal(cell("[0, 4096]", UNIT_ADDRESS), "0x0 0x1000");
    assert_string_equal(cell("[\"a\", \"b\"]", UNIT_LIST), "a b");
    assert_string_equal(cell("\"\"", UNIT_TEXT), "-");
    assert_string_equal(cell("null", UNIT_TEXT), "-");
    assert_string_equal(cell("[]", UNIT_LIST), "-");
    /* A peer's text must not reach the terminal's controls, the C1 ones included. */
    assert_string_equal(cell("\"a\\u001b[2Jb\\n\\u009bc\"", UNIT_TEXT), "a?[2Jb???c");
    /* A list longer than the cell ends in the cell. */
    char many[400] = "[\"x\"";
    for (int i = 0; i < 60; i++)
        strcat(many, ",\"yy\"");
    strcat(many, "]");
    assert_int_equal(strlen(cell(many, UNIT_LIST)), 63);
}

static void tables(void **state)
{
    static const struct column columns[] = {
        {"n", "NAME", UNIT_TEXT}, {"b", "SIZE", MIGD_UNIT_BYTES}, {"p", "PROBLEM", UNIT_TEXT}};
    _cleanup_json_ struct json_object *rows =
        json_tokener_parse("[{\"n\":\"übung\",\"b\":512},{\"n\":\"a\",\"b\":1610612736,\"p\":\"gone\"}]");
    char text[512] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    table_print(f, 0, columns, 3, rows);
    fclose(f);
    assert_string_equal(text, "NAME      SIZE  PROBLEM\n"
                              "übung    512 B  -\n"
                              "a      1.5 GiB  gone\n");
}

static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void progress_fits(void **state)
{
    _cleanup_json_ struct json_object *status = json_tokener_parse(
        "{\"phase\":\"precopy\",\"round\":3,\"memory-processed\":13206765568,\"memory-remaining\":356515840,"
        "\"memory-dirty-rate\":125829120,\"memory-bandwidth\":1181116006,\"expected-downtime\":45000,\"time-"
        "remaining\":3000000,"
        "\"verdict\":\"schreibt zu schnell: äöü, wird nach einer weiteren Runde passen\"}");
    char figures[1024], verdict[1024];
    progress_format(status, 1000, figures, verdict, sizeof figures);
    static const char *const parts[] = {"precopy, round 3", "GiB done", "MiB left", "dirty ", "sent ",
                                        "downtime ",        "to go"};
    for (size_t i = 0; i < ELEMENTS(parts); i++)
        assert_non_null(strstr(figures, parts[i]));
    assert_non_null(strstr(verdict, "passen"));
    for (size_t columns = 1; columns < 200; columns++) {
        progress_format(status, columns, figures, verdict, sizeof figures);
        assert_true(width(figures) <= columns);
        assert_true(width(verdict) <= columns);
        if (columns >= 16)
            assert_non_null(strstr(figures, "precopy, round 3"));
    }
}

static void suggestions(void **state)
{
    static const char *const words[] = {"start", "status", "set", "list"};
    assert_int_equal(edit_distance("strat", "start"), 1);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_string_equal(suggest_nearest("strat", words, sizeof words[0], 4), "start");
    assert_string_equal(suggest_nearest("lst", words, sizeof words[0], 4), "list");
    assert_null(suggest_nearest("zzzzzz", words, sizeof words[0], 4));
    assert_null(suggest_nearest("xy", words, sizeof words[0], 4));
    char lengthy[300];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_null(suggest_nearest(lengthy, words, sizeof words[0], 4));
}

static void splits(void **state)
{
    struct mig_error err = MIG_ERROR_INIT;
    bus_split_hint(&err, "device nic0 is gone. Start its server. Then try again");
    assert_string_equal(err.message, "device nic0 is gone");
    assert_string_equal(err.hint, "Start its server. Then try again");
    bus_split_hint(&err, "no dot at 10.0.0.1");
    assert_string_equal(err.message, "no dot at 10.0.0.1");
    assert_string_equal(err.hint, "");
    bus_split_hint(&err, "ends here.");
    assert_string_equal(err.message, "ends here");
    assert_string_equal(err.hint, "");
}

static void exit_codes(void **state)
{
    static const struct {
        const char *status;
        int code;
    } cases[] = {
        {"{\"state\":\"completed\",\"verify\":\"proved\"}", 0},
        {"{\"state\":\"completed\",\"verify\":\"failed\"}", 1},
        {"{\"state\":\"cancelled\",\"error\":\"Cancelled\"}", 5},
        {"{\"state\":\"failed\",\"error\":\"NotConverging\"}", 6},
        {"{\"state\":\"failed\",\"error\":\"TimedOut\"}", 6},
        {"{\"state\":\"failed\",\"error\":\"PeerTimeout\"}", 1},
        {"{\"state\":\"failed\",\"error\":\"InvalidArgument\"}", 1},
        {"{\"state\":\"failed\",\"error\":\"NewerThanWe\"}", 1},
        {"{\"state\":\"in-doubt\"}", 7},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_json_ struct json_object *o = json_tokener_parse(cases[i].status);
        assert_int_equal(status_exit_code(o), cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells),       cmocka_unit_test(tables), cmocka_unit_test(progress_fits),
        cmocka_unit_test(suggestions), cmocka_unit_test(splits), cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
