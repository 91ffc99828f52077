# The inner loops over bitmaps and pages against plain reads.
check_PROGRAMS += tests/bench/bench-memory
tests_bench_bench_memory_SOURCES = tests/bench/bench-memory.c
tests_bench_bench_memory_LDADD = libmigd.la
bench_programs += tests/bench/bench-memory
