# SPDX-License-Identifier: LGPL-2.1-or-later
"""The end of a guest whose memory migd moves: whoever waited for it finds that libvirt's part has ended too, or is told that it failed."""
import time

from cases_hook import told
from cases_native import domain, moves, ready, registered
from cases_reconnect import migrations
from cases_vm import begun, status
from faults import clear_fault, is_stopped, pid_of, prepare, set_fault
from stage import expect, wait_for
from vm_moves import ask_qemu
from vm_trouble import HOLD, HOLDER, Held

LIBVIRT_SOCKETS = [f"libvirtd{which}.socket" for which in ("", "-ro", "-admin", "-tcp")]
STANDS = 3  # seconds for which nothing may happen; who does not wait needs less than one


class HeldEnd:
    """libvirt at the source stands in a hook when the guest runs at the destination already, and knows of no end."""

    def __init__(self, guest, source, destination, unit, *command):
        self.guest, self.source, self.destination, self.unit = guest, source, destination, unit
        registered(guest, source)
        begun(guest, destination)
        source.write(HOLD, "")
        source.write(HOLDER, f'#!/bin/sh\n[ "$2" = stopped ] || exit 0\nwhile [ -e {HOLD} ]; do sleep 0.1; done\n', 0o755)
        older = migrations(source)
        source.start(unit, *command)

        def completed():
            said = status(source, guest.name)
            return said.get("id", "") and said["id"] not in older and said["state"] == "completed"
        wait_for("migd says that it is completed", completed, 180, 0.1)

    def still_waits(self):
        time.sleep(STANDS)
        expect(self.source.alive(self.unit), f"{self.unit} did not wait for libvirt: {self.source.output(self.unit)[-400:]}")

    def has_ended(self):
        wait_for(f"{self.unit} ends", lambda: not self.source.alive(self.unit), 120, 0.1)
        return self.source.output(self.unit)

    def let_go(self):
        self.source.run("rm", "-f", HOLD)


def case_native_end_is_waited_for(stage):
    """When migctl start and migctl evacuate return, the source's libvirt has let the guest go, whatever it had to do before."""
    a, b = stage.hosts
    guest = ready(stage)
    verbs = {"start": f"migctl start {guest.name} {b.name} --engine=native", "evacuate": f"migctl evacuate {a.name}"}
    for (verb, command), (source, destination) in zip(verbs.items(), ((a, b), (b, a))):
        held = HeldEnd(guest, source, destination, verb, "sh", "-c", f"{command} && virsh -q domstate {guest.name}")
        expect(status(source, guest.name)["engine"] == "native", f"{verb} has QEMU move it: {status(source, guest.name)}")
        held.still_waits()
        held.let_go()
        said = held.has_ended().strip()
        expect(said.endswith(("shut off", f"no domain with matching name '{guest.name}'")) or "failed to get domain" in said,
               f"libvirt's word when migctl {verb} had returned: {said[-300:]}")
        guest.alone(destination, source)
    moves(guest, a, b)


def case_native_end_fails(stage):
    """libvirtd at the source is killed while it ends its part: the guest runs at the destination, and migctl start says what is not as it should be. A migd
    that is stopped lets nobody wait."""
    a, b = stage.hosts
    guest = ready(stage)
    held = HeldEnd(guest, a, b, "start", "sh", "-c", f"migctl start {guest.name} {b.name} --engine=native; echo exit $?")
    a.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "libvirtd")
    held.let_go()
    said = held.has_ended()
    expect("libvirt did not finish its part" in said and said.strip().endswith("exit 1"), f"migctl start: {said[-400:]}")
    told = status(a, guest.name)
    expect(told["state"] == "completed" and "did not finish" in told["message"] and "virsh list" in told["hint"], f"migctl status: {told}")
    a.try_run("systemctl", "start", "libvirtd")
    guest.alone(b, a)

    held = HeldEnd(guest, b, a, "stopped", "sh", "-c", f"migctl start {guest.name} {a.name} --engine=native; echo exit $?")
    b.run("systemctl", "stop", "migd")
    said = held.has_ended()
    expect(said.strip().endswith("exit 0"), f"with migd stopped migctl start says: {said[-400:]}")
    held.let_go()
    guest.alone(a, b)


