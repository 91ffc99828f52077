if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-controller tests/unit/test-qemu-layout
TESTS += tests/unit/test-controller tests/unit/test-qemu-layout
tests_unit_test_controller_SOURCES = tests/unit/test-controller.c tests/api/private-bus.c tests/api/private-bus.h
tests_unit_test_controller_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/api
tests_unit_test_controller_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_qemu_layout_SOURCES = tests/unit/test-qemu-layout.c
tests_unit_test_qemu_layout_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
