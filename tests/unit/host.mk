if HAVE_CMOCKA
HOST_FIXTURE = tests/unit/host-fixture.c tests/unit/host-fixture.h
check_PROGRAMS += tests/unit/test-host tests/unit/test-host-inventory
TESTS += tests/unit/test-host tests/unit/test-host-inventory
tests_unit_test_host_SOURCES = tests/unit/test-host.c $(HOST_FIXTURE)
tests_unit_test_host_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_host_inventory_SOURCES = tests/unit/test-host-inventory.c $(HOST_FIXTURE)
tests_unit_test_host_inventory_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
