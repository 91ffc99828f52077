if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-granularity tests/unit/test-trackers tests/unit/test-uffd
TESTS += tests/unit/test-granularity tests/unit/test-trackers tests/unit/test-uffd
tests_unit_test_granularity_SOURCES = tests/unit/test-granularity.c
tests_unit_test_granularity_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_trackers_SOURCES = tests/unit/test-trackers.c tests/unit/test-random.h
tests_unit_test_trackers_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_uffd_SOURCES = tests/unit/test-uffd.c tests/unit/test-random.h
tests_unit_test_uffd_LDADD = libmigd.la $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/test-tracker-digests
TESTS += tests/unit/test-tracker-digests
tests_unit_test_tracker_digests_SOURCES = tests/unit/test-tracker-digests.c
tests_unit_test_tracker_digests_LDADD = libmigd.la $(CMOCKA_LIBS)
FAKE_DEVICE = tests/fake/fake-device.c tests/fake/fake-device.h
check_PROGRAMS += tests/unit/test-tracker-device tests/unit/test-model
TESTS += tests/unit/test-tracker-device tests/unit/test-model
tests_unit_test_tracker_device_SOURCES = tests/unit/test-tracker-device.c $(FAKE_DEVICE)
tests_unit_test_tracker_device_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/fake
tests_unit_test_tracker_device_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_model_SOURCES = tests/unit/test-model.c tests/unit/test-random.h $(FAKE_DEVICE)
tests_unit_test_model_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/fake
tests_unit_test_model_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
