if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-convergence tests/unit/test-migration tests/unit/test-sweep
TESTS += tests/unit/test-convergence tests/unit/test-migration tests/unit/test-sweep
tests_unit_test_convergence_SOURCES = tests/unit/test-convergence.c
tests_unit_test_convergence_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_migration_SOURCES = tests/unit/test-migration.c
tests_unit_test_migration_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_sweep_SOURCES = tests/unit/test-sweep.c
tests_unit_test_sweep_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
