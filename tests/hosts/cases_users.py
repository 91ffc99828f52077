# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what, with a real polkitd and users that are nobody special."""
import subprocess
import time

from stage import expect, wait_for

POLKIT_SECONDS = 10  # POLKIT_TIMEOUT_USEC
RULE = """polkit.addRule(function(action, subject) {
    if (subject.user == "%s" && [%s].indexOf(action.id) >= 0) return polkit.Result.YES;
});
"""


def restart_polkit(host):
    host.try_run("systemctl", "reset-failed", "polkit")  # else the service manager finds that it is started too often
    host.run("systemctl", "restart", "polkit")


def grant(host, user, *actions):
    names = ", ".join(f'"org.migd.Migd1.{a}"' for a in actions)
    host.write("/etc/polkit-1/rules.d/50-migd-test.rules", RULE % (user, names))
    restart_polkit(host)


def refused(host, user, action, *argv):
    code, _, errors = host.try_run(*argv, user=user)
    expect(code == 4, f"{user}: {' '.join(argv)}: exit {code}: {errors.strip()}")
    expect(f"org.migd.Migd1.{action}" in errors, f"the refusal does not name the action {action}: {errors.strip()}")


def case_users_and_polkit(stage):
    """Looking is free, everything else is denied until a rule grants it; incoming domains are an action of their own; every decision is in the journal."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    host.run("useradd", "-m", "alice")
    host.run("migctl", "list", user="alice")
    host.run("migctl", "config", user="alice")
    make = ("--memory", "name=ram0,make,size=1M")
    refused(host, "alice", "register", "migctl", "register", "demo", *make)
    refused(host, "alice", "receive", "migctl", "register", "demo", "--incoming", *make)
    expect("RegisterDomain on /org/migd/Migd1 by user 1000" in host.journal("-u", "migd"), "the refusal is not in the journal")

    grant(host, "alice", "register")
    host.run("migctl", "register", "demo", *make, user="alice")
    refused(host, "alice", "receive", "migctl", "register", "other", "--incoming", *make)
    refused(host, "alice", "migrate", "migctl", "start", "demo", "hostb")
    grant(host, "alice", "receive")
    host.run("migctl", "register", "other", "--incoming", *make, user="alice")
    refused(host, "alice", "register", "migctl", "release", "demo")
    host.run("migctl", "release", "other", user="alice")
    code, _, errors = host.try_run("busctl", "set-property", "org.migd.Migd1", "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel",
                                   "s", "debug", user="alice")
    expect(code != 0, "a user may change the log level")
    host.run("systemctl", "service-log-level", "migd", "debug")
    expect(host.run("systemctl", "service-log-level", "migd").strip() == "debug", "systemctl does not change the log level")


def case_polkit_hangs(stage):
    """While polkit does not answer, root is served at once, others can look, and nobody gets anything."""
    host = stage.a
    host.run("systemctl", "start", "migd", "polkit")
    for user in ("alice", "bob"):
        host.run("useradd", "-m", user)
    host.run("migctl", "list", user="alice")
    host.run("systemctl", "kill", "-s", "STOP", "polkit")
    begun = time.monotonic()
    asking = subprocess.Popen(host.enter("setpriv", "--reuid", "bob", "--regid", "bob", "--init-groups", "migctl", "register", "demo", "--memory",
                                         "name=ram0,make,size=1M"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # One who asks without end does not fill the place of others.
    many = subprocess.Popen(host.enter("setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", "sh", "-c",
                                       "for i in $(seq 60); do busctl call org.migd.Migd1 /org/migd/Migd1 org.migd.Migd1.Manager RegisterDomain 'sa{sv}' x$i 0 & done; wait"),
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("those beyond the limit refused", lambda: host.journal("-u", "migd").count("too many calls of this user wait") > 0)
    for n in range(3):
        host.run("migctl", "register", f"root{n}", "--memory", "name=ram0,make,size=1M")
        host.run("migctl", "release", f"root{n}")
    if time.monotonic() - begun < POLKIT_SECONDS:
        expect(asking.poll() is None, "a user's call was answered although polkit hangs")
    _, errors = asking.communicate(timeout=180)
    expect(asking.returncode == 4 and "org.migd.Migd1.register" in errors, f"exit {asking.returncode}: {errors.strip()}")
    host.run("systemctl", "kill", "-s", "CONT", "polkit")
    many.wait(180)
    host.run("systemctl", "mask", "--runtime", "--now", "polkit")
    host.run("migctl", "list", user="alice")
    code, _, _ = host.try_run("migctl", "register", "demo", "--memory", "name=ram0,make,size=1M", user="alice")
    expect(code == 4, f"without polkit a user's registration ends with {code}")
    wait_for("the refusals in the journal", lambda: "polkit does not answer" in host.journal("-u", "migd"))
