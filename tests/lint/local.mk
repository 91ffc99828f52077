# check-includes holds the layers of the code (the table is at the top of the script), check-format how it is set.
dist_noinst_SCRIPTS += tests/lint/check-includes tests/lint/check-format
TESTS += tests/lint/check-includes tests/lint/check-format
