if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-finding tests/unit/test-api-findings
TESTS += tests/unit/test-finding tests/unit/test-api-findings
tests_unit_test_finding_SOURCES = tests/unit/test-finding.c
tests_unit_test_finding_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_api_findings_SOURCES = tests/unit/test-api-findings.c
tests_unit_test_api_findings_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
