# What released versions said on the wire (README.md), and the program that recorded it.
EXTRA_DIST += tests/recorded/README.md tests/recorded/0.1.0/plain tests/recorded/0.1.0/verified
dist_noinst_SCRIPTS += tests/recorded/record
if HAVE_CMOCKA
check_PROGRAMS += tests/recorded/recorder
tests_recorded_recorder_SOURCES = tests/recorded/recorder.c tests/fake/two-sides.c tests/fake/two-sides.h
tests_recorded_recorder_LDADD = libmigd.la $(CMOCKA_LIBS) -ldl
endif