def case_native_never_whole(stage):
    """Of a guest that arrived, and whose memory migd did not begin to move, since it failed or was killed then, the operator hears that; QEMU does not move it
    whole after all. The next one, which virsh moves, it does."""
    a, b = stage.hosts
    guest = ready(stage, wait="10s")
    for host in stage.hosts:
        prepare(host)
    for how in ("fail", "stop"):
        registered(guest, a)
        wait_for("libvirt is done with it", lambda: "None" in a.try_run("virsh", "domjobinfo", guest.name)[1], 60, 0.2)
        begun(guest, b)
        before, pid = guest.seen(a), pid_of(a)
        set_fault(a, f"arrived:{how}")
        a.start(how, "sh", "-c", f"migctl start {guest.name} {b.name} --engine=native; echo exit $?")
        if how == "stop":
            wait_for("migd at the source stands", lambda pid=pid: is_stopped(a, pid), 180, 0.1)
            clear_fault(a)
            a.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
        wait_for("migctl ends", lambda how=how: not a.alive(how), 120, 0.1)
        clear_fault(a)
        expect("exit 0" not in a.output(how), f"it did not fail: {a.output(how)[-400:]}")
        wait_for("the destination gives it up", lambda: guest.state(b) in ("", "shut off"), 120, 0.2)
        guest.alone(a, b)
        guest.check(a, before)
        wait_for("the destination forgets it", lambda: domain(guest, b) is None, 60, 0.1)
        expect(not told(b, "QEMU moves it"), f"the destination's migd: {b.journal('-u', 'migd')[-600:]}")
        expect(told(b, "the guest stays at the source"), f"the destination's migd: {b.journal('-u', 'migd')[-600:]}")
    registered(guest, a)
    code, _, errors = guest.virsh_migrate(a, b)
    expect(code == 0, f"virsh migrate: {errors.strip()[-400:]}")
    guest.alone(b, a)
    expect(told(b, "no migd came for the memory of vm: QEMU moves it"), f"the destination's migd: {b.journal('-u', 'migd')[-600:]}")


def case_native_given_back_alone(stage):
    """libvirtd at the source dies when the guest is decided for the destination, and stays away: the destination gives it back, and migd lets it go on,
    since nobody else would. libvirt finds it so when it is back."""
    a, b = stage.hosts
    a.write("/etc/systemd/system/libvirtd.service.d/stays.conf", "[Service]\nRestart=no\n")
    a.run("systemctl", "daemon-reload")
    guest = ready(stage, wait="60s")
    for host in stage.hosts:
        prepare(host)
    registered(guest, a)
    before = guest.seen(a)
    held = Held(guest, "native", a, b, "decided")
    expect(ask_qemu(guest, a)["status"] == "paused", f"decided, and QEMU says {ask_qemu(guest, a)}")
    a.run("systemctl", "stop", *LIBVIRT_SOCKETS)  # nobody who asks for it starts it
    a.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "libvirtd")
    wait_for("libvirtd is gone", lambda: a.unit_property("ActiveState", "libvirtd") == "failed", 60, 0.1)
    held.clear()
    wait_for("QEMU at the source goes on", lambda: ask_qemu(guest, a)["status"] == "running", 180, 0.2)
    expect(a.unit_property("ActiveState", "libvirtd") == "failed", "somebody has started libvirtd, so this shows nothing")
    said = wait_for("migd says so", lambda: (lambda s: s if s["state"] == "failed" else None)(status(a, guest.name)), 60, 0.1)
    expect(said["error"] == "Returned", f"migctl status: {said}")
    a.run("systemctl", "start", *LIBVIRT_SOCKETS, "libvirtd")
    guest.alone(a, b)
    guest.check(a, before)


for case in (case_native_end_is_waited_for, case_native_end_fails, case_native_never_whole, case_native_given_back_alone):
    case.libvirt = True
for case in (case_native_never_whole, case_native_given_back_alone):
    case.faults = True
