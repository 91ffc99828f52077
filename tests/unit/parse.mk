if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-parse
TESTS += tests/unit/test-parse
tests_unit_test_parse_SOURCES = tests/unit/test-parse.c
tests_unit_test_parse_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
