# Fakes for tests. A fake migd, for the tests of its clients.
check_PROGRAMS += tests/fake/fake-migd
tests_fake_fake_migd_SOURCES = tests/fake/fake-migd.c tests/fake/fake-devices.c tests/fake/fake-story.c tests/fake/fake.h
tests_fake_fake_migd_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cli
tests_fake_fake_migd_LDADD = libmigctl.la
# A service manager for one service, which keeps its descriptors.
check_PROGRAMS += tests/fake/keeper
tests_fake_keeper_SOURCES = tests/fake/keeper.c
# A relay between two daemons that damages device state on its way.
check_PROGRAMS += tests/fake/relay
tests_fake_relay_SOURCES = tests/fake/relay-main.c tests/fake/relay.c tests/fake/relay.h
tests_fake_relay_LDADD = libmigd.la
