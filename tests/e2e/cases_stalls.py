# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations that do not converge, time out or are cancelled: the operator's policy decides."""
import signal
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


@CASES.case("destination-stands-still-while-it-loads")
def stands_still(rig):
    """The workload is paused and migd at the destination says nothing any more: the source does not wait for it as long as for a slow device."""
    r = rig(faults={"B": "in-load:stop"}, devices=[Device(keys={"timeout": "1s"})]).up()
    p = r.start_background()
    wait_for("B standing still", r.B.migd.stopped, 20)
    begin = time.monotonic()
    wait_for("A running again", r.A.vmm_running, 30)
    took = time.monotonic() - begin
    print(f"# the source ran again {took:.1f} s after the destination stood still")
    expect(took < 20, f"the source ran again only after {took:.1f} s")
    p.popen.wait(20)
    status = r.A.status()
    expect(status["error"] == "PeerTimeout" and "migd at" in status["hint"], f"the migration ended with {status}")
    r.B.migd.kill(signal.SIGCONT)
    wait_for("B waiting again", lambda: r.B.show()["state"] == "waiting", 20)
    r.judge_one_side(r.A, r.B)
    r.judge_stayed()


@CASES.case("destination-loads-slowly")
def loads_slowly(rig):
    r = rig(faults={"B": "in-load:sleep=11000"}).up()
    status = r.migrate()
    expect(status["downtime-load"] >= 10_500_000, f"loading took {status['downtime-load']} us")
    r.judge_moved()
