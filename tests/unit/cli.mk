if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-domain-file tests/unit/test-cli-text tests/unit/test-discover
TESTS += tests/unit/test-domain-file tests/unit/test-cli-text tests/unit/test-discover
tests_unit_test_domain_file_SOURCES = tests/unit/test-domain-file.c
tests_unit_test_domain_file_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cli
tests_unit_test_domain_file_LDADD = libmigctl.la $(CMOCKA_LIBS)
tests_unit_test_cli_text_SOURCES = tests/unit/test-cli-text.c
tests_unit_test_cli_text_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cli
tests_unit_test_cli_text_LDADD = libmigctl.la $(CMOCKA_LIBS)
tests_unit_test_discover_SOURCES = tests/unit/test-discover.c
tests_unit_test_discover_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cli
tests_unit_test_discover_LDADD = libmigctl.la $(CMOCKA_LIBS)
endif
