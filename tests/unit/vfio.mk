if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-vfio-containers tests/unit/test-vfio-device
TESTS += tests/unit/test-vfio-containers tests/unit/test-vfio-device
tests_unit_test_vfio_containers_SOURCES = tests/unit/test-vfio-containers.c
tests_unit_test_vfio_containers_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_vfio_device_SOURCES = tests/unit/test-vfio-device.c
tests_unit_test_vfio_device_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
