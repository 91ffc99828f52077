# Unit tests: one cmocka program per idea, each in tests/unit/. They link the whole convenience library.
# A test local.mk adds to check_PROGRAMS and TESTS.
include tests/unit/local.mk
include tests/lint/local.mk
include tests/fake/local.mk
include tests/cli/local.mk
include tests/simdev/local.mk
include tests/bench/local.mk
include tests/api/local.mk
include tests/fuzz/local.mk
include tests/recorded/local.mk
include tests/examples/local.mk
include tests/e2e/local.mk
include tests/hosts/local.mk
include tests/kernel/local.mk
