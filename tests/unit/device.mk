if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-device
TESTS += tests/unit/test-device
tests_unit_test_device_SOURCES = tests/unit/test-device.c
tests_unit_test_device_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
