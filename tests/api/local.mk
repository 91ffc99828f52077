# The daemon's face on the bus, held against the real program on a bus of its own.
dist_check_SCRIPTS = tests/api/check-introspection
TESTS += tests/api/check-introspection
if HAVE_CMOCKA
check_PROGRAMS += tests/api/test-api
TESTS += tests/api/test-api
tests_api_test_api_SOURCES = tests/api/test-api.c \
	tests/api/migd-process.c tests/api/migd-process.h \
	tests/api/private-bus.c tests/api/private-bus.h
tests_api_test_api_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/api
tests_api_test_api_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
