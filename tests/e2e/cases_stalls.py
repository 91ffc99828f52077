# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations that do not converge, time out or are cancelled: the operator's policy decides."""
import time

from harness import Device, MIB, expect, wait_for
from registry import Cases

CASES = Cases()

# A device that dirties nearly all of the memory in the time that a round takes under the cap.
def fast(rig, **keys):
    return rig(size=96 * MIB, devices=[Device(args=["--pattern", "uniform"], rate=60000)], **keys).up()


CAP = ("--bandwidth", "64M", "--max-downtime", "30ms")


@CASES.case("stalled-abort")
def abort(rig):
    r = fast(rig)
    begin = time.monotonic()
    status = r.refused(6, "NotConverging", *CAP)
    expect(time.monotonic() - begin < 20, "the decision took too long")
    expect(status["round"] <= 4, f"decided only in round {status['round']}")
    expect(status["hint"], "no hint")
    r.judge_stayed()


@CASES.case("stalled-force")
def force(rig):
    r = fast(rig)
    r.migrate("--on-stall", "force", *CAP)
    r.judge_moved()


@CASES.case("stalled-wait-then-cancel")
def wait_cancel(rig):
    r = fast(rig)
    p = r.start_background("--on-stall", "wait", *CAP)
    wait_for("round 5 reached", lambda: r.A.peek("round") >= 5, 20)
    expect(r.A.status()["state"] == "running", "it does not wait")
    r.A.migctl("cancel", "demo", "--wait")
    expect(p.popen.wait(10) == 5, f"migctl start: exit {p.popen.poll()}, expected 5")
    expect(r.A.status()["state"] == "cancelled", f"state {r.A.status()['state']}")
    r.judge_stayed()


@CASES.case("stalled-wait-then-allowed")
def wait_set(rig):
    r = fast(rig)
    p = r.start_background("--on-stall", "wait", *CAP)
    wait_for("round 4 reached", lambda: r.A.peek("round") >= 4, 20)
    r.A.migctl("set", "demo", "max-downtime=4s", "bandwidth=0")
    expect(p.popen.wait(20) == 0, f"migctl start: exit {p.popen.poll()}")
    r.judge_moved()


@CASES.case("timeout")
def timeout(rig):
    r = fast(rig)
    status = r.refused(6, "TimedOut", "--on-stall", "wait", "--timeout", "3s", *CAP)
    expect(2_500_000 < status["time-elapsed"] < 9_000_000, f"after {status['time-elapsed']} us")
    r.judge_stayed()


@CASES.case("max-rounds")
def max_rounds(rig):
    r = fast(rig)
    r.refused(6, "NotConverging", "--max-rounds", "2", *CAP)
    r.judge_stayed()


@CASES.case("cancel-in-full-send")
def cancel_early(rig):
    r = rig(size=128 * MIB).up()
    p = r.start_background("--bandwidth", "8M")
    wait_for("sending", lambda: r.A.peek("data-processed") > 0, 5)
    begin = time.monotonic()
    r.A.migctl("cancel", "demo", "--wait")
    expect(time.monotonic() - begin < 3, "cancelling took too long")
    expect(p.popen.wait(10) == 5, f"migctl start: exit {p.popen.poll()}, expected 5")
    r.judge_one_side(r.A, r.B)
    expect(r.B.show()["state"] == "waiting", f"B is {r.B.show()['state']}")
    r.migrate("--verify")
    r.judge_moved()
