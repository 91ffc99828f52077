# SPDX-License-Identifier: LGPL-2.1-or-later
"""Devices that misbehave, each with the verdict that it must get: the right error, the device named, the source running on."""
import re
import time

from harness import Device, MIB, expect
from registry import Cases

CASES = Cases()
TIMEOUT = {"timeout": "1s"}


def bad_source(what, **keys):
    return Device(a_args=["--misbehave", what], **keys)


def bad_destination(what, **keys):
    return Device(b_args=["--misbehave", what], **keys)


def text_of(status):
    return f"{status['message']} {status['hint']}"


def must_name(status, *words):
    for word in words:
        expect(re.search(word, text_of(status), re.IGNORECASE), f"the message does not say {word}: {text_of(status)}")


# -- a device that writes when it should be quiet --

@CASES.case("write-after-stop-strict")
def write_after_stop(rig):
    r = rig(devices=[bad_source("write-after-stop=20000")]).up()
    status = r.refused(1, "GateFailed")
    must_name(status, "nic0", r"0x[0-9a-f]+", "page")
    expect(status["gate"] == "dirty" and status["gate-pages"] > 0, f"gate {status['gate']}, {status['gate-pages']} pages")
    r.judge_stayed()


@CASES.case("write-after-stop-names-the-one")
def write_after_stop_two(rig):
    r = rig(devices=[Device("nic0", 1), Device("nic1", 2, a_args=["--misbehave", "write-after-stop=20000"])]).up()
    status = r.refused(1, "GateFailed")
    must_name(status, "nic1")
    expect("nic0" not in status["message"], f"nic0 is accused too: {status['message']}")
    r.judge_stayed()


@CASES.case("write-after-stop-resend")
def write_after_stop_resend(rig):
    """What the gate finds is sent again, a few times. A device that writes in bursts can slip through between two: then the late
    writes are told."""
    r = rig(devices=[bad_source("write-after-stop=20000")]).up()
    code, _, _ = r.start("--gate", "resend", "--gate-resends", "2")
    status = r.A.status()
    expect(status["gate-pages"] > 0 and 1 <= status["gate-resends"] <= 2, f"gate-pages {status['gate-pages']}, gate-resends {status['gate-resends']}")
    if code:
        expect(status["error"] == "GateFailed" and status["gate-resends"] == 2, f"error {status['error']} after {status['gate-resends']} resends")
        must_name(status, "nic0")
        r.judge_stayed()
    else:
        expect("nic0" in status["verdict"], f"nothing is said of late writes: {status['verdict']}")
        expect(r.B.vmm_running() and not r.A.vmm_running(), "not exactly the workload of B runs")
        r.judge_tracking_off()


@CASES.case("write-after-stop-tracker-all")
def write_after_stop_all(rig):
    """No tracker can answer the gate: it compares digests, and finds it all the same."""
    r = rig(size=32 * MIB, devices=[bad_source("write-after-stop=20000", keys={"tracker": "all"})]).up()
    r.refused(1, "GateFailed", "--max-downtime", "5s", "--on-stall", "force")
    r.judge_stayed()


# -- a log that does not say everything --

@CASES.case("lose-bit-verify-strict")
def lose_bit(rig):
    r = rig(devices=[bad_source("lose-bit=20")]).up()
    status = r.refused(1, "VerifyFailed", "--verify")
    must_name(status, r"0x[0-9a-f]+", "nic0")
    expect(status["verify"] == "failed" and status["verify-bad-pages"] > 0, f"verify {status['verify']}, bad {status['verify-bad-pages']}")
    r.judge_stayed()


@CASES.case("lose-bit-verify-post")
def lose_bit_post(rig):
    """Reported afterwards: the workload runs at the destination by then."""
    r = rig(devices=[bad_source("lose-bit=20")]).up()
    r.start("--verify=post")
    status = r.A.status()
    expect(status["verify"] == "failed" and status["verify-bad-pages"] > 0, f"verify {status['verify']}, bad {status['verify-bad-pages']}")
    r.judge_one_side(r.B, r.A)
    r.judge_tracking_off()


@CASES.case("late-dirty")
def late(rig):
    """A page reported one report late: the report after STOP is not the last word, the gate or the final read gets it."""
    r = rig(devices=[bad_source("late-dirty=3")]).up()
    code, _, _ = r.start("--verify")
    status = r.A.status()
    if code == 0:
        r.judge_moved()
    else:
        expect(status["error"] in ("GateFailed", "VerifyFailed"), f"error {status['error']}")
        must_name(status, "nic0")
        r.judge_stayed()


# -- replies that lie --

