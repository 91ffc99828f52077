# What it costs to ask which pages were written. The kernel lab runs it, too, hence a program of `make check`.
check_PROGRAMS += tests/bench/bench-trackers
tests_bench_bench_trackers_SOURCES = tests/bench/bench-trackers.c
tests_bench_bench_trackers_LDADD = libmigd.la
bench_programs += tests/bench/bench-trackers
