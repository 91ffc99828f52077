# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that stops itself at a point of a migration (daemon/base/fault.h), what is done to it there, and how it must end."""
import json
import os
import re
import time

from network import Network
from stage import Failed, expect, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "../..")
FAULT_FILE = "/run/migd-fault"
OTHER_POINTS = (("before-decision", False), ("in-before-prepared", True), ("cannot-run", True))  # those that are no phase


def phases():
    """From the one table of phases: (name of the fault point, whether it is the destination that passes it)."""
    with open(os.path.join(SOURCE, "include/migd-states.h"), encoding="utf-8") as f:
        table = re.findall(r'X\(MIG_PHASE_\w+, "([\w-]+)", (\d)\)', f.read())
    expect(len(table) >= 20, "the table of phases was not found")
    for word, directions in table:
        if int(directions) & 1:
            yield word, False
        if int(directions) & 2:
            yield "in-" + word, True


def points():
    yield from phases()
    yield from OTHER_POINTS


def prepare(host):
    """The service looks into a file for its fault, so that it need not be started again for one; and is started again as often as it dies."""
    host.write("/etc/systemd/system/migd.service.d/fault.conf",
               f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=MIGD_FAULT=@{FAULT_FILE}\nRestartSec=50ms\nWatchdogSec=0\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "migd")


def set_fault(host, fault):
    host.write(FAULT_FILE, fault + "\n")


def clear_fault(host):
    host.run("rm", "-f", FAULT_FILE)


def pid_of(host):
    return int(host.unit_property("MainPID"))


def is_stopped(host, pid):
    code, out, _ = host.try_run("cat", f"/proc/{pid}/stat")
    return code == 0 and out.rpartition(")")[2].split()[:1] == ["T"]


def shown(host, name):
    code, out, _ = host.try_run("migctl", "--json", "show", name)
    return json.loads(out) if code == 0 else {"State": "unknown"}


def status(host, name):
    code, out, _ = host.try_run("migctl", "--json", "status", name)
    return json.loads(out) if code == 0 else {}


class Stopped:
    """A migration that was started and stands at a point: there its host's daemon has stopped itself."""

    def __init__(self, w, source, destination, point, on_destination, verify="strict"):
        self.w, self.source, self.destination, self.point = w, source, destination, point
        self.host, self.peer = (destination, source) if on_destination else (source, destination)
        self.network = Network(source)
        self.pid = pid_of(self.host)
        set_fault(self.host, point + ":stop")
        options = ["--verify=" + verify, "--timeout", "90s"]
        if "precopy" in point or "reconnecting" in point:
            options += ["--max-downtime", "1ms", "--on-stall", "wait"]
        if "rollback" in point:
            options += ["--max-downtime", "1ms", "--on-stall", "abort", "--max-rounds", "1"]
        self.unit = f"migctl-{time.monotonic_ns()}"
        source.start(self.unit, "migctl", "--json", "start", w.name, destination.name, *options)
        cut = "reconnecting" in point
        if cut:
            wait_for("in its rounds", lambda: status(source, w.name).get("phase") == "precopy")
            self.network.cut("reset")
        try:
            wait_for(f"{self.host.name} at {point}: {source.output(self.unit)[-300:]}", lambda: is_stopped(self.host, self.pid))
        finally:
            clear_fault(self.host)
            if cut:
                self.network.mend("reset")

    def go_on(self):
        if is_stopped(self.host, self.pid):
            self.host.try_run("kill", "-CONT", str(self.pid))

    def strike(self, how):
        """kill, restart: the daemon that stands; kill-peer, restart-peer: the other one. Ends when the new one is there."""
        verb, _, whom = how.partition("-")
        victim = self.peer if whom else self.host
        before = pid_of(victim)
        if verb == "kill":
            victim.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
        else:  # in the background: a service that stands still cannot end, and its peer may wait for it
            victim.run("systemctl", "restart", "--no-block", "migd")

        def there():
            self.go_on()
            return victim.unit_property("ActiveState") == "active" and pid_of(victim) not in (0, before)
        wait_for(f"{victim.name} started again at {self.point}", there)
        self.go_on()


def settle(w, hosts, what, go_on=None, seen=None):
    """Until exactly one host runs the domain and both daemons say so. Which one it is. go_on: called again and again meanwhile;
    seen: a set that gets the states on the way."""
    last = None

    def one():
        nonlocal last
        if go_on:
            go_on()
        running = [h for h in hosts if w.running(h)]
        states = {h: shown(h, w.name)["State"] for h in hosts}
        if seen is not None:
            seen.update(states.values())
        last = [(h.name, states[h], "runs" if h in running else "stands") for h in hosts]
        if len(running) == 1 and all(states[h] == "running" if h in running else states[h] in ("waiting", "departed") for h in hosts):
            return running[0]
        return None
    try:
        return wait_for("one", one, step=0.1)
    except Failed:
        raise Failed(f"{what}: it does not come to rest with exactly one side running: {last}") from None


def judge(w, runs, idle, what):
    """The device runs where the workload does, and only there; nobody tracks; no write was lost."""
    before = {h: w.device_sequence(h) for h in (runs, idle)}
    wait_for(f"{what}: the device of {runs.name} writing", lambda: w.device_sequence(runs) > before[runs])
    expect(w.device_sequence(idle) == before[idle], f"{what}: the device of {idle.name} writes, too")
    for host in (runs, idle):
        wait_for(f"{what}: all trackers of {host.name} off", lambda h=host: not [t for t in shown(h, w.name)["Trackers"] if t["started"]])
        wait_for(f"{what}: the device of {host.name} tracks no more", lambda h=host: not w.device_logs(h))
    w.judge(runs, what)


def ready(w, here, there):
    """The domain runs here; there it waits for the way back."""
    if shown(there, w.name)["State"] == "departed":
        w.remove(there)
        w.place(there, incoming=True)
    expect(shown(there, w.name)["State"] == "waiting", f"{there.name} does not wait but is {shown(there, w.name)['State']}")
    expect(shown(here, w.name)["State"] == "running", f"{here.name} does not run")
