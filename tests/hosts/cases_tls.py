# SPDX-License-Identifier: LGPL-2.1-or-later
"""TLS between two services, with the files where libvirt has them and names of hosts in the certificates."""
import json
import os
import subprocess

from cases_journal import lines, message_id
from stage import expect, wait_for
from workload import Workload

MAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "make-test-ca")


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def give_certificates(stage):
    """Under libvirt's names, and keys that only root may read. The addresses are not in them."""
    ca = stage.path("ca")
    subprocess.run(["sh", MAKE, ca, *(h.name for h in stage.hosts)], check=True, capture_output=True)
    for host in stage.hosts:
        host.write("/etc/pki/CA/cacert.pem", read(os.path.join(ca, host.name, "ca-cert.pem")))
        for role in ("server", "client"):
            host.write(f"/etc/pki/libvirt/{role}cert.pem", read(os.path.join(ca, host.name, f"{role}-cert.pem")))
            host.write(f"/etc/pki/libvirt/private/{role}key.pem", read(os.path.join(ca, host.name, f"{role}-key.pem")), 0o600)


def configure(host, *lines):
    host.write("/etc/migd/migd.conf", "\n".join(["[Peer]", f"Listen={host.address}", *lines]) + "\n")


def check(source, destination):
    code, out, _ = source.try_run("migctl", "--json", "check", "demo", destination.name)
    return code, [f["code"] for f in json.loads(out)["findings"]]


def case_tls(stage):
    a, b = stage.hosts
    for host in stage.hosts:
        configure(host)
        host.run("systemctl", "start", "migd")
    w = Workload(stage)
    w.place(a)
    w.place(b, incoming=True)
    # TLS is what holds when nobody says anything; without certificates nothing goes.
    code, found = check(a, b)
    expect(code == 1 and "tls-credentials" in found, f"without certificates: exit {code}, {found}")
    give_certificates(stage)
    configure(b, f"AllowedPeers={b.name}")
    for host in stage.hosts:
        host.run("systemctl", "reload", "migd")
    wait_for("the refusal by the list", lambda: "tls-refused-by-peer" in check(a, b)[1])
    code, _, errors = w.migrate(a, b, check=False)
    expect(code == 1 and "is not among AllowedPeers" in errors, f"not on the list: exit {code}: {errors}")
    told = lines(b, "MESSAGE_ID=" + message_id("PEER_REFUSED"))[-1]
    expect("is not among AllowedPeers" in told["MIGD_REASON"] and told["MIGD_ERROR"] == "NotAllowed" and a.address in told["MIGD_PEER"],
           f"the destination's journal does not tell of the refusal: {told}")
    expect(not lines(b, "MESSAGE_ID=" + message_id("PEER_ALLOWED")), "the destination says that it let somebody in")
    expect(w.running(a), "the workload does not run at the source any more")
    configure(b, f"AllowedPeers={b.name} \"O=migd test,CN={a.name}\"")
    b.run("systemctl", "reload", "migd")
    wait_for("the check passing", lambda: check(a, b)[0] == 0)
    expect("transport-plain" not in check(a, b)[1], "check takes TLS for plain")
    w.migrate(a, b, "--verify")
    (let_in,) = lines(b, "MESSAGE_ID=" + message_id("PEER_ALLOWED"))
    expect(a.name in let_in["MIGD_REASON"] and let_in["MIGD_DOMAIN"] == w.name, f"who was let in, and why: {let_in}")
    w.remove(a)
    w.place(a, incoming=True)
    w.migrate(b, a, "--verify")
