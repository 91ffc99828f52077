if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-vfio-containers
TESTS += tests/unit/test-vfio-containers
tests_unit_test_vfio_containers_SOURCES = tests/unit/test-vfio-containers.c
tests_unit_test_vfio_containers_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
