if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-match tests/unit/test-hook-xml tests/unit/test-hook tests/unit/test-virt tests/unit/test-vm tests/unit/test-native tests/unit/test-fetch
TESTS += tests/unit/test-match tests/unit/test-hook-xml tests/unit/test-hook tests/unit/test-virt tests/unit/test-vm tests/unit/test-native tests/unit/test-fetch
tests_unit_test_virt_SOURCES = tests/unit/test-virt.c
tests_unit_test_virt_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_vm_SOURCES = tests/unit/test-vm.c
tests_unit_test_vm_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_native_SOURCES = tests/unit/test-native.c
tests_unit_test_native_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_match_SOURCES = tests/unit/test-match.c
tests_unit_test_match_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_hook_xml_SOURCES = tests/unit/test-hook-xml.c
tests_unit_test_hook_xml_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_hook_SOURCES = tests/unit/test-hook.c $(HOST_FIXTURE)
tests_unit_test_hook_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_fetch_SOURCES = tests/unit/test-fetch.c
tests_unit_test_fetch_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
