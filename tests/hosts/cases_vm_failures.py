# SPDX-License-Identifier: LGPL-2.1-or-later
"""What dies or breaks while migctl moves a libvirt guest, at each of its phases and with each engine: the guest runs at exactly one host with
all its pages, or nowhere where its QEMU was killed, and never ran at both (vm_pulse.py); libvirt, QEMU and migd say the same about it at both hosts,
and so does the end of the migration in migd's list (vm_endings.py).

A few rows are in every run; MIGD_SWEEP=all takes the whole table, MIGD_SWEEP="memory/network decided/*" what fits."""
import fnmatch
import os
import time

from faults import prepare
from stage import Failed, expect
from vm_endings import judge, may_be_nowhere
from vm_moves import move, place, ready
from vm_pulse import Pulse
from vm_trouble import LIBVIRT_PHASES, NATIVE_PHASES, TROUBLES, Held, settle

GONE = (("arrived", "qemu-source"), ("runs", "qemu-source"), ("finishing", "hook"))  # they have ended already
SOME = {"native": "memory/qemu-destination undecided/kill-source decided/kill-destination resume/hook finishing/network-long",
        "libvirt": "switching/kill-source finishing/kill-destination finishing/network-long arrived/kill-source"}


def rows(engine):
    """(phase, trouble): all that make sense. libvirt's own migration has a hook that waits only before it begins."""
    wanted = os.environ.get("MIGD_SWEEP") or SOME[engine]
    patterns = ["*"] if wanted == "all" else wanted.split()
    table = [(p, t) for p in (NATIVE_PHASES if engine == "native" else LIBVIRT_PHASES) for t in TROUBLES
             if (engine == "native" or t != "hook") and (p, t) not in GONE]
    chosen = [row for row in table if any(fnmatch.fnmatch("/".join(row), p) for p in patterns)]
    expect(chosen, f"there is no row {wanted}")
    return chosen


class Matrix:
    def __init__(self, stage, engine):
        self.stage, self.engine, self.guests = stage, engine, 0
        for host in stage.hosts:
            prepare(host)
        ready(stage, engine)
        self.fresh()

    def fresh(self):
        self.guests += 1
        self.guest = place(self.stage, self.stage.a, f"vm{self.guests}", self.engine, size_mib=128, fill_mib=48, rate=300,
                           pulse_msec=20)
        self.source, self.destination = self.stage.a, self.stage.b

    def row(self, phase, trouble):
        before = self.guest.seen(self.source)
        begun = time.monotonic()
        pulse = Pulse(self.guest, self.source, self.destination)
        held = Held(self.guest, self.engine, self.source, self.destination, phase)
        try:
            held.strike(trouble)
            where = settle(held, may_be_nowhere(self.engine, phase, trouble))
            if where:
                self.guest.check(where, before)
        finally:
            held.clear()
            pulse.end()
        side, said = judge(held, trouble, where)
        print(f"# {self.engine:8} {phase:10} {trouble:21} {side} runs, migd says {said['state']}, {time.monotonic() - begun:.0f} s"
              f"{': ' + said['message'] if said.get('message') else ''}", flush=True)
        if not where:
            self.fresh()
            return
        if where is not self.source:
            self.source, self.destination = self.destination, self.source

    def clean(self):
        """After a row that failed the next one begins with all new."""
        for host in self.stage.hosts:
            host.try_run("virsh", "-q", "destroy", self.guest.name, seconds=120)
            host.run("systemctl", "restart", "migd", "libvirtd", seconds=200)
        self.fresh()


def sweep(stage, engine):
    matrix, bad = Matrix(stage, engine), []
    for phase, trouble in rows(engine):
        try:
            matrix.row(phase, trouble)
        except Failed as e:
            bad.append(f"{phase}/{trouble}: {e}")
            print(f"# {engine:8} {phase:10} {trouble:21} FAILED: {e}", flush=True)
            matrix.clean()
    expect(not bad, f"{len(bad)} rows: {'; '.join(bad)}")
    move(matrix.guest, engine, matrix.source, matrix.destination)


def case_vm_failures_native(stage):
    sweep(stage, "native")


def case_vm_failures_libvirt(stage):
    sweep(stage, "libvirt")


for case in (case_vm_failures_native, case_vm_failures_libvirt):
    case.libvirt = case.faults = True
