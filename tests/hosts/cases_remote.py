# SPDX-License-Identifier: LGPL-2.1-or-later
"""migctl -H by a real sshd."""
import json

from stage import expect, wait_for
from workload import Workload


def case_over_ssh(stage):
    """The migd of the other host is asked, told and followed over ssh; an unknown host key or a refused key ends with ssh's words."""
    a, b = stage.hosts
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    b.run("systemctl", "start", "ssh")
    wait_for("sshd", lambda: b.try_run("ss", "-Hltn", "sport = :22")[1].strip())
    code, _, errors = a.try_run("migctl", "-H", "root@hostb", "list")
    expect(code == 1 and "hostb" in errors, f"without a known host key: exit {code}: {errors}")
    a.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
    a.write("/root/.ssh/known_hosts", "hostb " + b.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub"))
    code, _, errors = a.try_run("migctl", "-H", "root@hostb", "list")
    expect(code == 1 and "Permission denied" in errors, f"without a key: exit {code}: {errors}")
    b.write("/root/.ssh/authorized_keys", a.run("cat", "/root/.ssh/id_ed25519.pub"), 0o600)

    w = Workload(stage)
    w.place(stage.b)
    w.place(stage.a, incoming=True)
    shown = json.loads(a.run("migctl", "-H", "root@hostb", "--json", "show", w.name))
    expect(shown["State"] == "running", f"show over ssh: {shown}")
    code, _, errors = a.try_run("migctl", "-H", "root@hostb", "show", "nothing-of-this-name")
    expect(code == 3, f"an unknown domain over ssh: exit {code}: {errors}")
    out = a.run("migctl", "-H", "root@hostb", "start", w.name, "hosta", "--verify")  # begun over there, followed here
    expect("completed" in out, f"start over ssh: {out[-400:]}")
    expect(w.running(a) and not w.running(b), "after a migration begun over ssh the workload does not run here alone")
