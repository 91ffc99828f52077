# Two hosts with systemd, and a fresh machine. Not part of `make check`: they need root, mmdebstrap and systemd-nspawn.
dist_noinst_SCRIPTS += tests/hosts/fresh tests/hosts/run
EXTRA_DIST += tests/hosts/stage.py tests/hosts/network.py tests/hosts/figures.py tests/hosts/workload.py tests/hosts/faults.py tests/hosts/cases_journal.py tests/hosts/cases_link.py tests/hosts/cases_package.py tests/hosts/cases_parallel.py tests/hosts/cases_reconnect.py tests/hosts/cases_remote.py tests/hosts/cases_service.py tests/hosts/cases_sweep.py tests/hosts/cases_to_and_fro.py tests/hosts/cases_tls.py tests/hosts/cases_users.py tests/hosts/cases_rights.py tests/hosts/cases_connections.py
# The stage with libvirt, and the guest that proves its memory.
EXTRA_DIST += tests/hosts/libvirt_stage.py tests/hosts/guest.py tests/hosts/cases_libvirt.py tests/hosts/cases_hook.py tests/hosts/cases_native.py tests/hosts/cases_virsh.py tests/hosts/cases_resolve.py tests/hosts/cases_vm.py tests/guest/init.c
EXTRA_DIST += tests/hosts/vm_moves.py tests/hosts/vm_trouble.py tests/hosts/cases_vm_hops.py tests/hosts/cases_vm_stall.py tests/hosts/cases_vm_failures.py tests/hosts/cases_vm_figures.py
