if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-vmm-log
TESTS += tests/unit/test-vmm-log
tests_unit_test_vmm_log_SOURCES = tests/unit/test-vmm-log.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_unit_test_vmm_log_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
