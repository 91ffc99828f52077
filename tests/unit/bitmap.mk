if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-bitmap
TESTS += tests/unit/test-bitmap
tests_unit_test_bitmap_SOURCES = tests/unit/test-bitmap.c tests/unit/test-random.h
tests_unit_test_bitmap_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
