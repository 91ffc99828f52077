# Fuzz targets: with --enable-fuzzing (and CC=clang or an AFL++ compiler) programs for a fuzzer; always programs that replay the corpora.
fuzz_corpus = \
	tests/fuzz/corpus/frames/pages tests/fuzz/corpus/frames/pages-table tests/fuzz/corpus/frames/zero \
	tests/fuzz/corpus/frames/zero-table tests/fuzz/corpus/frames/rounds tests/fuzz/corpus/frames/checksums \
	tests/fuzz/corpus/frames/outside tests/fuzz/corpus/frames/read-only tests/fuzz/corpus/frames/raw \
	tests/fuzz/corpus/frames/hello tests/fuzz/corpus/frames/messages tests/fuzz/corpus/frames/state \
	tests/fuzz/corpus/hello/first tests/fuzz/corpus/hello/details tests/fuzz/corpus/hello/other tests/fuzz/corpus/hello/wrong \
	tests/fuzz/corpus/answers/yes tests/fuzz/corpus/answers/no tests/fuzz/corpus/answers/findings tests/fuzz/corpus/answers/rounds \
	tests/fuzz/corpus/answers/abort tests/fuzz/corpus/answers/control-characters \
	tests/fuzz/corpus/state/acknowledged tests/fuzz/corpus/state/ended-twice tests/fuzz/corpus/state/out-of-order tests/fuzz/corpus/state/parts \
	tests/fuzz/corpus/state/too-much tests/fuzz/corpus/state/unknown-device tests/fuzz/corpus/state/whole tests/fuzz/corpus/state/wrong-digest \
	tests/fuzz/corpus/acknowledgements/all-at-once tests/fuzz/corpus/acknowledgements/backwards \
	tests/fuzz/corpus/acknowledgements/claim-too-much tests/fuzz/corpus/acknowledgements/nothing-said \
	tests/fuzz/corpus/acknowledgements/other-type tests/fuzz/corpus/acknowledgements/pages tests/fuzz/corpus/acknowledgements/state \
	tests/fuzz/corpus/acknowledgements/state-all tests/fuzz/corpus/acknowledgements/state-break \
	tests/fuzz/corpus/acknowledgements/state-unknown-device tests/fuzz/corpus/acknowledgements/too-many tests/fuzz/corpus/resume/answer \
	tests/fuzz/corpus/resume/answer-beyond-64-bits tests/fuzz/corpus/resume/answer-negative tests/fuzz/corpus/resume/answer-wrong-count tests/fuzz/corpus/resume/attach \
	tests/fuzz/corpus/resume/key tests/fuzz/corpus/resume/next-key tests/fuzz/corpus/resume/no-key tests/fuzz/corpus/resume/wrong-key \
	tests/fuzz/corpus/greeting/client-hello tests/fuzz/corpus/greeting/client-hello-to-tls tests/fuzz/corpus/greeting/hello \
	tests/fuzz/corpus/greeting/no-hello tests/fuzz/corpus/greeting/outcome tests/fuzz/corpus/greeting/path \
	tests/fuzz/corpus/greeting/plain-to-tls tests/fuzz/corpus/greeting/query tests/fuzz/corpus/greeting/text \
	tests/fuzz/corpus/greeting/wrong-token
EXTRA_DIST += $(fuzz_corpus) tests/fuzz/README.md tests/fuzz/run

FUZZ_COMMON = tests/fuzz/fuzz.h tests/fuzz/frames.c tests/fuzz/frames.h tests/fuzz/memory-channel.c tests/fuzz/memory-channel.h
FUZZ_FRAMES = tests/fuzz/fuzz-frames.c $(FUZZ_COMMON)
FUZZ_HELLO = tests/fuzz/fuzz-hello.c $(FAKE_DEVICE) $(FUZZ_COMMON)
FUZZ_ANSWERS = tests/fuzz/fuzz-answers.c $(FUZZ_COMMON)
FUZZ_STATE = tests/fuzz/fuzz-state.c $(FUZZ_COMMON)
FUZZ_ACKNOWLEDGEMENTS = tests/fuzz/fuzz-acknowledgements.c $(FUZZ_COMMON)
FUZZ_RESUME = tests/fuzz/fuzz-resume.c $(FUZZ_COMMON)
FUZZ_GREETING = tests/fuzz/fuzz-greeting.c $(FUZZ_COMMON)

fuzz_replays = tests/fuzz/replay-frames tests/fuzz/replay-hello tests/fuzz/replay-answers \
	tests/fuzz/replay-state tests/fuzz/replay-acknowledgements tests/fuzz/replay-resume tests/fuzz/replay-greeting
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
tests_fuzz_replay_state_SOURCES = tests/fuzz/replay.c $(FUZZ_STATE)
tests_fuzz_replay_state_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"state"'
tests_fuzz_replay_state_LDADD = libmigd.la
tests_fuzz_replay_acknowledgements_SOURCES = tests/fuzz/replay.c $(FUZZ_ACKNOWLEDGEMENTS)
tests_fuzz_replay_acknowledgements_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"acknowledgements"'
tests_fuzz_replay_acknowledgements_LDADD = libmigd.la
tests_fuzz_replay_resume_SOURCES = tests/fuzz/replay.c $(FUZZ_RESUME)
tests_fuzz_replay_resume_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"resume"'
tests_fuzz_replay_resume_LDADD = libmigd.la
tests_fuzz_replay_greeting_SOURCES = tests/fuzz/replay.c $(FUZZ_GREETING)
tests_fuzz_replay_greeting_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_TARGET='"greeting"'
tests_fuzz_replay_greeting_LDADD = libmigd.la

if FUZZING
noinst_PROGRAMS += tests/fuzz/fuzz-frames tests/fuzz/fuzz-hello tests/fuzz/fuzz-answers \
	tests/fuzz/fuzz-state tests/fuzz/fuzz-acknowledgements tests/fuzz/fuzz-resume tests/fuzz/fuzz-greeting
tests_fuzz_fuzz_frames_SOURCES = $(FUZZ_FRAMES)
tests_fuzz_fuzz_frames_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_frames_LDADD = libmigd.la
tests_fuzz_fuzz_hello_SOURCES = $(FUZZ_HELLO)
tests_fuzz_fuzz_hello_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_hello_LDADD = libmigd.la
tests_fuzz_fuzz_answers_SOURCES = $(FUZZ_ANSWERS)
tests_fuzz_fuzz_answers_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_answers_LDADD = libmigd.la
tests_fuzz_fuzz_state_SOURCES = $(FUZZ_STATE)
tests_fuzz_fuzz_state_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_state_LDADD = libmigd.la
tests_fuzz_fuzz_acknowledgements_SOURCES = $(FUZZ_ACKNOWLEDGEMENTS)
tests_fuzz_fuzz_acknowledgements_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_acknowledgements_LDADD = libmigd.la
tests_fuzz_fuzz_resume_SOURCES = $(FUZZ_RESUME)
tests_fuzz_fuzz_resume_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_resume_LDADD = libmigd.la
tests_fuzz_fuzz_greeting_SOURCES = $(FUZZ_GREETING)
tests_fuzz_fuzz_greeting_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_greeting_LDADD = libmigd.la
endif
