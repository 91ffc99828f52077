# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes wrong while migctl moves a libvirt guest: the phases in which a move is held, whom the trouble meets, and how all must end."""
import json
import time

from cases_native import domain
from cases_reconnect import migrations
from cases_vm import begun, status
from faults import clear_fault, is_stopped, pid_of, set_fault
from network import Network
from stage import Failed, expect, wait_for
from vm_moves import ask_qemu, options

HOLD = "/run/hold"
HOLDER = "/etc/libvirt/hooks/qemu.d/zz-hold"

# Each with the fault point that holds it, and whether it is the destination's migd that stands there.
NATIVE_PHASES = {"memory": None, "undecided": ("before-decision", False), "decided": ("committed", False), "resume": ("in-resume", True),
                 "finishing": ("in-resume", True)}
# memory; QEMU asks whether to switch over, and the source's libvirtd does not hear; all is there, and the destination's does not hear; the
# source's QEMU has ended, and migd is about to let the guest run there; the guest runs there, and the source's libvirtd is in a hook.
LIBVIRT_PHASES = ("memory", "switching", "finishing", "arrived", "runs")
TROUBLES = ("kill-source", "kill-destination", "restart-source", "qemu-source", "qemu-destination", "libvirtd-source", "libvirtd-destination",
            "hook", "network", "network-long")
CUTS = {"network": 3, "network-long": 50}  # seconds; libvirt gives a connection up after 30, migd after 10
RECONNECT = "20s"
QEMU_PORTS = "49152-49215"
MOVED_WHOLE = ("--persistent", "--undefine-source")  # what is left of a guest where it does not run shows then


class Held:
    """A move that was begun and stands in a phase."""

    def __init__(self, guest, engine, source, destination, phase):
        self.guest, self.engine, self.source, self.destination, self.phase = guest, engine, source, destination, phase
        self.stopped = []  # (host, pid) of those who were told to stand
        self.network = Network(source)
        self.unit = f"migctl-{time.monotonic_ns()}"
        self.older = {h: migrations(h) for h in (source, destination)}
        self.defined_there = guest.state(destination)
        begun(guest, destination)
        (self.hold_native if engine == "native" else self.hold_libvirt)()

    def begin(self, *more):
        self.source.start(self.unit, "migctl", "--json", "start", self.guest.name, self.destination.name, *options(self.engine, *MOVED_WHOLE, *more))

    def said(self):
        return self.source.output(self.unit)[-300:]

    def memory_goes(self):
        def goes():
            said = status(self.source, self.guest.name)
            expect(said.get("state") == "running" or self.source.alive(self.unit), f"it ended at once: {self.said()}")
            return said.get("state") == "running" and said["memory-processed"] > 2 << 20
        wait_for("memory goes", goes, 120)

    def hold_native(self):
        at = NATIVE_PHASES[self.phase]
        if not at:
            # It never comes to an end by itself, however quick the machine is.
            self.begin("--bandwidth=4M", "--max-downtime=1ms", "--on-stall=wait", f"--reconnect-timeout={RECONNECT}")
            self.memory_goes()
            return
        self.stand(self.destination if at[1] else self.source, at[0])
        if self.phase == "finishing":
            self.hold_finish()

    def hold_finish(self):
        """QEMU's own part has all arrived, and the destination's libvirtd does not hear that it is to finish: it is told to stand while QEMU cannot
        connect."""
        self.network.refuse(QEMU_PORTS)
        try:
            self.go_on()
            wait_for("QEMU's part begins", lambda: self.network.connects(QEMU_PORTS), 60, 0.02)
            pid = int(self.destination.unit_property("MainPID", "libvirtd.service"))
            self.destination.run("kill", "-STOP", str(pid))
            self.stopped = [(self.destination, pid)]
        finally:
            self.network.mend("both")
        wait_for("QEMU has sent all", lambda: ask_qemu(self.guest, self.source, "query-migrate").get("status") == "completed", 60, 0.1)

    def stand(self, host, point):
        """Begun, and this host's migd stands at this point."""
        pid = pid_of(host)
        set_fault(host, point + ":stop")
        try:
            self.begin()
            wait_for(f"migd of {host.name} at {point}: {self.said()}", lambda: is_stopped(host, pid), 180)
        finally:
            clear_fault(host)
        self.stopped.append((host, pid))

    def hold_libvirt(self):
        if self.phase == "arrived":
            self.stand(self.source, "before-resume-there")
            return
        if self.phase == "runs":
            self.source.write(HOLD, "")
            self.source.write(HOLDER, f'#!/bin/sh\n[ "$2" = stopped ] || exit 0\nwhile [ -e {HOLD} ]; do sleep 0.1; done\n', 0o755)
            self.begin()
            wait_for(f"it runs at the destination: {self.said()}", lambda: self.guest.state(self.destination) == "running", 180, 0.1)
            return
        self.begin("--bandwidth=8M")
        self.memory_goes()
        if self.phase == "memory":
            return
        host, word = (self.source, "pre-switchover") if self.phase == "switching" else (self.destination, "completed")
        pid = int(host.unit_property("MainPID", "libvirtd.service"))
        host.run("kill", "-STOP", str(pid))
        self.stopped.append((host, pid))
        wait_for(f"QEMU says {word}", lambda: ask_qemu(self.guest, self.source, "query-migrate").get("status") == word, 180, 0.2)

    def go_on(self):
        for host, pid in self.stopped:
            if is_stopped(host, pid):
                host.try_run("kill", "-CONT", str(pid))

    def release(self):
        self.go_on()
        self.source.run("rm", "-f", HOLD)

    def clear(self):
        self.release()
        self.network.mend("both")
        self.source.run("rm", "-f", HOLDER)

    # ---- the troubles ----

    def strike(self, trouble):
        verb, _, whom = trouble.partition("-")
        host = self.destination if whom == "destination" else self.source
        if verb == "network":
            self.cut(trouble)
        elif verb == "qemu":
            host.run("kill", "-KILL", host.run("cat", f"/run/libvirt/qemu/{self.guest.name}.pid").strip())
        elif verb == "hook":
            self.kill_hook()
        else:
            self.end_service(host, "libvirtd" if verb == "libvirtd" else "migd", kill=verb == "kill")
        self.release()

    def cut(self, trouble):
        self.network.cut("both")
        self.release()
        memory = (self.engine, self.phase) == ("native", "memory")
        if memory and trouble == "network":
            wait_for("migd has noticed the cut", lambda: self.is_reconnecting(status(self.source, self.guest.name)), step=0.1)
        else:
            time.sleep(CUTS[trouble])
        self.network.mend("both")
        if memory:  # what is survived may end now
            self.source.try_run("migctl", "set", self.guest.name, "max-downtime=5s", "bandwidth=0")

    @staticmethod
    def is_reconnecting(said):
        return said.get("phase") == "reconnecting" or said.get("reconnects", 0) > 0

    def kill_hook(self):
        pids = self.destination.try_run("pgrep", "-f", f"libvirt-hook.* {self.guest.name} started")[1].split()
        expect(pids, "there is no hook to kill")
        for pid in pids:
            self.destination.try_run("kill", "-KILL", pid)

    def end_service(self, host, unit, kill):
        before = host.unit_property("MainPID", unit)
        if kill:
            host.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", unit)
        else:  # in the background: who stands still cannot end
            host.run("systemctl", "restart", "--no-block", unit)

        def there():
            self.release()
            return host.unit_property("ActiveState", unit) == "active" and host.unit_property("MainPID", unit) not in ("0", before)
        wait_for(f"{host.name}'s {unit} started again", there, 180, 0.1)


