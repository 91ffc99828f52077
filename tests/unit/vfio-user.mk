if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-vfio-user-client tests/unit/test-vfio-user-passthrough \
	tests/unit/test-vfio-user-hostile
TESTS += tests/unit/test-vfio-user-client tests/unit/test-vfio-user-passthrough \
	tests/unit/test-vfio-user-hostile
tests_unit_test_vfio_user_client_SOURCES = tests/unit/test-vfio-user-client.c \
	tests/unit/fake-vfio-user.c tests/unit/fake-vfio-user.h
tests_unit_test_vfio_user_client_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_vfio_user_passthrough_SOURCES = tests/unit/test-vfio-user-passthrough.c \
	tests/unit/fake-vfio-user.c tests/unit/fake-vfio-user.h
tests_unit_test_vfio_user_passthrough_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_vfio_user_hostile_SOURCES = tests/unit/test-vfio-user-hostile.c \
	tests/unit/fake-vfio-user.c tests/unit/fake-vfio-user.h
tests_unit_test_vfio_user_hostile_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
