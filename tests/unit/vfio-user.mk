if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-vfio-user-client
TESTS += tests/unit/test-vfio-user-client
tests_unit_test_vfio_user_client_SOURCES = tests/unit/test-vfio-user-client.c \
	tests/unit/fake-vfio-user.c tests/unit/fake-vfio-user.h
tests_unit_test_vfio_user_client_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
