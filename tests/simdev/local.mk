# The device is driven by a client of the tests' own, in real processes.
if HAVE_CMOCKA
check_PROGRAMS += tests/simdev/test-simdev
TESTS += tests/simdev/test-simdev
tests_simdev_test_simdev_SOURCES = tests/simdev/test-simdev.c tests/simdev/scene.c tests/simdev/scene.h \
	tests/simdev/client.c tests/simdev/client.h
tests_simdev_test_simdev_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
