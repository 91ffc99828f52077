# SPDX-License-Identifier: LGPL-2.1-or-later
# End-to-end runs with real processes. Not part of `make check`: they want dbus-daemon, python3 and a minute or more.
dist_noinst_SCRIPTS += contrib/quickstart tests/run tests/e2e/run
EXTRA_DIST += .ci/run tests/judging.py tests/interrupt.py \
	tests/e2e/cases_check.py tests/e2e/cases_compatibility.py tests/e2e/cases_connections.py tests/e2e/cases_hostile.py tests/e2e/cases_kill.py tests/e2e/cases_metrics.py tests/e2e/cases_misbehaviour.py tests/e2e/cases_moves.py tests/e2e/cases_reconnect.py tests/e2e/cases_passthrough.py \
	tests/e2e/cases_qemu.py tests/e2e/cases_stalls.py tests/e2e/cases_tls.py tests/e2e/harness.py tests/e2e/openmetrics.py tests/e2e/registry.py tests/e2e/qemu.py tests/qemu/guest.c tests/e2e/wire.py tests/e2e/vfio_user.py

.PHONY: check-e2e
check-e2e: all
	$(top_srcdir)/tests/e2e/run --build $(abs_top_builddir) --logs $(abs_top_builddir)/e2e-logs \
		$(if $(FAULT_BUILD),--fault-build $(FAULT_BUILD))
