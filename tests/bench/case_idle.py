# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a daemon with a registered domain and device costs while nothing is asked of it."""
import os
import time

from stage import Device, MIB, Stage

SECONDS = 5
ALLOWED_MIB = 8


def status_fields(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return {key: value.split()[0] for key, _, value in (line.partition(":") for line in f) if value.split()}


def switches(pid, kind):
    """Of all threads. A thread that came or went would be a wake-up too, so their number goes in."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return len(tasks) + sum(int(status_fields(f"/proc/{pid}/task/{t}/status")[kind]) for t in tasks)


def look(report, pid, case):
    before = switches(pid, "voluntary_ctxt_switches")
    time.sleep(SECONDS)
    woken = switches(pid, "voluntary_ctxt_switches") - before
    resident = int(status_fields(f"/proc/{pid}/status")["VmRSS"]) / 1024
    report.add(f"{case}: resident", resident, "MiB", resident / ALLOWED_MIB, f"{ALLOWED_MIB} MiB", most=1.0)
    report.add(f"{case}: wake-ups in {SECONDS} s", woken, "", float(woken), "none", most=0.0)


def run(report, build, quick):
    with Stage(build, size=64 * MIB, devices=[Device(a_args=["--idle"])], vmm=True, rate=0, fill=None) as stage:
        time.sleep(1)  # what registration set going has ended
        look(report, stage.A.migd.pid, "idle, a domain and a device")
        stage.move()
        stage.A.migctl("release", "demo")
        time.sleep(1)
        look(report, stage.B.migd.pid, "idle, after a migration came in")
        look(report, stage.A.migd.pid, "idle, after a migration went out")
