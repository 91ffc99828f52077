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
    status = r.refused(6, "NotConverging", *CAP)
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
    wait_for("round 5 reached", lambda: r.A.peek("round") >= 5)
    expect(r.A.status()["state"] == "running", "it does not wait")
    r.A.migctl("cancel", "demo", "--wait")
    expect(p.popen.wait(60) == 5, f"migctl start: exit {p.popen.poll()}, expected 5")
    expect(r.A.status()["state"] == "cancelled", f"state {r.A.status()['state']}")
    r.judge_stayed()


@CASES.case("stalled-wait-then-allowed")
def wait_set(rig):
    r = fast(rig)
    p = r.start_background("--on-stall", "wait", *CAP)
    wait_for("round 4 reached", lambda: r.A.peek("round") >= 4)
    r.A.migctl("set", "demo", "max-downtime=4s", "bandwidth=0")
    expect(p.popen.wait(60) == 0, f"migctl start: exit {p.popen.poll()}")
    r.judge_moved()


@CASES.case("timeout")
def timeout(rig):
    r = fast(rig)
    status = r.refused(6, "TimedOut", "--on-stall", "wait", "--timeout", "3s", *CAP)
    expect(status["time-elapsed"] > 2_500_000, f"after {status['time-elapsed']} us")
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
    wait_for("sending", lambda: r.A.peek("data-processed") > 0)
    r.A.migctl("cancel", "demo", "--wait")
    expect(r.A.status()["data-processed"] < 64 * MIB, "it went on sending after it was cancelled")
    expect(p.popen.wait(60) == 5, f"migctl start: exit {p.popen.poll()}, expected 5")
    r.judge_one_side(r.A, r.B)
    expect(r.B.show()["state"] == "waiting", f"B is {r.B.show()['state']}")
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("destination-stands-still-while-it-loads")
def stands_still(rig):
    """The workload is paused and migd at the destination says nothing any more: the source does not wait for it as long as for a slow device."""
    r = rig(faults={"B": "in-load:stop"}, devices=[Device(keys={"timeout": "1s"})]).up()
    p = r.start_background()
    wait_for("B standing still", r.B.migd.stopped)
    begin = time.monotonic()
    wait_for("A running again", r.A.vmm_running)
    took = time.monotonic() - begin
    print(f"# the source ran again {took:.1f} s after the destination stood still")
    p.popen.wait(60)
    status = r.A.status()
    expect(status["error"] == "PeerTimeout" and "migd at" in status["hint"], f"the migration ended with {status}")
    r.B.migd.kill(signal.SIGCONT)
    wait_for("B waiting again", lambda: r.B.show()["state"] == "waiting")
    r.judge_one_side(r.A, r.B)
    r.judge_stayed()


@CASES.case("destination-loads-slowly")
def loads_slowly(rig):
    r = rig(faults={"B": "in-load:sleep=11000"}).up()
    status = r.migrate()
    expect(status["downtime-load"] >= 10_500_000, f"loading took {status['downtime-load']} us")
    r.judge_moved()
