if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-region tests/unit/test-iova-map
TESTS += tests/unit/test-region tests/unit/test-iova-map
tests_unit_test_region_SOURCES = tests/unit/test-region.c
tests_unit_test_region_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_iova_map_SOURCES = tests/unit/test-iova-map.c tests/unit/test-random.h
tests_unit_test_iova_map_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
