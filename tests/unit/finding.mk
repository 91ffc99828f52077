if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-finding
TESTS += tests/unit/test-finding
tests_unit_test_finding_SOURCES = tests/unit/test-finding.c
tests_unit_test_finding_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
