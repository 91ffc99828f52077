# Holds the layers of the code; the table is at the top of the script.
dist_noinst_SCRIPTS += tests/lint/check-includes
TESTS += tests/lint/check-includes
