if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-check
TESTS += tests/unit/test-check
tests_unit_test_check_SOURCES = tests/unit/test-check.c tests/fake/two-sides.c tests/fake/two-sides.h tests/fake/fake-parts.c tests/fake/fake-parts.h
tests_unit_test_check_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
