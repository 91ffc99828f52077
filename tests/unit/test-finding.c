/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of findings and the table behind it. */
#include "base/finding.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void the_table_is_whole(void **state)
{
    for (size_t i = 0; i < FINDING_CODE_MAX; i++) {
        const char *word = finding_code_to_string((enum finding_code)i);
        struct finding item;
        assert_in_range(strlen(word), 3, sizeof item.word - 1);
        for (const char *c = word; *c; c++)
            assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '-');
        assert_int_equal(finding_code_from_string(word), i);
        assert_in_range(strlen(finding_title((enum finding_code)i)), 10, 100);
        assert_true(strlen(finding_story((enum finding_code)i)) > 60);
        assert_in_range(strlen(finding_remedy((enum finding_code)i)), 10, sizeof item.remedy - 1);
        if (i > 0)
            assert_true(strcmp(finding_code_to_string((enum finding_code)(i - 1)), word) < 0);
        if (finding_is_waivable((enum finding_code)i))
            assert_int_equal(finding_severity_of((enum finding_code)i), FINDING_ERROR);
    }
    assert_int_equal(finding_code_from_string("no-such-thing"), FINDING_CODE_MAX);
    assert_string_equal(finding_code_to_string(FINDING_CODE_MAX), "unknown");
}

static void a_list_grows_and_keeps_one_of_each(void **state)
{
    struct findings f = {0};
    char name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "nic%d", i % 20);
        assert_int_equal(findings_add(&f, FINDING_DEVICE_NO_MIGRATION, name, NULL, "Device %s cannot", name),
                         0);
    }
    assert_int_equal(f.count, 20);
    assert_string_equal(f.items[19].message, "Device nic19 cannot");
    assert_string_equal(f.items[3].remedy, finding_remedy(FINDING_DEVICE_NO_MIGRATION));
    assert_int_equal(findings_count(&f, FINDING_ERROR), 20);
    findings_clear(&f);
    assert_null(findings_first_error(&f));
}

static void an_error_can_be_waived_where_the_table_says_so(void **state)
{
    struct findings f = {0};
    struct mig_error err = MIG_ERROR_INIT;
    assert_true(findings_waive(&f, "device-no-migration", &err) < 0);
    assert_non_null(strstr(err.hint, "device-no-p2p"));
    assert_true(findings_waive(&f, "device-no", &err) < 0);
    assert_int_equal(findings_waive(&f, "device-no-p2p", &err), 0);
    findings_add(&f, FINDING_DEVICE_NO_P2P, "nic0", "Do that", "Device nic0 has none");
    findings_add(&f, FINDING_TRANSPORT_PLAIN, "", NULL, "A warning that was never more");
    assert_true(finding_is_waived(&f.items[0]));
    assert_false(finding_is_waived(&f.items[1]));
    assert_null(findings_first_error(&f));
    assert_int_equal(findings_to_error(&f, MIG_ERR_INCOMPATIBLE, &err), 0);
    findings_add(&f, FINDING_DEVICE_NO_MIGRATION, "nic0", "Do this", "Device nic0 cannot");
    assert_true(findings_to_error(&f, MIG_ERR_INCOMPATIBLE, &err) < 0);
    assert_string_equal(err.message, "Device nic0 cannot");
    assert_string_equal(err.hint, "Do this (migctl explain device-no-migration)");
    findings_clear(&f);
}

static void what_somebody_met_keeps_its_error(void **state)
{
    struct findings f = {0};
    struct mig_error met = MIG_ERROR_INIT, err = MIG_ERROR_INIT;
    mig_error_set(&met, MIG_ERR_DEVICE_TIMEOUT, 0, "it said nothing for 5 s");
    findings_add_error(&f, FINDING_DEVICE_SILENT, "nic0", &met, "Device %s does not answer", "nic0");
    mig_error_hint(&met, "wake it");
    findings_add_error(&f, FINDING_DEVICE_SILENT, "nic1", &met, "Device %s does not answer", "nic1");
    assert_string_equal(f.items[0].message, "Device nic0 does not answer: it said nothing for 5 s");
    assert_string_equal(f.items[0].remedy, finding_remedy(FINDING_DEVICE_SILENT));
    assert_string_equal(f.items[1].remedy, "wake it");
    assert_true(findings_to_error(&f, MIG_ERR_NOT_SUPPORTED, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_TIMEOUT);
    findings_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_whole),
        cmocka_unit_test(a_list_grows_and_keeps_one_of_each),
        cmocka_unit_test(an_error_can_be_waived_where_the_table_says_so),
        cmocka_unit_test(what_somebody_met_keeps_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
