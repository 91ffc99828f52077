# SPDX-License-Identifier: LGPL-2.1-or-later
"""What libvirt does without migd where a network is away just while it finishes: for people to read, and only when it is named. `virsh migrate` leaves the
guest running at both hosts; with --suspend it runs at one."""
import time

from cases_vm import begun
from libvirt_stage import Guest, moved_by_qemu
from network import Network
from stage import expect, wait_for
from vm_moves import ask_qemu

CUT = 50  # seconds; libvirt gives a connection up after 30


def counts(guest, host):
    line = guest.seen(host)
    return line["n"] if line else 0


def cut_while_finishing(stage, *options):
    """(libvirt's states at both hosts, whether the guest counted on at either) after a cut of the network in libvirt's Finish."""
    a, b = stage.hosts
    for host in stage.hosts:
        host.run("systemctl", "start", "libvirtd")
    guest = Guest(stage, "vm", size_mib=128, fill_mib=48, rate=300, second_monitor=True, memory=moved_by_qemu())
    guest.start(a)
    begun(guest, b)
    network = Network(a)
    a.start("virsh-migrate", *guest.migrate_command(b, "--bandwidth", "8", *options))
    wait_for("QEMU moves memory", lambda: ask_qemu(guest, a, "query-migrate").get("status") == "active", 120, 0.2)
    pid = b.unit_property("MainPID", "libvirtd.service")
    b.run("kill", "-STOP", pid)
    try:
        wait_for("QEMU says completed", lambda: ask_qemu(guest, a, "query-migrate").get("status") == "completed", 180, 0.2)
        network.cut("both")
    finally:
        b.run("kill", "-CONT", pid)
    time.sleep(CUT)
    network.mend("both")
    wait_for("virsh ends", lambda: not a.alive("virsh-migrate"), 120)
    print(f"# virsh: {a.output('virsh-migrate').strip()}", flush=True)
    time.sleep(5)
    before = {h: counts(guest, h) for h in stage.hosts}
    time.sleep(5)
    states = tuple(guest.state(h) for h in stage.hosts)
    grows = tuple(counts(guest, h) > before[h] for h in stage.hosts)
    print(f"# virsh {' '.join(options)}: {a.name} {states[0]}, {b.name} {states[1]}; counts on: {grows}", flush=True)
    return states, grows


def case_vm_alone(stage):
    states, grows = cut_while_finishing(stage)
    expect(states == ("running", "running") and all(grows), f"libvirt alone does not do it here: {states}, counts on: {grows}")


def case_vm_alone_suspend(stage):
    states, grows = cut_while_finishing(stage, "--suspend")
    expect(states == ("running", "paused") and grows == (True, False), f"{states}, counts on: {grows}")


for case in (case_vm_alone, case_vm_alone_suspend):
    case.libvirt = case.named_only = True
