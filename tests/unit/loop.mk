if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-loop
TESTS += tests/unit/test-loop
tests_unit_test_loop_SOURCES = tests/unit/test-loop.c
tests_unit_test_loop_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-fdstore
TESTS += tests/unit/test-fdstore
tests_unit_test_fdstore_SOURCES = tests/unit/test-fdstore.c
tests_unit_test_fdstore_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
