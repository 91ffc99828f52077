# Programs that tests/bench/run compares with each other; "make bench" builds and runs them. "make check" builds them too, so that they keep
# up with what they call.
check_PROGRAMS += tests/bench/plain-transfer tests/bench/plain-cipher tests/bench/bench-transfer
tests_bench_plain_transfer_SOURCES = tests/bench/plain-transfer.c tests/bench/bench.h
tests_bench_plain_cipher_SOURCES = tests/bench/plain-cipher.c tests/bench/bench.h
tests_bench_plain_cipher_LDADD = $(OPENSSL_LIBS)
tests_bench_bench_transfer_SOURCES = tests/bench/bench-transfer.c tests/bench/bench.h
tests_bench_bench_transfer_LDADD = libmigd.la
bench_programs = tests/bench/plain-transfer tests/bench/plain-cipher tests/bench/bench-transfer
CLEANFILES += $(bench_programs)
dist_noinst_SCRIPTS += tests/bench/run

bench: all $(bench_programs)
	$(AM_V_at)TOP_BUILDDIR='$(abs_top_builddir)' $(srcdir)/tests/bench/run $(BENCH_FLAGS)
.PHONY: bench
include tests/bench/memory.mk
include tests/bench/trackers.mk
include tests/bench/xor.mk
# Cases with real daemons, on the stage of the end-to-end runs.
check_PROGRAMS += tests/bench/plain-read
tests_bench_plain_read_SOURCES = tests/bench/plain-read.c tests/bench/bench.h
bench_programs += tests/bench/plain-read
EXTRA_DIST += tests/bench/stage.py tests/bench/case_bulk.py tests/bench/case_compression.py tests/bench/case_blackout.py tests/bench/case_sparse.py \
	tests/bench/case_idle.py
