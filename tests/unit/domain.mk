if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-domain
TESTS += tests/unit/test-domain
tests_unit_test_domain_SOURCES = tests/unit/test-domain.c
tests_unit_test_domain_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
