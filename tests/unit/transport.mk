if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-address tests/unit/test-channel tests/unit/test-frame
TESTS += tests/unit/test-address tests/unit/test-channel tests/unit/test-frame
tests_unit_test_address_SOURCES = tests/unit/test-address.c
tests_unit_test_address_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_channel_SOURCES = tests/unit/test-channel.c
tests_unit_test_channel_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_frame_SOURCES = tests/unit/test-frame.c
tests_unit_test_frame_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
