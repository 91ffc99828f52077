if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-loop
TESTS += tests/unit/test-loop
tests_unit_test_loop_SOURCES = tests/unit/test-loop.c
tests_unit_test_loop_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
