# Fuzz targets: with --enable-fuzzing (and CC=clang or an AFL++ compiler) programs for a fuzzer; always programs that replay the corpora.
fuzz_corpus = \
	tests/fuzz/corpus/frames/pages tests/fuzz/corpus/frames/pages-table tests/fuzz/corpus/frames/zero \
	tests/fuzz/corpus/frames/zero-table tests/fuzz/corpus/frames/rounds tests/fuzz/corpus/frames/checksums \
	tests/fuzz/corpus/frames/outside tests/fuzz/corpus/frames/read-only tests/fuzz/corpus/frames/raw \
	tests/fuzz/corpus/frames/hello tests/fuzz/corpus/frames/messages tests/fuzz/corpus/frames/state \
	tests/fuzz/corpus/hello/first tests/fuzz/corpus/hello/details tests/fuzz/corpus/hello/other tests/fuzz/corpus/hello/wrong \
	tests/fuzz/corpus/answers/yes tests/fuzz/corpus/answers/no tests/fuzz/corpus/answers/findings tests/fuzz/corpus/answers/rounds \
	tests/fuzz/corpus/answers/abort tests/fuzz/corpus/answers/control-characters
EXTRA_DIST += $(fuzz_corpus) tests/fuzz/README.md tests/fuzz/run

FUZZ_COMMON = tests/fuzz/fuzz.h tests/fuzz/frames.c tests/fuzz/frames.h tests/fuzz/memory-channel.c tests/fuzz/memory-channel.h
FUZZ_FRAMES = tests/fuzz/fuzz-frames.c $(FUZZ_COMMON)
FUZZ_HELLO = tests/fuzz/fuzz-hello.c $(FAKE_DEVICE) $(FUZZ_COMMON)
FUZZ_ANSWERS = tests/fuzz/fuzz-answers.c $(FUZZ_COMMON)

fuzz_replays = tests/fuzz/replay-frames tests/fuzz/replay-hello tests/fuzz/replay-answers
check_PROGRAMS += $(fuzz_replays)
TESTS += $(fuzz_replays)
tests_fuzz_replay_frames_SOURCES = tests/fuzz/replay.c $(FUZZ_FRAMES)
tests_fuzz_replay_frames_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"frames"'
tests_fuzz_replay_frames_LDADD = libmigd.la
tests_fuzz_replay_hello_SOURCES = tests/fuzz/replay.c $(FUZZ_HELLO)
tests_fuzz_replay_hello_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"hello"'
tests_fuzz_replay_hello_LDADD = libmigd.la
tests_fuzz_replay_answers_SOURCES = tests/fuzz/replay.c $(FUZZ_ANSWERS)
tests_fuzz_replay_answers_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"answers"'
tests_fuzz_replay_answers_LDADD = libmigd.la

if FUZZING
noinst_PROGRAMS += tests/fuzz/fuzz-frames tests/fuzz/fuzz-hello tests/fuzz/fuzz-answers
tests_fuzz_fuzz_frames_SOURCES = $(FUZZ_FRAMES)
tests_fuzz_fuzz_frames_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_frames_LDADD = libmigd.la
tests_fuzz_fuzz_hello_SOURCES = $(FUZZ_HELLO)
tests_fuzz_fuzz_hello_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_hello_LDADD = libmigd.la
tests_fuzz_fuzz_answers_SOURCES = $(FUZZ_ANSWERS)
tests_fuzz_fuzz_answers_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_answers_LDADD = libmigd.la
endif
