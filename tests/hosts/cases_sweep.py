# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of a service at every point of a migration, on two hosts whose service manager starts it again; and migrations to and fro in a row."""
import os
import random
import re
import time

from stage import Failed, expect, wait_for
from workload import Workload

HERE = os.path.dirname(os.path.abspath(__file__))
FAULT_FILE = "/run/migd-fault"


def phases():
    """From the one table of phases: (name of the fault point, whether the destination passes it)."""
    with open(os.path.join(HERE, "../../include/migd-states.h"), encoding="utf-8") as f:
        table = re.findall(r'X\(MIG_PHASE_\w+, "([\w-]+)", (\d)\)', f.read())
    expect(len(table) >= 20, "the table of phases was not found")
    for word, directions in table:
        if int(directions) & 1:
            yield word, False
        if int(directions) & 2:
            yield "in-" + word, True


def prepare(host):
    """The service takes a fault from a file that is there only for one start."""
    host.write("/etc/systemd/system/migd.service.d/fault.conf",
               f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironmentFile=-{FAULT_FILE}\nRestartSec=50ms\nWatchdogSec=0\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "migd")


def pid_of(host):
    return host.unit_property("MainPID")


def is_stopped(host, pid):
    code, out, _ = host.try_run("cat", f"/proc/{pid}/stat")
    return code == 0 and out.rpartition(")")[2].split()[:1] == ["T"]


def set_fault(host, fault):
    if fault:
        host.write(FAULT_FILE, f"MIGD_FAULT={fault}\n")
    host.run("systemctl", "restart", "migd")
    host.run("rm", "-f", FAULT_FILE)


def facts(host, name):
    """(state of the domain, is its VMM running)"""
    import json
    code, out, _ = host.try_run("migctl", "--json", "show", name)
    return json.loads(out)["State"] if code == 0 else "unknown", None


def settle(w, hosts, what):
    """Until exactly one host runs the domain, and the daemons say the same. Which one it is."""
    def one():
        running = [h for h in hosts if w.running(h)]
        states = {h: facts(h, w.name)[0] for h in hosts}
        if len(running) == 1 and states[running[0]] == "running" and all(states[h] in ("waiting", "departed") for h in hosts if h not in running):
            return running[0]
        settle.last = [(h.name, states[h], h in running) for h in hosts]
        return None
    try:
        return wait_for("one", one, 30, 0.1)
    except Failed:
        raise Failed(f"{what}: it does not come to rest with exactly one side running: {settle.last}") from None


def ready_other(w, here, there):
    """The domain runs here; there it waits for the way back."""
    state = facts(there, w.name)[0]
    if state == "departed":
        w.remove(there)
        w.place(there, incoming=True)
    expect(facts(there, w.name)[0] == "waiting", f"{there.name} does not wait but is {facts(there, w.name)[0]}")
    expect(facts(here, w.name)[0] == "running", f"{here.name} does not run")


def stop_at(w, source, destination, point, on_destination):
    """A migration that stands at the point; the host whose service has stopped itself there, or None when the point was not passed."""
    victim = destination if on_destination else source
    set_fault(victim, point + ":stop")
    pid = pid_of(victim)
    options = ["--verify", "--timeout", "20s"]
    if point == "precopy":
        options += ["--max-downtime", "1ms", "--on-stall", "wait"]
    if "rollback" in point:
        options += ["--max-downtime", "1ms", "--on-stall", "abort", "--max-rounds", "1"]
    source.start(f"migctl-{time.monotonic_ns()}", "migctl", "start", w.name, destination.name, *options)

    def stopped_or_over():
        if is_stopped(victim, pid):
            return "stopped"
        return "over" if w.running(destination) and facts(source, w.name)[0] == "departed" else None
    return victim if wait_for(f"{victim.name} at {point}", stopped_or_over, 30) == "stopped" else None


