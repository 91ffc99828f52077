if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test-bitmap tests/unit/test-words
TESTS += tests/unit/test-bitmap tests/unit/test-words
tests_unit_test_bitmap_SOURCES = tests/unit/test-bitmap.c tests/unit/test-random.h
tests_unit_test_bitmap_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_words_SOURCES = tests/unit/test-words.c tests/unit/test-random.h
tests_unit_test_words_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