def processes(guest, host):
    return len(host.try_run("pgrep", "-f", f"qemu-system.*guest={guest.name},")[1].split())


def job(guest, host):
    """What libvirt is doing with it; "": nothing."""
    word = host.try_run("virsh", "domjobinfo", guest.name)[1].split()[2:3]
    return "" if word == ["None"] else f"libvirt's job: {word}"


def unsettled(guest, host):
    """States of migrations of this guest that have not ended."""
    code, out, _ = host.try_run("migctl", "--json", "list", "migrations")
    if code:
        return ["no migd"]
    return [m["State"] for m in json.loads(out)["migrations"] if m["Domain"] == guest.name and m["State"] in ("running", "in-doubt")]


def settle(held, killed_source, seconds=240):
    """Until nothing moves any more and libvirt, QEMU and migd say the same at both hosts: the one where it runs, or None where that may be."""
    guest, last = held.guest, None

    def rests():
        nonlocal last
        held.go_on()
        hosts = (held.source, held.destination)
        states = {h: guest.state(h) for h in hosts}
        qemus = {h: processes(guest, h) for h in hosts}
        known = {h: (domain(guest, h) or {}).get("State", "") for h in hosts}
        last = [(h.name, states[h], f"{qemus[h]} QEMU", f"migd: {known[h] or 'unknown'}", unsettled(guest, h), job(guest, h)) for h in hosts]
        running = [h for h in hosts if states[h] == "running"]
        if any(unsettled(guest, h) for h in hosts) or len(running) > 1:
            return None
        if not running and not killed_source:
            return None
        if all((states[h], qemus[h], known[h]) == ("running", 1, "running") and not job(guest, h) if h in running else
               (states[h] in ("", "shut off") and qemus[h] == 0 and not known[h]) for h in hosts):
            return running or ["nowhere"]
        return None
    try:
        (where,) = wait_for("rest", rests, seconds, 0.3)
    except Failed:
        raise Failed(f"it does not come to rest: {last}; migctl: {held.said()}") from None
    if where == "nowhere":
        return None
    said = ask_qemu(guest, where)
    expect(said["status"] == "running", f"libvirt says running, and QEMU at {where.name}: {said}")
    return where


def ending(held):
    """What either migd says of it at the end: (the source's status of it, the destination's state of it or "" where it has none)."""
    def of_it(host, direction):
        code, out, _ = host.try_run("migctl", "--json", "list", "migrations")
        expect(code == 0, f"{host.name}'s migd does not answer")
        return [m for m in json.loads(out)["migrations"]
                if m["Id"] not in held.older[host] and m["Domain"] == held.guest.name and m["Direction"] == direction]
    there, here = of_it(held.source, "outgoing"), of_it(held.destination, "incoming")
    expect(len(there) == 1, f"the source's migd has not one migration of it in its list but {there}")
    return status(held.source, there[0]["Id"]), here[-1]["State"] if here else ""
