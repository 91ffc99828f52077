# SPDX-License-Identifier: LGPL-2.1-or-later
"""The full send of a migration between two daemons against a program that does nothing but sendfile and recv on the same files."""
import json
import os
import statistics
import subprocess

from stage import Device, GIB, Stage

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def empty(path, size):
    """The destination's memory as it is before a first migration: no page is there."""
    with open(path, "r+b") as f:
        f.truncate(0)
        f.truncate(size)


class Runs:
    def __init__(self, stage, build, connections):
        self.stage, self.connections = stage, str(connections)
        self.program = os.path.join(build, "tests", "bench", "plain-transfer")

    def files(self):
        return self.stage.here.memory_file(), self.stage.there.memory_file()

    def plain(self, mode="sendfile"):
        source, dest = (os.open(p, os.O_RDWR) for p in self.files())
        if mode.endswith("fresh"):
            empty(self.files()[1], self.stage.size)
        try:
            done = subprocess.run([self.program, mode, self.connections, str(source), str(dest)], pass_fds=(source, dest),
                                  stdout=subprocess.PIPE, timeout=300, check=True)
        finally:
            os.close(source)
            os.close(dest)
        m = json.loads(done.stdout)
        return {"bandwidth": m["bytes"] / m["seconds"], "sender": m["sender_cpu"], "receiver": m["receiver_cpu"]}

    def migd(self, fresh=False):
        pids = self.stage.here.migd.pid, self.stage.there.migd.pid
        if fresh:
            empty(self.files()[1], self.stage.size)
        before = [cpu_seconds(p) for p in pids]
        _, rounds = self.stage.move("--connections", self.connections)
        spent = [cpu_seconds(p) - b for p, b in zip(pids, before)]
        return {"bandwidth": rounds[0]["bytes"] / (rounds[0]["duration"] / 1e6), "sender": spent[0], "receiver": spent[1]}


def medians(runs, variants):
    """Interleaved; the first of each warms up."""
    found = {name: [] for name in variants}
    for n in range(runs + 1):
        for name, once in variants.items():
            result = once()
            if n:
                found[name].append(result)
    return {name: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for name, rs in found.items()}


def run(report, build, quick):
    size, runs = (GIB, 3) if quick else (4 * GIB, 5)
    gib = size / GIB
    with Stage(build, size=size, devices=[Device(a_args=["--idle"])]) as stage:
        for n in (1, 2, 4):
            r = Runs(stage, build, n)
            m = medians(runs, {"plain": r.plain, "write": lambda r=r: r.plain("write"), "migd": r.migd})
            case, plain, migd = f"bulk through the daemons, {n} connection{'s' * (n > 1)}", m["plain"], m["migd"]
            report.add(f"{case}: plain sendfile", plain["bandwidth"] / GIB, "GiB/s")
            report.add(case, migd["bandwidth"] / GIB, "GiB/s", migd["bandwidth"] / plain["bandwidth"], "plain sendfile", least=0.95)
            report.add(case, migd["bandwidth"] / GIB, "GiB/s", migd["bandwidth"] / m["write"]["bandwidth"], "plain write", least=0.95)
            for side in ("sender", "receiver"):
                report.add(f"{case}: CPU of the {side}", migd[side] / gib, "s/GiB", migd[side] / plain[side], "plain sendfile", most=1.1)
        r = Runs(stage, build, 2)
        m = medians(runs, {"plain": r.plain, "plain fresh": lambda: r.plain("sendfile-fresh"), "migd": lambda: r.migd(True)})
        case, rate = "bulk through the daemons, 2 connections, fresh destination", m["migd"]["bandwidth"]
        report.add(f"{case}: plain recv", m["plain fresh"]["bandwidth"] / GIB, "GiB/s")
        report.add(case, rate / GIB, "GiB/s", rate / m["plain fresh"]["bandwidth"], "plain recv", least=0.95)
        report.add(case, rate / GIB, "GiB/s", rate / m["plain"]["bandwidth"], "plain sendfile, pages there")
        # What a thread that makes the pages ahead of their arrival gains over having them made by the thread that receives, as migd does.
        for n in (1, 2):
            r = Runs(stage, build, n)
            m = medians(runs, {"populated": lambda r=r: r.plain("sendfile-populated-fresh"), "ahead": lambda r=r: r.plain("sendfile-ahead-fresh")})
            case, ahead, populated = f"fresh destination populated ahead, {n} plain connection{'s' * (n > 1)}", m["ahead"], m["populated"]
            report.add(case, ahead["bandwidth"] / GIB, "GiB/s", ahead["bandwidth"] / populated["bandwidth"], "populated by who receives")
            report.add(f"{case}: CPU of the receiver", ahead["receiver"] / gib, "s/GiB", ahead["receiver"] / populated["receiver"], "populated by who receives")
