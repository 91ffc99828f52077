# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of everybody in each phase: afterwards exactly one side runs, or can be resolved to run.

The daemon that owns the phase stops itself there (a fault point), the victim is killed, and the daemon goes on.
"""
import signal
import threading
import time

from harness import Device, expect, wait_for
from registry import Cases

CASES = Cases()

# name -> (which daemon stops, at which point)
PHASES = {
    "setup": ("A", "setup"),
    "full-send": ("A", "full-send"),
    "precopy": ("A", "precopy"),
    "quiesce": ("A", "quiesce"),
    "final-pages": ("A", "final-pages"),
    "prepared": ("B", "in-prepared"),
    "committed": ("A", "committed"),
    "accepted": ("B", "in-accepted"),
    "resume": ("B", "in-resume"),
}
AT_THE_END = ("committed", "accepted", "resume")

def start_to(rig, phase):
    """A migration that stands at the phase: (rig, daemon that is stopped, migctl's process)."""
    who, point = PHASES[phase]
    r = rig(faults={who: point + ":stop"}, devices=[Device(keys={"timeout": "1s"})])
    r.up()
    # In the precopy phase there must be a round that does not fit at once.
    slow = ("--on-stall", "wait", "--max-downtime", "1ms") if phase == "precopy" else ()
    p = r.start_background(*slow)
    stopped = getattr(r, who).migd
    wait_for(f"migd {who} at {phase}", stopped.stopped)
    return r, stopped, p


def go_on(r, stopped, phase):
    """Lets the daemon go on, also where it stops at the same point again."""
    def keep_going():
        while stopped.alive():
            if stopped.stopped():
                stopped.kill(signal.SIGCONT)
            time.sleep(0.02)
    threading.Thread(target=keep_going, daemon=True).start()
    if phase == "precopy" and r.A.migd.alive():
        wait_for("migd going on", lambda: not stopped.stopped())
        r.A.migctl("set", "demo", "max-downtime=3s", check=False)


def sides_running(r):
    return [s for s in r.sides if s.vmm_running()]


def judge(r, expected, dead=()):
    """expected: "A", "B" or "AB" (either, but exactly one)."""
    states = r.settle(doubt=False)
    alive = [s for s in r.sides if s.name not in dead]

    def one():
        running = sides_running(r)
        return len(running) == 1 and running[0].name in expected
    if len(alive) == 2:
        wait_for(f"exactly one of {expected} running (states {states}, running {[s.name for s in sides_running(r)]})", one)
    else:
        expect(all(s.name in expected for s in sides_running(r)), f"{[s.name for s in sides_running(r)]} run")
    r.judge_tracking_off()


def finish(r):
    r.release(force=True)
    r.judge_daemons()


def kill_migd(side_name, phase):
    @CASES.case(f"kill-migd-{side_name}-{phase}")
    def run(rig):
        r, stopped, p = start_to(rig, phase)
        side = getattr(r, side_name)
        side.migd.kill()
        side.migd.popen.wait(60)
        if stopped is not side.migd:
            go_on(r, stopped, phase)
        time.sleep(0.3)
        expect(len(sides_running(r)) <= 1, "both sides run")
        side.start_migd(build=r.migd_build)
        # The source's own daemon was killed before the decision: it runs again and asks nobody.
        if side_name == "A" and phase not in ("prepared", *AT_THE_END):
            wait_for("the source running again", lambda: r.A.vmm_running() and r.progress(r.A)[1])
        # Once it was accepted it may have run, and is never given back.
        expected = "B" if phase in AT_THE_END else "AB" if phase == "prepared" and side_name == "B" else "A"
        judge(r, expected)
        runs = sides_running(r)[0]
        r.judge_one_side(runs, r.B if runs is r.A else r.A)
        p.popen.wait(60)
        memory = r.hold(runs)
        finish(r)
        r.stop_writers()
        r.judge_content(memory, runs, r.A if runs is r.B else None)


def kill_device(side_name, phase):
    @CASES.case(f"kill-device-{side_name}-{phase}")
    def run(rig):
        r, stopped, p = start_to(rig, phase)
        r.killed = True
        getattr(r, side_name).devices["nic0"].kill()
        go_on(r, stopped, phase)
        p.popen.wait(60)
        if side_name == "A":
            expected = "B" if phase in AT_THE_END else "A"
        else:
            expected = "AB" if phase in AT_THE_END else "A"
        judge(r, expected)
        status = r.A.status()
        if status["state"] == "failed":
            expect("nic0" in status["message"] + status["hint"], f"the device is not named: {status['message']}")
        finish(r)


def kill_workload(side_name, phase):
    @CASES.case(f"kill-workload-{side_name}-{phase}")
    def run(rig):
        r, stopped, p = start_to(rig, phase)
        getattr(r, side_name).workload.kill()
        go_on(r, stopped, phase)
        p.popen.wait(60)
        judge(r, "AB", dead=side_name)
        status = r.A.status()
        if side_name == "B" and phase not in AT_THE_END:
            expect(status["state"] == "failed", f"the migration is {status['state']} although nobody can run at B")
            r.judge_one_side(r.A, r.B)
        if side_name == "A" and phase in ("setup", "full-send", "precopy"):
            expect(status["state"] == "failed", f"the migration is {status['state']} although A could not be paused")
        finish(r)


def kill_migctl(phase):
    @CASES.case(f"kill-migctl-{phase}")
    def run(rig):
        """It only follows: the migration goes on without it."""
        r, stopped, p = start_to(rig, phase)
        p.kill()
        p.popen.wait(60)
        go_on(r, stopped, phase)
        wait_for("completed", lambda: r.A.status()["state"] == "completed")
        r.judge_moved()


for _phase in PHASES:
    for _side in "AB":
        kill_migd(_side, _phase)
        kill_device(_side, _phase)
        kill_workload(_side, _phase)
    kill_migctl(_phase)


# -- migd is stopped in good order, and its successor knows how the migration ended --

def stop_migd(side_name, phase, runs, state, word):
    @CASES.case(f"stop-migd-{side_name}-{phase}")
    def run(rig):
        r, stopped, p = start_to(rig, phase)
        side = getattr(r, side_name)
        side.migd.kill(signal.SIGTERM)

        def gone():
            if side.migd.stopped():
                side.migd.kill(signal.SIGCONT)
            return not side.migd.alive()
        wait_for(f"migd {side_name} ended", gone, 60)
        expect(side.migd.popen.returncode == 0, f"migd {side_name} ended with {side.migd.popen.returncode}: {side.migd.log()[-400:]}")
        if stopped is not side.migd:
            go_on(r, stopped, phase)
        p.popen.wait(60)
        expect(word in p.output() + p.log(), f"migctl, which followed it, says nothing of it: {p.output()} {p.log()}")
        side.start_migd(build=r.migd_build)
        judge(r, runs)
        for s in r.sides:
            said = s.status()
            expect((said["state"], bool(said["message"])) == (state, state == "failed") and word in said["message"] + said["verdict"],
                   f"{s.name} says {said['state']}: {said['message']} ({said['verdict']})")
        finish(r)


stop_migd("A", "precopy", "A", "failed", "migd was stopped")
stop_migd("B", "full-send", "A", "failed", "migd was stopped")
stop_migd("A", "committed", "B", "completed", "runs")


# -- nobody answers: the operator decides --

def lose_source(rig):
    """The destination is prepared, and the source is lost for good."""
    r, stopped, p = start_to(rig, "prepared")
    r.A.migd.kill()
    go_on(r, stopped, "prepared")
    p.popen.wait(60)
    wait_for("B in doubt", lambda: r.B.show()["state"] == "in-doubt")
    expect(not r.B.vmm_running(), "B runs although it is in doubt")
    code, _, _ = r.B.migctl("status", "demo", "--wait", check=False)
    expect(code == 7, f"migctl status --wait: exit {code} in doubt, expected 7")
    return r


@CASES.case("in-doubt-dropped-at-the-destination")
def doubt_drop(rig):
    r = lose_source(rig)
    r.B.migctl("resolve", "demo", "--drop")
    wait_for("B waiting", lambda: r.B.show()["state"] == "waiting")
    r.A.start_migd(build=r.migd_build)
    r.judge_stayed()


@CASES.case("in-doubt-run-at-the-destination")
def doubt_run(rig):
    """The operator knows that the source's host is gone: its processes are killed first."""
    r = lose_source(rig)
    r.A.devices["nic0"].kill()
    r.A.workload.kill()
    r.killed = True
    r.B.migctl("resolve", "demo", "--run")
    wait_for("B running", lambda: r.B.show()["state"] == "running")
    r.judge_one_side(r.B, r.A)
    r.judge_tracking_off(r.B)
    memory = r.hold(r.B)
    r.release(r.B)
    r.stop_writers()
    r.judge_content(memory, r.B, r.A)


@CASES.case("in-doubt-run-at-the-source")
def doubt_source(rig):
    """The source has decided, and the destination is lost for good: the source goes on only by the operator's word."""
    r, stopped, p = start_to(rig, "committed")
    r.B.migd.kill()
    r.B.devices["nic0"].kill()
    r.B.workload.kill()
    go_on(r, stopped, "committed")
    wait_for("A in doubt", lambda: r.A.show()["state"] == "in-doubt")
    expect(not r.A.vmm_running(), "A runs although it has given the workload away")
    r.A.migctl("resolve", "demo", "--run")
    r.judge_one_side(r.A, r.B)
    r.judge_tracking_off(r.A)
    r.release(r.A)