@CASES.case("error-payload")
def error_payload(rig):
    r = rig(devices=[Device(args=["--misbehave", "error-payload"])]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("split-and-merge")
def split(rig):
    r = rig(devices=[Device("nic0", 1, args=["--misbehave", "split"]), Device("nic1", 2, args=["--misbehave", "merge", "--by-message"], rate=300)]).up()
    r.migrate("--verify", "--max-downtime", "2s")
    r.judge_moved()


@CASES.case("fragile")
def fragile(rig):
    r = rig(devices=[Device(args=["--misbehave", "fragile", "--state-size", "2M"])]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("wrong-state-reply")
def wrong_state(rig):
    r = rig(devices=[bad_source("wrong-state-reply")]).up()
    code, _, _ = r.start()
    if code:
        must_name(r.A.status(), "nic0")
        r.judge_stayed()
    else:
        r.judge_moved()


def lie(where, how):
    @CASES.case(f"lie-{where}-{how}")
    def run(rig):
        r = rig(devices=[bad_source(f"lie-length={where}:{how}", keys=TIMEOUT)]).up()
        code, _, _ = r.start()
        status = r.A.status()
        expect(code == 1 and status["error"] in ("DeviceProtocol", "DeviceGone", "DeviceTimeout", "DeviceFailed", "TrackerFailed"),
               f"exit {code}, error {status['error']}: {status['message']}")
        must_name(status, "nic0")
        r.judge_source_keeps_workload()


for _where in ("report", "data"):
    for _how in ("short", "long", "huge"):
        lie(_where, _how)


@CASES.case("lie-version")
def lie_version(rig):
    r = rig(devices=[])
    r.up()
    d = bad_source("lie-length=version:huge", name="nic9", number=9)
    r.A.start_device(d)
    code, _, err = r.A.migctl("register", "other", "--device", f"name=nic9,socket={r.A.socket(d)},timeout=1s", check=False)
    expect(code == 1 and "nic9" in err, f"register: exit {code}: {err}")
    expect(r.A.migd.alive(), "migd died")
    r.migrate()
    r.judge_moved()


# -- devices that stall, die or refuse --

def stall(command, side, number=None):
    @CASES.case(f"stall-{command}-{side}")
    def run(rig):
        what = f"stall={command}:4" + (f":{number}" if number else "")
        device = (bad_source if side == "A" else bad_destination)(what, keys=TIMEOUT)
        r = rig(devices=[device]).up()
        status = r.refused(1, "DeviceTimeout")
        must_name(status, "nic0", "not answer")
        r.judge_source_keeps_workload()


stall("log-start", "A")
stall("report", "A", 2)
stall("set-state", "A")
stall("data-read", "A")
stall("set-state", "B", 2)
stall("data-write", "B")


def die(command, side, number=1):
    @CASES.case(f"die-{command}-{side}")
    def run(rig):
        device = (bad_source if side == "A" else bad_destination)(f"die={command}:{number}", keys=TIMEOUT)
        r = rig(devices=[device]).up()
        r.killed = True
        code, _, errors = r.start()
        status = r.A.status()
        expect(code == 1, f"exit {code}: {errors}")
        must_name(status, "nic0")
        if side == "A":
            expect(r.A.show()["state"] == "broken" and "nic0" in r.A.show()["problem"], f"A is {r.A.show()['state']}: {r.A.show()['problem']}")
            r.judge_source_keeps_workload()
        else:
            r.judge_stayed()


die("log-start", "A")
die("report", "A", 2)
die("set-state", "A")
die("data-read", "A")
die("data-write", "B")
die("set-state", "B", 2)


@CASES.case("refuse-pre-copy-to-stop-copy")
def refuse_stop(rig):
    """The transition fails; the device is brought back to RUNNING, and the source runs on."""
    r = rig(devices=[Device(a_args=["--misbehave", "refuse=pre-copy-p2p:stop-copy", "--misbehave", "refuse=running-p2p:stop",
                                    "--misbehave", "refuse=running:stop-copy"])]).up()
    status = r.refused(1, None)
    must_name(status, "nic0", "stop")
    r.judge_stayed()


@CASES.case("break-on-stop")
def break_on_stop(rig):
    """The device is in ERROR: only a reset helps, and the report says so."""
    r = rig(devices=[Device(a_args=["--misbehave", "break=pre-copy-p2p:stop-copy", "--misbehave", "break=running-p2p:stop"])]).up()
    status = r.refused(1, None)
    must_name(status, "nic0")
    r.judge_tracking_off()
    r.judge_one_side(r.A, r.B, devices=False)
    expect("reset" in r.A.migd.log() + r.A.show()["problem"], "the ladder's reset is not mentioned")


@CASES.case("refuse-resuming-at-the-destination")
def refuse_resuming(rig):
    r = rig(devices=[Device(b_args=["--misbehave", "refuse=stop:resuming"])]).up()
    status = r.refused(1, None)
    must_name(status, "nic0")
    r.judge_stayed()


@CASES.case("refuse-running-at-the-destination")
def refuse_running(rig):
    """It cannot run after the commit: nothing has run there, so it is given back."""
    r = rig(devices=[Device(b_args=["--misbehave", "refuse=running-p2p:running", "--misbehave", "refuse=stop:running-p2p",
                                    "--misbehave", "refuse=stop:running", "--misbehave", "refuse=resuming:running"])]).up()
    status = r.refused(1, None)
    must_name(status, "nic0")
    r.judge_stayed()


# -- PRE_COPY data that is not part of the stream --

@CASES.case("stray-precopy")
def stray(rig):
    """The destination cannot load such a stream; the message points at precopy."""
    r = rig(devices=[Device(args=["--misbehave", "stray-precopy"])]).up()
    code, _, _ = r.start()
    status = r.A.status()
    if code == 0:
        r.judge_moved()
        return
    must_name(status, "nic0")
    r.judge_stayed()


@CASES.case("stray-precopy-with-no-precopy")
def stray_no_precopy(rig):
    r = rig(devices=[Device(args=["--misbehave", "stray-precopy"], keys={"precopy": False})]).up()
    r.migrate("--verify")
    r.judge_moved()
