# check-unit holds the units.
# check-includes holds the layers of the code (the table is at the top of the script), check-format how it is set,
# check-findings the page of findings.
dist_noinst_SCRIPTS += tests/lint/check-includes tests/lint/check-format tests/lint/check-findings tests/lint/check-unit
TESTS += tests/lint/check-includes tests/lint/check-format tests/lint/check-findings tests/lint/check-unit
# check-guide holds doc/integration.md against the examples and the interface.
dist_noinst_SCRIPTS += tests/lint/check-guide
TESTS += tests/lint/check-guide
# check-manuals holds the manual pages against the programs, the keys and the interface.
dist_noinst_SCRIPTS += tests/lint/check-manuals
TESTS += tests/lint/check-manuals
# check-packages holds the lists of the packagings against what is installed.
dist_noinst_SCRIPTS += tests/lint/check-packages
TESTS += tests/lint/check-packages
# check-phases holds that every phase of a migration is a fault point.
dist_noinst_SCRIPTS += tests/lint/check-phases
TESTS += tests/lint/check-phases
# check-calls holds that no files call each other in a circle; it asks the objects of the build.
dist_noinst_SCRIPTS += tests/lint/check-calls
TESTS += tests/lint/check-calls
