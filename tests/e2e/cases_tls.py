# SPDX-License-Identifier: LGPL-2.1-or-later
"""TLS between two daemons: it moves workloads, and whoever may not talk is told why on both sides before anything is touched."""
import json
import os
import shutil
import signal
import subprocess

from cases_kill import go_on, start_to
from harness import Skipped, expect, wait_for
from registry import Cases

CASES = Cases()
MAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "make-test-ca")
OLD, NEW = ("--from", "20200101000000Z", "--until", "20210101000000Z"), ("--from", "20900101000000Z", "--until", "20910101000000Z")


def make(r, ca, *hosts, options=()):
    """Certificates of a CA: {name of the first host: its folder}."""
    if not shutil.which("openssl"):
        raise Skipped("the command openssl is missing")
    done = subprocess.run(["sh", MAKE, *options, r.path(ca), *hosts], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"make-test-ca: {done.stderr}")
    return [os.path.join(r.path(ca), h.split(",")[0]) for h in hosts]


def secure(folder, **keys):
    return "[Peer]\nSecurity=tls\nCertificateFolder=%s\n" % folder + "".join(f"{k}={v}\n" for k, v in keys.items())


def tls_rig(rig, **keys):
    r = rig(**keys)
    a, b = make(r, "ca", "host-a,127.0.0.1", "host-b,127.0.0.1")
    r.config.update(A=secure(a), B=secure(b))
    return r


@CASES.case("tls-move")
def move(rig):
    r = tls_rig(rig, rate=5000).up()
    code, out, _ = r.A.migctl("--json", "check", "demo", r.destination(), check=False)
    expect(code == 0 and "transport-plain" not in out, f"check: exit {code}: {out[-500:]}")
    r.migrate("--connections", "4", "--verify=strict")
    r.judge_moved()


def short_keys(rig, records, **env):
    """Keys that are used up again and again in one migration, which is proved; its counters."""
    r = tls_rig(rig, rate=300, faults={})
    for side in r.sides:
        side.env.update(MIGD_TLS_RECORDS_PER_KEY=str(records), **env)
    r.up().migrate("--connections", "2", "--verify=strict", "--reconnect-timeout", "300s")
    counters = [json.loads(side.migctl("--json", "status", "demo")[1]) for side in r.sides]
    r.judge_moved()
    return counters


@CASES.case("tls-keys-renewed")
def keys_renewed(rig):
    """What OpenSSL encrypts: the key is renewed within the connection."""
    there, _ = short_keys(rig, 50)
    expect(there["reconnects"] == 0, f"connected anew {there['reconnects']} times")


