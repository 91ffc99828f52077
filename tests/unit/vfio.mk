if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-vfio-containers tests/unit/test-vfio-device tests/unit/test-vfio-open tests/unit/test-domain-open
TESTS += tests/unit/test-vfio-containers tests/unit/test-vfio-device tests/unit/test-vfio-open tests/unit/test-domain-open
tests_unit_test_vfio_containers_SOURCES = tests/unit/test-vfio-containers.c
tests_unit_test_vfio_containers_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_vfio_device_SOURCES = tests/unit/test-vfio-device.c
tests_unit_test_vfio_device_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_vfio_open_SOURCES = tests/unit/test-vfio-open.c tests/fake/fake-vfio.c tests/fake/fake-vfio.h
tests_unit_test_vfio_open_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_domain_open_SOURCES = tests/unit/test-domain-open.c tests/fake/fake-vfio.c tests/fake/fake-vfio.h
tests_unit_test_domain_open_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
