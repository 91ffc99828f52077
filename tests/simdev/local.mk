# The device is driven by a client of the tests' own, in real processes.
if HAVE_CMOCKA
check_PROGRAMS += tests/simdev/test-simdev tests/simdev/test-misbehave tests/simdev/test-daemon-client \
	tests/simdev/test-passthrough
TESTS += tests/simdev/test-simdev tests/simdev/test-misbehave tests/simdev/test-daemon-client \
	tests/simdev/test-passthrough
SIMDEV_TEST_SOURCES = tests/simdev/scene.c tests/simdev/scene.h tests/simdev/client.c tests/simdev/client.h
tests_simdev_test_simdev_SOURCES = tests/simdev/test-simdev.c $(SIMDEV_TEST_SOURCES)
tests_simdev_test_simdev_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_simdev_test_misbehave_SOURCES = tests/simdev/test-misbehave.c $(SIMDEV_TEST_SOURCES)
tests_simdev_test_misbehave_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_simdev_test_daemon_client_SOURCES = tests/simdev/test-daemon-client.c tests/simdev/client.c tests/simdev/client.h
tests_simdev_test_daemon_client_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_simdev_test_passthrough_SOURCES = tests/simdev/test-passthrough.c $(SIMDEV_TEST_SOURCES)
tests_simdev_test_passthrough_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
