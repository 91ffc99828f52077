# SPDX-License-Identifier: LGPL-2.1-or-later
"""migctl check: it finds what start would refuse, in the same words, on both sides, and leaves nothing behind."""
import json

from harness import Device, MIB, expect, wait_for
from registry import Cases

CASES = Cases()


def check(r, *args, destination=None, code=0):
    """The answer as JSON; its exit code must be this."""
    got, out, errors = r.A.migctl("--json", "check", "demo", *([destination] if destination is not None else [r.destination()]), *args, check=False)
    expect(got == code, f"migctl check: exit {got}, expected {code}: {out[-1500:]} {errors.strip()}")
    return json.loads(out)


def codes(answer, severity=None):
    return [f["code"] for f in answer["findings"] if severity in (None, f["severity"])]


def same_refusal(r, answer, *args):
    """start refuses with the sentence of the first error that check found."""
    first = next(f for f in answer["findings"] if f["severity"] == "error")
    code, _, errors = r.start(*args)
    expect(code != 0, f"check found {first['code']}, and start went on")
    expect(first["message"] in errors, f"check says: {first['message']}\nstart says: {errors.strip()}")
    expect(first["code"] in errors, f"start does not name {first['code']}: {errors.strip()}")
    return code


@CASES.case("check-ok")
def ok(rig):
    r = rig().up()
    answer = check(r)
    expect(answer["verdict"] == "can" and not codes(answer, "error"), f"{answer['verdict']}: {codes(answer, 'error')}")
    expect("transport-plain" in codes(answer, "warning"), f"nothing is said of plain TCP: {codes(answer)}")
    r.judge_tracking_off()
    r.judge_one_side(r.A, r.B)
    status = r.A.show()
    expect(status["state"] == "running" and r.B.show()["state"] == "waiting", "somebody's state has changed")
    r.migrate("--verify")
    answer = check(r, code=1)
    expect(codes(answer, "error")[0] == "domain-departed", f"{codes(answer)}")
    same_refusal(r, answer)
    r.judge_moved()


@CASES.case("check-one-side-only")
def one_side(rig):
    r = rig().up()
    answer = check(r, destination="")
    expect(not [f for f in answer["findings"] if f["side"] == "destination"], "the destination was asked")
    expect("transport-plain" not in codes(answer), "a destination that was not given is judged")


@CASES.case("check-device-no-p2p")
def no_p2p(rig):
    r = rig(devices=[Device("nic0", 1), Device("nic1", 2, args=["--no-p2p"])]).up()
    answer = check(r, code=1)
    expect(codes(answer, "error") == ["device-no-p2p"], f"{codes(answer, 'error')}")
    same_refusal(r, answer)
    answer = check(r, "--allow", "device-no-p2p")
    expect("device-no-p2p" in codes(answer, "warning"), f"{codes(answer)}")


@CASES.case("check-does-not-converge")
def tracker_all(rig):
    """Everything would be sent in the blackout: refused before the first byte, unless it is forced."""
    r = rig(size=32 * MIB, devices=[Device(keys={"tracker": "all"})]).up()
    slow = ("--bandwidth", "4M")
    answer = check(r, *slow, code=1)
    expect(answer["verdict"] == "does-not-converge" and codes(answer, "error") == ["convergence-impossible"],
           f"{answer['verdict']}: {codes(answer, 'error')}")
    expect(same_refusal(r, answer, *slow) == 6, "the exit code is not that of a migration that does not converge")
    expect(r.A.peek("data-processed") == 0, "something was sent")
    answer = check(r, "--on-stall", "force", *slow)
    expect(answer["verdict"] == "does-not-converge", f"the verdict is {answer['verdict']}")
    r.judge_stayed()


@CASES.case("check-controller-gone")
def controller(rig):
    r = rig(track="none", rate=0, memory_files=True).up()
    r.A.workload.end()
    r.A.workload = None
    answer = check(r, code=1)
    expect("controller-gone" in codes(answer, "error"), f"{codes(answer)}")
    same_refusal(r, answer)


@CASES.case("check-device-gone")
def device(rig):
    r = rig().up()
    r.A.devices["nic0"].end()
    wait_for("the domain broken", lambda: r.A.show()["state"] == "broken")
    answer = check(r, code=1)
    expect(codes(answer, "error")[0] == "domain-broken", f"{codes(answer)}")
    same_refusal(r, answer)


@CASES.case("check-destination")
def destination(rig):
    """Nobody there; nobody of that name; then another memory."""
    r = rig().up()
    answer = check(r, destination="127.0.0.1:1", code=1)
    expect(codes(answer, "error") == ["peer-unreachable"], f"{codes(answer, 'error')}")
    r.B.migctl("release", "demo")
    answer = check(r, code=1)
    expect([f["side"] for f in answer["findings"] if f["severity"] == "error"] == ["destination"], f"{answer['findings']}")
    same_refusal(r, answer)


@CASES.case("check-while-migrating")
def migrating(rig):
    r = rig(size=96 * MIB).up()
    p = r.start_background("--bandwidth", "16M")
    wait_for("sending", lambda: r.A.peek("data-processed") > 0)
    answer = check(r, code=1)
    expect(codes(answer, "error") == ["domain-migrating"], f"{codes(answer, 'error')}")
    r.A.migctl("set", "demo", "bandwidth=0")
    expect(p.popen.wait(60) == 0, f"migctl start: exit {p.popen.poll()}")
    r.judge_moved()


@CASES.case("link-test")
def link_test(rig):
    """Over TCP on this host, and over a UNIX socket: figures that are in order, and nobody is touched."""
    for listen in (None, "unix"):
        r = rig()
        if listen:
            r.listen["B"] = "unix:" + r.path("peer-b")
        r.up()
        t = json.loads(r.A.migctl("--json", "link-test", r.destination(), "--domain", "demo")[1])
        expect(t["transport"] == (listen or "tcp"), f"it went by {t['transport']}")
        best = next(s for s in t["steps"] if s["connections"] == t["connections"])
        expect(best["bandwidth"] == t["bandwidth"] > 1000000 and best["sender-cpu"] and best["receiver-cpu"], f"{t}")
        expect(0 < t["memory"] <= 64 * MIB and t["full-send"] > 0 and t["blackout"] > 5000, f"of the domain: {t}")
        out = r.A.migctl("link-test", r.destination())[1]
        expect("may expect" in out and "Blackout" not in out, out)
        code, _, errors = r.A.migctl("link-test", r.destination(), "--domain", "nobody", check=False)
        expect(code == 3 and "no domain named nobody" in errors, f"a domain that is not here: exit {code}: {errors}")
        r.judge_one_side(r.A, r.B)
        r.migrate("--verify")
        r.judge_moved()
        r.down()
