# Fuzz targets: with --enable-fuzzing (and CC=clang) programs for libFuzzer; always a program that replays the corpus.
fuzz_corpus_frames = \
	tests/fuzz/corpus/frames/pages tests/fuzz/corpus/frames/pages-table tests/fuzz/corpus/frames/zero \
	tests/fuzz/corpus/frames/zero-table tests/fuzz/corpus/frames/rounds tests/fuzz/corpus/frames/checksums \
	tests/fuzz/corpus/frames/outside tests/fuzz/corpus/frames/read-only tests/fuzz/corpus/frames/raw \
	tests/fuzz/corpus/frames/hello tests/fuzz/corpus/frames/messages tests/fuzz/corpus/frames/state
EXTRA_DIST += $(fuzz_corpus_frames)

check_PROGRAMS += tests/fuzz/replay-frames
TESTS += tests/fuzz/replay-frames
tests_fuzz_replay_frames_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-frames.c tests/fuzz/fuzz.h
tests_fuzz_replay_frames_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"frames"'
tests_fuzz_replay_frames_LDADD = libmigd.la

if FUZZING
noinst_PROGRAMS += tests/fuzz/fuzz-frames
tests_fuzz_fuzz_frames_SOURCES = tests/fuzz/fuzz-frames.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_frames_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_frames_LDADD = libmigd.la
endif
