# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon stops itself at a point of a migration, and there it or its peer is killed or started again by its service manager: each time exactly
one side runs in the end, has lost no write, and both know the domain.

Some points are in every run; MIGD_SWEEP=all takes all there are, MIGD_SWEEP="POINT..." some."""
import os
import time

from faults import Stopped, judge, points, prepare, ready, settle
from stage import expect
from workload import Workload

SOME = "precopy commit committed in-prepared in-accepted in-done"


def wanted_points():
    wanted = os.environ.get("MIGD_SWEEP") or SOME
    chosen = [p for p in points() if wanted == "all" or p[0] in wanted.split()]
    expect(chosen, f"there is no point {wanted}")
    return chosen


def sweep(stage, how):
    w = Workload(stage, size_mib=32, rate=300)
    for host in stage.hosts:
        prepare(host)
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    source, destination = stage.a, stage.b
    for point, on_destination in wanted_points():
        what = f"{how} at {point}"
        stopped = Stopped(w, source, destination, point, on_destination)
        begun = time.monotonic()
        stopped.strike(how)
        runs = settle(w, stage.hosts, what, stopped.go_on)
        took = time.monotonic() - begun
        idle = stage.b if runs is stage.a else stage.a
        judge(w, runs, idle, what)
        print(f"# {how:12} {point:20} {'source' if runs is source else 'destination'} runs after {took:.1f} s", flush=True)
        ready(w, runs, idle)
        source, destination = runs, idle
    w.migrate(source, destination, "--verify")


def case_sweep_kill(stage):
    """kill -9 of the daemon that stands at the point."""
    sweep(stage, "kill")


def case_sweep_kill_peer(stage):
    """kill -9 of the other one."""
    sweep(stage, "kill-peer")


def case_sweep_restart(stage):
    """systemctl restart of the daemon that stands at the point."""
    sweep(stage, "restart")


def case_sweep_restart_peer(stage):
    """systemctl restart of the other one."""
    sweep(stage, "restart-peer")


for _case in (case_sweep_kill, case_sweep_kill_peer, case_sweep_restart, case_sweep_restart_peer):
    _case.faults = True
