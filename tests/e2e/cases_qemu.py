# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock QEMUs (under TCG) whose RAM migd moves, and which themselves move their CPU and device state only."""
import os
import signal
import time

from harness import expect, wait_for
from qemu import QemuSide, qemu_rig
from registry import Cases

CASES = Cases()
MIB = 1 << 20


def judge_moved(r):
    """The guest goes on at B where it was at A, its memory is whole, and A's QEMU has ended."""
    r.A.judge_guest()
    here = r.B.count()
    wait_for("the guest checking pages at the destination", lambda: r.B.count() > here + 20000)
    expect(here == 0 or here >= r.A.count(), f"the guest's counter went back from {r.A.count()} to {here}")
    r.B.judge_guest()
    wait_for("the source's QEMU ended", lambda: not r.A.workload.alive())


def judge_stayed(r):
    """The guest goes on at A."""
    here = r.A.count()
    wait_for("the guest going on at the source", lambda: r.A.count() > here + 10000)
    r.A.judge_guest()
    expect(r.B.count() == 0, "the guest ran at the destination too")


@CASES.case("qemu")
def moved(rig):
    """Precopy with the writes of the CPU found by a userfaultfd that was made in QEMU; verify agrees with the guest's own check."""
    r = qemu_rig(rig)
    status = r.migrate("--verify")
    expect(status["verify"] == "proved" and status["gate"] == "clean", f"verify {status['verify']}, gate {status['gate']}")
    expect(status["memory-iteration"] > 0 and 0 < status["vmm-state"] < 8 * MIB, f"QEMU's own part: {status['vmm-state']} bytes")
    judge_moved(r)
    r.judge_tracking_off()
    r.release(r.A)


@CASES.case("qemu-digests")
def by_digests(rig):
    """The writes are found by comparing all memory with what was sent, and the source's daemon died before: the tracker is there again."""
    r = qemu_rig(rig, cpu_tracker="digests")
    r.A.migd.popen.send_signal(signal.SIGKILL)
    r.A.migd.popen.wait()
    r.A.start_migd()
    code, out, _ = r.A.migctl("check", "demo", check=False)
    expect("tracker-reads-memory" in out, f"the price is not told (exit {code}): {out}")
    status = r.migrate("--verify")
    expect(status["verify"] == "proved" and status["gate"] == "clean", f"verify {status['verify']}, gate {status['gate']}")
    kinds = [(t["kind"], t["pages-reported"]) for t in status["trackers"]]
    expect(len(kinds) == 1 and kinds[0][0] == "digests" and kinds[0][1] > 0, f"trackers: {kinds}")
    judge_moved(r)


@CASES.case("qemu-there-and-back")
def back(rig):
    """The destination's QEMU is watched in the same way, and migrates onward."""
    r = qemu_rig(rig)
    r.migrate()
    judge_moved(r)
    r.release(r.A)
    os.unlink(r.A.serial())
    r.A.incoming = True
    r.A.start_workload()
    r.A.register_domain()
    code, _, errors = r.B.migctl("start", "demo", r.listen["A"], "--verify", check=False, seconds=60)
    expect(code == 0, f"the way back: exit {code}: {errors.strip()[-400:]}")
    wait_for("the guest checking pages again at A", lambda: r.A.count() > 20000)
    r.A.judge_guest()
    r.B.judge_guest()


@CASES.case("qemu-memfd")
def memfd(rig):
    r = rig(size=128 * MIB, devices=[])
    r.A, r.B = QemuSide(r, "A"), QemuSide(r, "B")
    r.A.backend = r.B.backend = "memory-backend-memfd,id=ram0,size={size},share=on"
    r.sides = [r.A, r.B]
    r.up()
    r.migrate("--verify")
    judge_moved(r)


@CASES.case("qemu-private-ram")
def private(rig):
    """RAM that nobody else can read is refused at registration, with what to change."""
    r = rig(size=128 * MIB, devices=[])
    r.A, r.B = QemuSide(r, "A"), QemuSide(r, "B")
    r.A.backend = "memory-backend-ram,id=ram0,size={size}"
    r.A.register_domain = lambda: None
    r.sides = [r.A, r.B]
    r.up()
    code, _, errors = r.A.migctl("register", "demo", "--qmp", r.A.qmp(), check=False)
    expect(code == 1 and "not shared" in errors and "memory-backend-file" in errors, f"exit {code}: {errors}")
    expect("demo" not in r.A.migctl("list")[1], "half of it was registered")
    code, _, errors = r.A.migctl("register", "demo", "--qmp", r.path("nothing.sock"), check=False)
    expect(code == 1 and "nothing.sock" in errors and "-qmp" in errors, f"exit {code}: {errors}")


@CASES.case("qemu-destination-dies")
def destination_dies(rig):
    """The destination's QEMU is killed while memory arrives: the guest goes on at the source, also after another attempt."""
    r = qemu_rig(rig)
    p = r.start_background("--bandwidth", "40M")
    wait_for("memory on its way", lambda: r.A.peek("memory-processed") > 8 * MIB)
    r.B.workload.popen.send_signal(signal.SIGKILL)
    r.A.migctl("set", "demo", "bandwidth=0", check=False)
    expect(p.popen.wait(60) == 1, "a migration to a QEMU that died did not fail")
    judge_stayed(r)


@CASES.case("qemu-cancel")
def cancel(rig):
    r = qemu_rig(rig)
    p = r.start_background("--bandwidth", "20M")
    wait_for("memory on its way", lambda: r.A.peek("memory-processed") > 4 * MIB)
    r.A.migctl("cancel", "demo", "--wait")
    expect(p.popen.wait(60) == 5, "cancelled, but migctl says something else")
    judge_stayed(r)
    r.judge_tracking_off(r.A)


@CASES.case("qemu-migd-dies-in-the-blackout")
def migd_dies(rig):
    """kill -9 of the source's daemon with the guest stopped: its successor lets the guest go on, which QEMU alone would never do."""
    r = qemu_rig(rig, faults={"A": "final-pages:stop"})
    r.start_background()
    wait_for("the daemon at its fault point", lambda: "fault point final-pages" in r.A.migd.log())
    time.sleep(0.2)
    here = r.A.count()
    r.A.migd.popen.send_signal(signal.SIGKILL)
    r.A.migd.popen.wait()
    expect(r.A.count() == here, "the guest ran although it was stopped")
    r.A.start_migd()
    judge_stayed(r)
