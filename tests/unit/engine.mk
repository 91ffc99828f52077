if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-state-damage tests/unit/test-old-peer tests/unit/test-compare tests/unit/test-hostile-check tests/unit/test-check-peer tests/unit/test-convergence tests/unit/test-migration tests/unit/test-hostile-destination tests/unit/test-hostile-peer tests/unit/test-recovery tests/unit/test-sweep tests/unit/test-switch-over tests/unit/test-reconnect tests/unit/test-link-test tests/unit/test-recorded tests/unit/test-patience tests/unit/test-growth
TESTS += tests/unit/test-state-damage tests/unit/test-old-peer tests/unit/test-compare tests/unit/test-hostile-check tests/unit/test-check-peer tests/unit/test-convergence tests/unit/test-migration tests/unit/test-hostile-destination tests/unit/test-hostile-peer tests/unit/test-recovery tests/unit/test-sweep tests/unit/test-switch-over tests/unit/test-reconnect tests/unit/test-link-test tests/unit/test-recorded tests/unit/test-patience tests/unit/test-growth
tests_unit_test_convergence_SOURCES = tests/unit/test-convergence.c
tests_unit_test_convergence_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_migration_SOURCES = tests/unit/test-migration.c
tests_unit_test_migration_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_hostile_destination_SOURCES = tests/unit/test-hostile-destination.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_hostile_destination_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_hostile_peer_SOURCES = tests/unit/test-hostile-peer.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_hostile_peer_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_recovery_SOURCES = tests/unit/test-recovery.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_recovery_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_sweep_SOURCES = tests/unit/test-sweep.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_sweep_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_switch_over_SOURCES = tests/unit/test-switch-over.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_switch_over_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_check_peer_SOURCES = tests/unit/test-check-peer.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_check_peer_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_hostile_check_SOURCES = tests/unit/test-hostile-check.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_hostile_check_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_compare_SOURCES = tests/unit/test-compare.c
tests_unit_test_compare_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_old_peer_SOURCES = tests/unit/test-old-peer.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_old_peer_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_state_damage_SOURCES = tests/unit/test-state-damage.c tests/fake/relay.c tests/fake/relay.h tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_state_damage_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_reconnect_SOURCES = tests/unit/test-reconnect.c tests/fake/cutter.c tests/fake/cutter.h tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_reconnect_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_link_test_SOURCES = tests/unit/test-link-test.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_link_test_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_recorded_SOURCES = tests/unit/test-recorded.c tests/fake/recording.c tests/fake/recording.h tests/fake/two-sides.c tests/fake/two-sides.h
# As it was recorded: a device state of a few frames.
tests_unit_test_recorded_CPPFLAGS = $(AM_CPPFLAGS) -DSTATE_BYTES=6000u
tests_unit_test_recorded_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_patience_SOURCES = tests/unit/test-patience.c
tests_unit_test_patience_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_growth_SOURCES = tests/unit/test-growth.c
tests_unit_test_growth_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
