# The daemon's face on the bus, held against the real program on a bus of its own.
dist_noinst_SCRIPTS += tests/api/check-introspection
TESTS += tests/api/check-introspection tests/api/config.sh tests/api/kept.sh tests/api/hook.sh
EXTRA_DIST += tests/api/config.sh tests/api/kept.sh tests/api/hook.sh
if HAVE_CMOCKA
check_PROGRAMS += tests/api/test-api tests/api/test-api-devices tests/api/test-api-migration
TESTS += tests/api/test-api tests/api/test-api-devices tests/api/test-api-migration
api_fixture = \
	tests/api/api-fixture.c tests/api/api-fixture.h \
	tests/api/migd-process.c tests/api/migd-process.h \
	tests/api/private-bus.c tests/api/private-bus.h
tests_api_test_api_SOURCES = tests/api/test-api.c $(api_fixture)
tests_api_test_api_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/api
tests_api_test_api_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_api_test_api_devices_SOURCES = tests/api/test-api-devices.c $(api_fixture)
tests_api_test_api_devices_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/api
tests_api_test_api_devices_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_api_test_api_migration_SOURCES = tests/api/test-api-migration.c $(api_fixture)
tests_api_test_api_migration_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/api
tests_api_test_api_migration_LDADD = libmigd.la $(CMOCKA_LIBS)
endif
