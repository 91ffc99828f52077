/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device state that changes on its way, at the beginning, in the last chunk, or behind the end, while every
 * frame looks right and the device would take anything: migd notices, the device is never told to take it
 * over, and the source runs on.
 */
#include "../fake/relay.h"
#include "../fake/two-sides.h"
#include <stdio.h>
#include <string.h>

static void run(enum relay_damage damage, bool precopy, bool checksum)
{
    struct scene s;
    struct relay *r;
    struct migration_options o;
    struct migration_status st;
    char at[128], *bound;
    const char *word = relay_damage_words[damage];
    make_scene(&s, 2);
    for (int i = 0; i < 2; i++) {
        s.destination.device[i]->gullible = true;
        if (!precopy) /* all of it comes in the blackout */
            s.source.device[i]->info.migration_flags = DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P;
    }
    migration_options_init(&o);
    o.checksum = checksum;
    snprintf(at, sizeof at, "unix:%s/relay", s.dir);
    assert_int_equal(relay_new(&r, at, s.address, damage, 1, &bound, NULL), 0);
    snprintf(s.source_peer, sizeof s.source_peer, "%s", bound);
    free(bound);
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    migration_get_status(s.source.migration, &st);
    if (damage == RELAY_NONE) {
        if (st.state != MIG_STATE_COMPLETED)
            fail_msg("%s: %s", word, st.error.message);
        assert_true(side_runs_whole(&s.destination, 2));
        assert_true(s.destination.device[1]->taken);
    } else {
        if (!relay_has_damaged(r) || s.late || st.state != MIG_STATE_FAILED)
            fail_msg("%s: damaged %d, %s: %s", word, relay_has_damaged(r), mig_state_to_string(st.state),
                     st.error.message);
        if (!side_runs_whole(&s.source, 2) || s.source.domain->state != DOMAIN_STATE_RUNNING ||
            s.source.device[1]->logging)
            fail_msg("%s: the source does not run on", word);
        if (s.destination.device[1]->taken || s.destination.device[1]->state != DEVICE_STATE_STOP ||
            s.destination.domain->state != DOMAIN_STATE_WAITING || s.destination.controller->runs)
            fail_msg("%s: taken %d, the destination is %s", word, s.destination.device[1]->taken,
                     domain_state_to_string(s.destination.domain->state));
        if (damage != RELAY_NO_END && !strstr(st.error.message, "dev1"))
            fail_msg("%s: the device is not named: %s", word, st.error.message);
        print_message("%s: %s\n", word, st.error.message);
    }
    relay_free(r);
    end_scene(&s);
}

static void every_damage_is_noticed(void **state)
{
    for (int i = 0; i < RELAY_DAMAGE_MAX; i++)
        run((enum relay_damage)i, true, false);
}

static void also_when_all_comes_in_the_blackout(void **state)
{
    for (int i = 0; i < RELAY_DAMAGE_MAX; i++)
        run((enum relay_damage)i, false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_damage_is_noticed),
        cmocka_unit_test(also_when_all_comes_in_the_blackout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