@CASES.case("tls-keys-used-up")
def keys_used_up(rig):
    """A key that cannot be renewed, as if the kernel encrypted: the connections are made anew, and to the page only what was in flight goes again."""
    there, here = short_keys(rig, 500, MIGD_TLS_KEYS_END="1")
    expect(there["reconnects"] >= 2, f"connected anew {there['reconnects']} times only: this proves nothing")
    sent, placed = (s["memory-normal"] + s["memory-constant"] for s in (there, here))
    expect(sent - placed == there["resent-in-flight"] // 4096, f"sent {sent} pages, in place {placed}, in flight {there['resent-in-flight']} bytes")


@CASES.case("tls-in-doubt-asks-by-name")
def in_doubt(rig):
    """The destination is prepared, the source's daemon is killed and comes back: asked at an address that its certificate does not have, it is
    known by its name."""
    r = rig(faults={"B": "in-prepared:stop"})
    a, = make(r, "ca", "host-a")
    b, = make(r, "ca", "host-b,127.0.0.1")
    r.config.update(A=secure(a), B=secure(b))
    r.listen["A"] = "0.0.0.0:0"
    r, stopped, p = start_to(lambda **_: r, "prepared")
    r.A.migd.kill()
    r.A.migd.popen.wait(60)
    go_on(r, stopped, "prepared")
    p.popen.wait(60)
    wait_for("B in doubt", lambda: r.B.show()["state"] == "in-doubt")
    r.A.start_migd(build=r.migd_build)
    wait_for("B waiting again", lambda: r.B.show()["state"] == "waiting")
    r.judge_stayed()


def killed_at(phase):
    @CASES.case(f"tls-in-doubt-{phase}")
    def run(rig):
        """The destination's daemon is killed after the decision and comes back: the source learns over TLS what became of it, by itself."""
        r, stopped, p = start_to(lambda **keys: tls_rig(rig, **keys), phase)
        r.B.migd.kill()
        r.B.migd.popen.wait(60)
        if stopped is not r.B.migd:
            go_on(r, stopped, phase)
        wait_for("A in doubt", lambda: r.A.show()["state"] == "in-doubt")
        r.B.start_migd(build=r.migd_build)
        wait_for("A knowing the outcome", lambda: r.A.status()["state"] == "completed")
        wait_for("B alone running", lambda: r.B.vmm_running() and not r.A.vmm_running())
        r.judge_one_side(r.B, r.A)
        p.popen.wait(60)


for _phase in ("committed", "accepted"):
    killed_at(_phase)


# What is said, as the operator reads it: title, config of A and B from the folders, code of check, words at A, words in B's log.
def refusals(r):
    a, b = make(r, "ca", "host-a,127.0.0.1", "host-b,127.0.0.1")
    c, = make(r, "ca", "host-c")
    alien, = make(r, "alien", "host-a,127.0.0.1")
    old, = make(r, "old", "host-x", options=OLD)
    new, = make(r, "new", "host-x", options=NEW)
    none = r.path("nowhere")
    return [
        ("not on the list", secure(a), secure(b, AllowedPeers="host-c *.example"), "tls-refused-by-peer", "not among AllowedPeers", "not among AllowedPeers"),
        ("wrong host", secure(a), secure(c), "tls-peer-untrusted", "it is for host-c, not for 127.0.0.1", "not for the name by which it was asked"),
        ("unknown CA", secure(alien), secure(b), "tls-peer-untrusted", "no CA that this host believes has signed it", "it does not know the CA"),
        ("expired here", secure(old), secure(b), "tls-credentials", "expired on 2021-01-01", None),
        ("not yet valid here", secure(new), secure(b), "tls-credentials", "not valid before 2090-01-01", None),
        ("expired there", secure(a), secure(old), "tls-one-sided", "has no certificate that it could show", "expired on 2021-01-01"),
        ("not yet valid there", secure(a), secure(new), "tls-one-sided", "has no certificate that it could show", "not valid before 2090-01-01"),
        ("none here", secure(none), secure(b), "tls-credentials", "this host has no certificate", None),
        ("none there", secure(a), secure(none), "tls-one-sided", "has no certificate that it could show", "this host has no certificate"),
        ("plain meets TLS", "[Peer]\nSecurity=plain\n", secure(b), "peer-refuses", "takes connections with TLS only", "came in plain text"),
        ("TLS meets plain", secure(a), "[Peer]\nSecurity=plain\n", "tls-one-sided", "takes connections in plain text", "came with TLS"),
    ]


@CASES.case("tls-refusals")
def refuse(rig):
    r = rig(rate=500)
    rows = refusals(r)
    r.config.update(A=rows[0][1], B=rows[0][2])
    r.up()
    for title, config_a, config_b, code, here, there in rows:
        for side, config in ((r.A, config_a), (r.B, config_b)):
            # Not a reload: files that cannot be used would leave those in use that were read before.
            with open(r.path(f"migd-{side.name}.conf"), "w", encoding="ascii") as f:
                f.write(config)
            side.migd.kill()
            side.migd.popen.wait(60)
            r.config[side.name] = config
            side.start_migd()
        seen = len(r.B.migd.log())
        exit_code, out, _ = r.A.migctl("--json", "check", "demo", r.destination(), check=False)
        errors = [f for f in json.loads(out)["findings"] if f["severity"] == "error"]
        expect(exit_code == 1 and [f["code"] for f in errors] == [code], f"{title}: check found {errors}")
        expect(here in errors[0]["message"] and errors[0]["remedy"], f"{title}: check says {errors[0]}")
        exit_code, _, said = r.start()
        expect(exit_code == 1 and here in said, f"{title}: start: exit {exit_code}: {said}")
        log = r.B.migd.log()[seen:]
        expect(there is None or there in log, f"{title}: the destination's log has {log}")
        print(f"# {title}\n#   source: {code}: {errors[0]['message']}\n#           -> {errors[0]['remedy']}")
        for line in [x for x in log.splitlines() if there and there in x][:1]:
            print(f"#   destination: {line}")
        expect(r.A.show()["state"] == "running" and r.B.show()["state"] == "waiting", f"{title}: a domain was touched")
    # A reload takes what can be used.
    for side, config in ((r.A, rows[0][1]), (r.B, rows[0][2].replace("host-c", "host-c host-?"))):
        with open(r.path(f"migd-{side.name}.conf"), "w", encoding="ascii") as f:
            f.write(config)
        side.migd.kill(signal.SIGHUP)
    wait_for("the check passing", lambda: r.A.migctl("check", "demo", r.destination(), check=False)[0] == 0)
    r.migrate("--verify")
    r.judge_moved()
