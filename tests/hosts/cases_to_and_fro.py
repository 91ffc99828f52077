# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations to and fro in a row, in which things go wrong at random points. After each exactly one side runs, no write is lost, and both daemons
hold as many descriptors as ever; in the end neither has grown.

MIGD_HOPS says how many, MIGD_SEED which dice."""
import collections
import os
import random
import time

from faults import Stopped, judge, phases, prepare, ready, settle, status, OTHER_POINTS
from figures import AtRest
from network import Network
from stage import expect, wait_for
from workload import Workload

UNUSUAL = ("rollback", "in-rollback", "reconnecting", "in-reconnecting")  # a migration that goes well does not pass them
ENDED_KEPT = 32  # API_ENDED_MAX: a daemon grows until it remembers so many


def points():
    return [p for p in (*phases(), *OTHER_POINTS) if p[0] not in UNUSUAL]


class Row:
    def __init__(self, stage):
        self.stage, self.dice = stage, random.Random(int(os.environ.get("MIGD_SEED") or 1))
        self.w = Workload(stage, size_mib=32, rate=500)
        for host in stage.hosts:
            prepare(host)
        self.w.place(stage.a)
        self.w.place(stage.b, incoming=True)
        self.source, self.destination = stage.a, stage.b
        self.counts = collections.Counter()  # (trouble, what became of it) -> how often
        self.places = collections.Counter()  # (trouble, point)
        self.doubts = 0
        self.at_rest = AtRest()

    def trouble(self, kind, verify):
        """A migration into which this comes; a word for the table: where."""
        point, on_destination = self.dice.choice([p for p in points() if p[1] or kind != "cancel"])
        if "verify" in point:
            verify = "strict"  # what is proven afterwards does not pass it
        stopped = Stopped(self.w, self.source, self.destination, point, on_destination, verify=verify)
        verb, _, whom = kind.partition("-")
        if verb in ("kill", "restart"):
            victim = self.source if whom == "source" else self.destination
            stopped.strike(verb if victim is stopped.host else verb + "-peer")
        elif kind == "cancel":
            self.source.try_run("migctl", "cancel", self.w.name)
        else:
            network = Network(self.source)
            network.cut("both")
            stopped.go_on()
            time.sleep(self.dice.uniform(0.1, 2.0))
            network.mend("both")
            self.source.try_run("migctl", "set", self.w.name, "max-downtime=5s")  # what would go on with rounds for ever
        return stopped, point

    def hop(self, n, kind):
        verify, seen = self.dice.choice(["strict", "post"]), set()
        what = f"migration {n}, {kind}"
        if kind == "none":
            self.w.migrate(self.source, self.destination, "--verify=" + verify)
            runs = settle(self.w, self.stage.hosts, what)
        else:
            stopped, point = self.trouble(kind, verify)
            what += f" at {point}"
            self.places[kind, point] += 1
            runs = settle(self.w, self.stage.hosts, what, stopped.go_on, seen=seen)
            wait_for(f"{what}: migctl ended", lambda: not self.source.alive(stopped.unit))
            expect("bad pages" not in self.source.output(stopped.unit), f"{what}: {self.source.output(stopped.unit)[-300:]}")
        idle = self.source if runs is self.destination else self.destination
        if kind == "none":
            expect(status(self.source, self.w.name)["verify"] == "proved", f"{what}: it was not proved")
        judge(self.w, runs, idle, what)
        self.counts[kind, "completed" if runs is self.destination else "rolled back"] += 1
        self.doubts += "in-doubt" in seen
        self.source, self.destination = runs, idle
        ready(self.w, runs, idle)
        self.at_rest.look(what, self.source, self.destination)

    def report(self):
        for kind in sorted({k for k, _ in self.counts}):
            where = ", ".join(f"{p} {n}" for (k, p), n in sorted(self.places.items()) if k == kind)
            print(f"# {kind:20} completed {self.counts[kind, 'completed']:3}, rolled back {self.counts[kind, 'rolled back']:3}  {where}")
        print(f"# in doubt for a moment {self.doubts}; descriptors at rest {self.at_rest.fds}")


def hops():
    return int(os.environ.get("MIGD_HOPS") or 12)


def run(stage, kinds):
    row = Row(stage)
    row.at_rest.look("at first", row.source, row.destination)
    try:
        for n in range(hops()):
            row.hop(n + 1, row.dice.choice(kinds))
    finally:
        row.report()
    return row


def case_to_and_fro(stage):
    """Daemons are killed and started again, the network is cut, migrations are cancelled."""
    row = run(stage, ["none", "none", "kill-source", "kill-destination", "restart-source", "restart-destination", "cut", "cancel"])
    grown = row.at_rest.grown()
    expect(grown < 4096, f"a daemon has grown by {grown} KiB")


def case_to_and_fro_in_one_life(stage):
    """No daemon ends, so that it could grow: as soon as it has all ended migrations that it keeps, it does not."""
    row = run(stage, ["none", "none", "cut", "cancel"])
    full = hops() > 2 * ENDED_KEPT
    grown = row.at_rest.grown(ENDED_KEPT if full else 0)
    expect(grown < (1024 if full else 4096), f"a daemon has grown by {grown} KiB")


case_to_and_fro.faults = True
case_to_and_fro_in_one_life.faults = True
