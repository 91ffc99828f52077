# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts that are not alike: what check finds at the destination, that start refuses for the same reason, and what --allow does."""
import json

from harness import Device, expect
from registry import Cases

CASES = Cases()
OTHER_MODEL = ["--pci-device", "0x7777"]


def check(r, *args):
    """Exit code and what was found at the destination: {code: finding}."""
    code, out, errors = r.A.migctl("--json", "check", "demo", r.destination(), *args, check=False)
    expect(out, f"migctl check says nothing: {errors.strip()}")
    told = json.loads(out)
    expect((code != 0) == (told["errors"] > 0), f"exit {code} with {told['errors']} errors")
    return code, {f["code"]: f for f in told["findings"] if f["side"] == "destination" or f["code"].startswith("peer-")}


def untouched(r):
    """A check leaves no trace at the destination."""
    domain = r.B.show()
    expect(domain["state"] == "waiting", f"the destination is {domain['state']} after a check")
    for d in r.devices:
        changes = [line for line in r.B.devices[d.name].log().splitlines() if "resuming" in line.lower()]
        expect(not changes, f"device {d.name} of B was moved by a check: {changes[:1]}")
    expect(json.loads(r.B.migctl("--json", "list", "migrations")[1]) in ([], {"migrations": []}), "a check made a migration at B")


def has(found, code, severity, *words):
    expect(code in found, f"check does not find {code}, only {', '.join(sorted(found)) or 'nothing'}")
    f = found[code]
    expect(f["severity"] == severity, f"{code} is a {f['severity']}, not a {severity}")
    for word in words:
        expect(word in f["message"] or word == f["subject"], f"{code} does not say {word}: {f['message']}")
    return f


@CASES.case("compat-alike")
def alike(rig):
    r = rig().up()
    _, found = check(r)
    bad = [c for c, f in found.items() if f["severity"] != "note" and c != "memory-low"]
    expect(not bad, f"check finds {bad} between two hosts that are alike")
    untouched(r)
    r.migrate()
    r.judge_moved()


@CASES.case("compat-other-model")
def other_model(rig):
    """Found by check, refused by start in the same words, and done when the operator says so."""
    r = rig(devices=[Device("nic0", 1, b_args=OTHER_MODEL)]).up()
    code, found = check(r)
    f = has(found, "device-ids-differ", "error", "nic0", "51da", "7777")
    expect(code == 1, f"check exits with {code}")
    untouched(r)
    status = r.refused(1, "Incompatible")
    expect(f["message"] in status["message"], f"start says \"{status['message']}\", check said \"{f['message']}\"")
    expect("device-ids-differ" in status["hint"], f"the hint does not name the code: {status['hint']}")
    code, found = check(r, "--allow", "device-ids-differ")
    has(found, "device-ids-differ", "warning")
    expect(code == 0, f"check --allow exits with {code}")
    r.migrate("--allow", "device-ids-differ")
    expect("device-ids-differ" in r.B.migd.log(), "the destination's log does not say what was overruled")
    r.judge_moved()


@CASES.case("compat-override-forbidden")
def forbidden(rig):
    r = rig(devices=[Device("nic0", 1, b_args=OTHER_MODEL)], config={"B": "[Peer]\nAcceptOverrides=no\n"}).up()
    code, found = check(r, "--allow", "device-ids-differ")
    has(found, "device-ids-differ", "error")
    has(found, "overrides-not-accepted", "warning")
    expect(code == 1, f"check exits with {code}")
    r.refused(1, "Incompatible", "--allow", "device-ids-differ")
    r.judge_stayed()


@CASES.case("compat-other-flags")
def other_flags(rig):
    """Without PRE_COPY here: a warning. One of several without P2P there: refused, unless the operator says otherwise."""
    r = rig(devices=[Device("nic0", 1, a_args=["--no-precopy"]), Device("nic1", 2, b_args=["--no-p2p"])]).up()
    _, found = check(r)
    has(found, "device-flags-differ", "warning", "PRE_COPY")
    has(found, "device-no-p2p", "error", "nic1")
    status = r.refused(1, "Incompatible")
    expect("nic1" in status["message"] and "device-no-p2p" in status["hint"], f"{status['message']}. {status['hint']}")
    r.migrate("--without-p2p", "--verify", "--max-downtime", "2s")
    r.judge_moved()


@CASES.case("compat-precopy-missing")
def precopy_missing(rig):
    """A stream that begins while the device runs, for a device without PRE_COPY: refused, unless the operator says otherwise."""
    r = rig(devices=[Device("nic0", 1, b_args=["--no-precopy"])]).up()
    code, found = check(r)
    f = has(found, "device-precopy-missing", "error", "nic0", "PRE_COPY")
    expect(code == 1 and "device-flags-differ" not in found, f"check exits with {code}: {sorted(found)}")
    untouched(r)
    status = r.refused(1, "Incompatible")
    expect(f["message"] in status["message"], f"start says \"{status['message']}\", check said \"{f['message']}\"")
    code, found = check(r, "--allow", "device-precopy-missing")
    has(found, "device-precopy-missing", "warning")
    expect(code == 0, f"check --allow exits with {code}")
    r.migrate("--allow", "device-precopy-missing", "--verify", "--max-downtime", "2s")
    r.judge_moved()


@CASES.case("compat-precopy-unused")
def precopy_unused(rig):
    """The same device, registered at the source as one that does without PRE_COPY: only a warning."""
    r = rig(devices=[Device("nic0", 1, b_args=["--no-precopy"], keys={"precopy": False})]).up()
    code, found = check(r)
    expect(code == 0 and "device-precopy-missing" not in found, f"check exits with {code}: {sorted(found)}")
    has(found, "device-flags-differ", "warning", "PRE_COPY")
    r.migrate("--verify", "--max-downtime", "2s")
    r.judge_moved()


@CASES.case("compat-unknown-word")
def unknown_word(rig):
    """A word that is none, and one that cannot be overruled, are said so before anything begins."""
    r = rig().up()
    for word, answer in (("device-idz", "device-ids-differ"), ("domain-unknown-at-destination", "cannot be overruled")):
        code, _, errors = r.start("--allow", word)
        expect(code == 2 and answer in errors, f"start --allow {word}: exit {code}: {errors.strip()}")
    r.judge_stayed()


@CASES.case("compat-nobody-there")
def nobody(rig):
    r = rig().up()
    code, found = check(r, "--peer-domain", "other")
    expect(code == 1 and "other" in has(found, "domain-unknown-at-destination", "error")["message"], "another domain is not asked for")
    r.B.migd.end()
    code, found = check(r)
    has(found, "peer-unreachable", "error")
    expect(code == 1, f"check exits with {code}")
    r.B.start_migd()
    code, found = check(r)
    expect(code == 0, f"check exits with {code}: {sorted(found)}")
    r.judge_stayed()
