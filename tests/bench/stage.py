# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the cases with real daemons stand on: the stage of the end-to-end runs, for migrations to and fro.

Everything lies on tmpfs, as in a running system, where /run is: a disk must not be part of what is measured. A migration back costs
nothing to set up and finds its destination's pages there, so that all runs but the first are alike.
"""
import json
import os
import sys
import tempfile
import types

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
from harness import Device, Failed, expect, wait_for  # noqa: E402, F401

MIB, GIB = 1 << 20, 1 << 30
SHM = os.environ.get("MIGD_BENCH_SHM", "/dev/shm")
PARTS = ("pause", "quiesce", "final-read", "pages", "device-state", "load", "gate", "commit", "resume")


def fill(path, size, step=16 * MIB):
    """Memory that neither compresses nor contains a zero page."""
    with open(path, "r+b", buffering=0) as f:
        for at in range(0, size, step):
            f.seek(at)
            f.write(os.urandom(min(step, size - at)))


class PlainSide(harness.Side):
    """A host whose workload is nothing but memory and devices: controller none."""

    def start_workload(self):
        path = self.memory_file()
        if not os.path.exists(path):
            with open(path, "wb") as f:
                f.truncate(self.rig.size)
            if not self.incoming:
                self.rig.prepare(path)
        self.facts = {"memory": path}
        if self.rig.cpu_log:
            self.facts["cpu-log"] = path + ".log"
            with open(path + ".log", "wb") as f:
                f.truncate(self.rig.size // 4096 // 8)

    def domain_file(self):
        return dict(super().domain_file(), controller={"type": "none"})


class Stage(harness.Rig):
    def __init__(self, build, vmm=False, cpu_log=False, prepare=None, **keys):
        context = types.SimpleNamespace(build=build, fault_build=None, shm=SHM)
        tempfile.tempdir = SHM
        if not vmm:
            keys.update(rate=0, track="none")
        super().__init__(context, **keys)
        self.cpu_log = cpu_log
        self.prepare = prepare or (lambda path: fill(path, self.size))
        if not vmm:
            self.A, self.B = PlainSide(self, "A"), PlainSide(self, "B")
            self.sides = [self.A, self.B]
        self.here, self.there = self.A, self.B

    def __enter__(self):
        try:
            return self.up()
        except BaseException:
            self.down()
            raise

    def __exit__(self, *_):
        self.down()

    def move(self, *options, seconds=120.0):
        """One migration to where the domain is not: its final status, and its rounds."""
        source, dest = self.here, self.there
        _, out, _ = source.migctl("--json", "start", "demo", self.listen[dest.name], *options, seconds=seconds)
        events = [json.loads(line) for line in out.splitlines()]
        status = [e for e in events if e["event"] == "end"][0]
        expect(status["state"] == "completed", f"the migration {status['state']}: {status['message']}")
        self.here, self.there = dest, source
        wait_for("running at the destination", lambda: dest.show()["state"] == "running", 10)
        return status, [e for e in events if e["event"] == "round"]
