if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-trackers tests/unit/test-uffd
TESTS += tests/unit/test-trackers tests/unit/test-uffd
tests_unit_test_trackers_SOURCES = tests/unit/test-trackers.c tests/unit/test-random.h
tests_unit_test_trackers_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_uffd_SOURCES = tests/unit/test-uffd.c tests/unit/test-random.h
tests_unit_test_uffd_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
