# Whether XOR with the last version of a page would pay.
check_PROGRAMS += tests/bench/bench-xor
tests_bench_bench_xor_SOURCES = tests/bench/bench-xor.c
tests_bench_bench_xor_LDADD = libmigd.la
bench_programs += tests/bench/bench-xor
