# Tests of migctl against a fake migd on a private bus.
check_PROGRAMS += tests/cli/json-get
tests_cli_json_get_SOURCES = tests/cli/json-get.c
tests_cli_json_get_LDADD = $(JSON_LIBS)

CLI_TESTS = tests/cli/usage.sh tests/cli/register.sh tests/cli/register-pid.sh tests/cli/follow.sh tests/cli/completion.sh tests/cli/completion-shells.sh tests/cli/check.sh tests/cli/devices.sh tests/cli/libvirt.sh tests/cli/host.sh
TESTS += $(CLI_TESTS)
EXTRA_DIST += $(CLI_TESTS) tests/cli/lib.sh tests/cli/holder.py