def case_kill_at_every_point(stage):
    """Each daemon is killed at each of its phases; systemd starts it again, and exactly one side runs each time."""
    w = Workload(stage, rate=300)
    for host in stage.hosts:
        prepare(host)
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    source, destination = stage.a, stage.b
    passed = missed = 0
    wanted = os.environ.get("MIGD_SWEEP")  # one point, for whoever looks for a mistake
    for point, on_destination in phases():
        if wanted and point != wanted:
            continue
        victim = stop_at(w, source, destination, point, on_destination)
        if victim:
            victim.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
            passed += 1
        else:
            missed += 1
            print(f"# {point} is not passed by a migration that goes well")
        runs = settle(w, stage.hosts, f"killed at {point}")
        source, destination = runs, stage.b if runs is stage.a else stage.a
        ready_other(w, source, destination)
    w.migrate(source, destination, "--verify")
    expect(passed >= 20 or wanted, f"only {passed} points were passed")


case_kill_at_every_point.faults = True


def figures(host):
    """(descriptors, KiB of memory of its own) of the service; the guest memory that it has mapped is not its own."""
    pid = pid_of(host)
    count = int(host.run("sh", "-c", f"ls /proc/{pid}/fd | wc -l"))
    rss = int(re.search(r"RssAnon:\s+(\d+)", host.run("cat", f"/proc/{pid}/status")).group(1))
    return count, rss


def trouble(kind, hosts, source, destination, dice):
    """Something goes wrong while a migration runs."""
    time.sleep(dice.uniform(0, 0.4))
    if kind == "kill-source":
        source.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
    elif kind == "kill-destination":
        destination.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
    elif kind == "restart-source":
        source.run("systemctl", "restart", "migd")
    elif kind == "restart-destination":
        destination.run("systemctl", "restart", "migd")
    elif kind == "cut":
        source.cut()
        time.sleep(dice.uniform(0.1, 1.5))
        source.cut(False)


def case_to_and_fro(stage):
    """Migrations to and fro in a row, some with a daemon killed or restarted or the network cut in the middle, each that completes proven; in the
    end no page is lost, no descriptor leaked and no process grown. MIGD_HOPS says how many (12)."""
    hops = int(os.environ.get("MIGD_HOPS") or 12)
    dice = random.Random(int(os.environ.get("MIGD_SEED") or 1))
    w = Workload(stage, rate=500)
    for host in stage.hosts:
        prepare(host)
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    source, destination = stage.a, stage.b
    counts, first, n = {}, {}, 0
    while n < hops:
        kind = dice.choice(["none", "none", "none", "kill-source", "kill-destination", "restart-source", "restart-destination", "cut"])
        unit = f"migctl-{time.monotonic_ns()}"
        source.start(unit, "migctl", "start", w.name, destination.name, "--verify", "--json")
        trouble(kind, stage.hosts, source, destination, dice)
        wait_for(f"migctl of hop {n} ended ({kind})", lambda: not source.alive(unit), 60)
        runs = settle(w, stage.hosts, f"hop {n} with {kind}")
        completed = runs is destination
        if kind == "none":
            expect(completed, f"hop {n} without any trouble did not complete: {source.output(unit)[-400:]}")
        counts[kind, completed] = counts.get((kind, completed), 0) + 1
        n += completed
        if completed:
            source, destination = destination, source
        ready_other(w, source, destination)
        expect("bad pages" not in source.output(unit), f"hop {n}: {source.output(unit)[-300:]}")
    for host in stage.hosts:  # a restarted daemon begins anew: what counts is that there is no more than at rest
        set_fault(host, None)
        first[host] = figures(host)
    for _ in range(4):
        w.migrate(source, destination, "--verify")
        source, destination = destination, source
        ready_other(w, source, destination)
    for host in stage.hosts:
        now = figures(host)
        expect(now[0] <= first[host][0] + 2, f"{host.name}: {now[0]} descriptors after four migrations, {first[host][0]} before")
        expect(now[1] <= first[host][1] + 16384, f"{host.name}: {now[1]} KiB of its own after four migrations, {first[host][1]} before")
    print("# " + ", ".join(f"{kind} {'completed' if done else 'rolled back'}: {n}" for (kind, done), n in sorted(counts.items())))
