# SPDX-License-Identifier: LGPL-2.1-or-later
"""1 TiB of memory that is nearly all holes: what it costs to have, to track and to move.

Resident memory is RssAnon + RssFile of the daemon: the guest's pages are shared memory (RssShmem) and belong to the guest. Page tables
(VmPTE) are told apart.
"""
import json
import os
import statistics
import subprocess
import threading

from case_idle import status_fields
from stage import Device, Failed, MIB, Stage

TIB = 1 << 40
PIECES, PIECE = 384, MIB  # scattered over the whole
BITMAP_MIB = TIB // 4096 // 8 // MIB
ALLOWED_MIB = 100 + 2 * BITMAP_MIB


def scatter(path, size):
    with open(path, "r+b", buffering=0) as f:
        for n in range(PIECES):
            f.seek(size // PIECES * n // 4096 * 4096)
            f.write(os.urandom(PIECE))


class Watch:
    """The largest values while something runs, in MiB."""

    def __init__(self, pids):
        self.most = {pid: {"resident": 0.0, "tables": 0.0} for pid in pids}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while True:
            for pid, most in self.most.items():
                s = status_fields(f"/proc/{pid}/status")
                most["resident"] = max(most["resident"], (int(s["RssAnon"]) + int(s["RssFile"])) / 1024)
                most["tables"] = max(most["tables"], int(s["VmPTE"]) / 1024)
            if self.ended.wait(0.01):
                return

    def __enter__(self):
        self.thread.start()
        return self.most

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def plain_read(build, mib, *how):
    done = subprocess.run([os.path.join(build, "tests", "bench", "plain-read"), str(mib), *how], stdout=subprocess.PIPE, timeout=60,
                          check=True)
    return json.loads(done.stdout)["seconds"]


def judge_content(stage):
    """Each piece at the destination, and nothing beside them."""
    paths = [side.memory_file() for side in stage.sides]
    for n in range(PIECES):
        at = stage.size // PIECES * n // 4096 * 4096
        pieces = []
        for path in paths:
            with open(path, "rb", buffering=0) as f:
                f.seek(at)
                pieces.append(f.read(PIECE))
        if pieces[0] != pieces[1]:
            raise Failed(f"the data at {at:#x} did not arrive")


def one(report, build, runs, name, devices, cpu_log=False, over=None):
    """over: how the tracker's bitmap comes to migd."""
    case = f"1 TiB of holes, {name}"
    with Stage(build, size=TIB, devices=devices, cpu_log=cpu_log, prepare=lambda path: scatter(path, TIB)) as stage:
        watch = Watch([side.migd.pid for side in stage.sides])
        with watch as most:
            found = [stage.move()]
            judge_content(stage)
            blocks = os.stat(stage.B.memory_file()).st_blocks * 512 / MIB
            found += [stage.move() for _ in range(runs)]
        for side in stage.sides:
            m = most[side.migd.pid]
            word = "source" if side is stage.A else "destination"
            report.add(f"{case}: resident, {word}", m["resident"], "MiB", m["resident"] / ALLOWED_MIB, f"{ALLOWED_MIB} MiB", most=1.0)
            report.add(f"{case}: page tables, {word}", m["tables"], "MiB")
    data = PIECES * PIECE / MIB
    report.add(f"{case}: allocated at the destination", blocks, "MiB", blocks / data, f"{data:.0f} MiB of data", most=1.01)
    report.add(f"{case}: full send", statistics.median(rounds[0]["duration"] for _, rounds in found[1:]) / 1000, "ms")
    states = [status for status, _ in found[1:]]
    read = statistics.median(s["downtime-final-read"] for s in states) / 1000
    pages = statistics.median(s["downtime-pages"] for s in states) / 1000
    plain = plain_read(build, BITMAP_MIB) * 1000
    report.add(f"{case}: plain read of a bitmap", plain, "ms")
    source = "plain read of a bitmap" + (" by " + over if over else "")
    if over:
        plain_over = plain_read(build, BITMAP_MIB, over) * 1000
        report.add(f"{case}: {source}", plain_over, "ms")
    report.add(f"{case}: clean round, harvest", read, "ms", read / (plain_over if over else plain), source)
    report.add(f"{case}: clean round, nothing to send", pages, "ms", pages / plain, "plain read of a bitmap")
    down = statistics.median(s["downtime"] for s in states) / 1000
    report.add(f"{case}: blackout", down, "ms")


def run(report, build, quick):
    runs = 3 if quick else 7
    one(report, build, runs, "cpu-log", [], cpu_log=True)
    one(report, build, runs, "device", [Device(args=["--state-size", "1M"], a_args=["--idle"])], over="socket")
