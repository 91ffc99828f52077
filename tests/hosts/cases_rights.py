# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each action of polkit by itself: denied, granted, denied again, and a line in the journal for each decision, of migd's peers too."""
import os
import re

from cases_journal import lines, message_id
from faults import Stopped, prepare, shown
from cases_users import grant, restart_polkit
from stage import expect, wait_for
from workload import Workload

HERE = os.path.dirname(os.path.abspath(__file__))
MAKE = ("--memory", "name=ram0,make,size=1M")
UID = "1000"
DOMAIN_CALL = ("busctl", "call", "org.migd.Migd1", "/org/migd/Migd1/domain/mine", "org.migd.Migd1.Domain")
NO_LOOKING = """polkit.addRule(function(action, subject) {
    if (subject.user == "alice" && action.id == "org.migd.Migd1.inspect") return polkit.Result.NO;
});
"""


def policy_actions():
    with open(os.path.join(HERE, "../../unit/org.migd.Migd1.policy"), encoding="utf-8") as f:
        return set(re.findall(r'<action id="org\.migd\.Migd1\.(\w+)"', f.read()))


def decisions(host, allowed, action, method, uid=UID):
    """The lines about this user's calls of a method, oldest first."""
    return lines(host, "MESSAGE_ID=" + message_id("ACCESS_ALLOWED" if allowed else "ACCESS_DENIED"), "MIGD_METHOD=" + method,
                 "MIGD_ACTION=org.migd.Migd1." + action, "MIGD_CALLER_UID=" + uid)


def judge_lines(host, number, allowed, action, method, **fields):
    """As many as there should be, and the newest has what is needed to know who wanted what."""
    word = "allowed" if allowed else "denied"
    found = wait_for(f"{number} lines about {method} being {word}", lambda: len(x := decisions(host, allowed, action, method)) >= number and x)
    expect(len(found) == number, f"{method}: {len(found)} lines that it was {word}, not {number}")
    expect(found[-1]["MIGD_REASON"] == "polkit", f"{method}: it was {word} because of {found[-1]['MIGD_REASON']}")
    expect({k: found[-1].get(k) for k in fields} == fields, f"{method}: the line has {found[-1]}, not {fields}")


def refused(host, action, argv):
    code, _, errors = host.try_run(*argv, user="alice")
    expect(code == (1 if argv[0] == "busctl" else 4), f"{' '.join(argv)}: exit {code}: {errors.strip()}")
    expect(f"org.migd.Migd1.{action}" in errors, f"the refusal does not name the action {action}: {errors.strip()}")


def each_way(host, action, method, argv, then=0, **fields):
    """Denied without a rule, allowed with one, denied without it again. then: the exit status of the call that is allowed."""
    refused(host, action, argv)
    judge_lines(host, 1, False, action, method, **fields)
    expect(not decisions(host, True, action, method), f"{method} was allowed before there was a rule")
    grant(host, "alice", action)
    code, _, errors = host.try_run(*argv, user="alice")
    expect(code == then and (code == 0 or "not allowed" not in errors), f"with a rule: {' '.join(argv)}: exit {code}: {errors.strip()}")
    judge_lines(host, 1, True, action, method, **fields)
    grant(host, "alice")
    refused(host, action, argv)
    judge_lines(host, 2, False, action, method, **fields)


def look(host):
    """Looking is free, unless a rule says otherwise, and writes no line."""
    host.run("migctl", "config", user="alice")
    host.write("/etc/polkit-1/rules.d/50-migd-test.rules", NO_LOOKING)
    restart_polkit(host)
    refused(host, "inspect", ("migctl", "config"))
    judge_lines(host, 1, False, "inspect", "GetConfiguration")
    grant(host, "alice")
    host.run("migctl", "config", user="alice")
    expect(not decisions(host, True, "inspect", "GetConfiguration"), "whoever looks fills the journal")


def root_alone(host):
    """Without polkit nobody else gets anything, and root does not wait."""
    host.run("systemctl", "mask", "--runtime", "--now", "polkit")
    host.run("migctl", "register", "roots", *MAKE)
    host.run("migctl", "release", "roots")
    expect(decisions(host, True, "register", "Release", "0")[-1]["MIGD_REASON"] == "root", "root's release was decided by somebody else")
    code, _, _ = host.try_run("migctl", "release", "mine", user="alice")
    expect(code == 4, f"without polkit a user's release ends with {code}")
    found = decisions(host, False, "register", "Release")
    expect(found and found[-1]["MIGD_REASON"] == "polkit does not answer" and found[-1]["MIGD_DOMAIN"] == "mine", f"without polkit: {found}")


def failed(host, method):
    return lines(host, "MESSAGE_ID=" + message_id("CALL_FAILED"), "MIGD_METHOD=" + method, "MIGD_CALLER_UID=" + UID)


def case_each_right(stage):
    """inspect, register, receive, debug and migrate of a user who is nobody special, and root while polkit is gone (resolve: case_right_to_resolve)."""
    a, b = stage.hosts
    expect(policy_actions() == {"inspect", "register", "migrate", "receive", "resolve", "debug"}, f"the policy has {policy_actions()}")
    for host in stage.hosts:
        host.run("systemctl", "start", "migd", "polkit")
    a.run("useradd", "-m", "-u", UID, "alice")
    look(a)
    each_way(a, "register", "RegisterDomain", ("migctl", "register", "mine", *MAKE), MIGD_DOMAIN="mine")
    each_way(a, "receive", "RegisterDomain", ("migctl", "register", "guest", "--incoming", *MAKE), MIGD_DOMAIN="guest")
    each_way(a, "debug", "AddQemu", (*DOMAIN_CALL, "AddQemu", "sa{sv}", "/nowhere", "0"), then=1, MIGD_DOMAIN="mine")
    expect("/nowhere" in failed(a, "AddQemu")[-1]["MIGD_REASON"], f"the journal does not say why an allowed call failed: {failed(a, 'AddQemu')}")

    w = Workload(stage)
    w.place(a)
    w.place(b, incoming=True)
    each_way(a, "migrate", "Migrate", ("migctl", "start", w.name, b.name, "--bandwidth", "2M", "--detach"), MIGD_DOMAIN=w.name)
    id_ = lines(a, "MESSAGE_ID=" + message_id("MIGRATION_BEGUN"))[-1]["MIGD_MIGRATION"]
    each_way(a, "migrate", "SetOptions", ("migctl", "set", w.name, "bandwidth=1M"), MIGD_DOMAIN=w.name, MIGD_MIGRATION=id_)
    each_way(a, "migrate", "Cancel", ("migctl", "cancel", w.name), MIGD_DOMAIN=w.name, MIGD_MIGRATION=id_)
    let_in = lines(b, "MESSAGE_ID=" + message_id("PEER_ALLOWED"), "MIGD_MIGRATION=" + id_)
    expect(len(let_in) == 1 and let_in[0]["MIGD_DOMAIN"] == w.name and "Security=plain" in let_in[0]["MIGD_REASON"], f"who was let in, and why: {let_in}")
    told = b.run("journalctl", "-q", "-x", "--no-pager", "MESSAGE_ID=" + message_id("PEER_ALLOWED"))
    expect(a.address in told, f"the line does not name the peer: {told}")
    root_alone(a)


def case_right_to_resolve(stage):
    """A migration in doubt is decided by whoever may, and the journal knows by whom."""
    a, b = stage.hosts
    for host in stage.hosts:
        prepare(host)
    b.run("systemctl", "start", "polkit")
    b.run("useradd", "-m", "-u", UID, "alice")
    w = Workload(stage, rate=300)
    w.place(a)
    w.place(b, incoming=True)
    Stopped(w, a, b, "verify", False)  # at the source; the destination is prepared then
    a.write("/etc/systemd/system/migd.service.d/lost.conf", "[Service]\nRestart=no\n")
    a.run("systemctl", "daemon-reload")
    a.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
    wait_for("the destination in doubt", lambda: shown(b, w.name)["State"] == "in-doubt")
    each_way(b, "resolve", "Resolve", ("migctl", "resolve", w.name, "--drop"), MIGD_DOMAIN=w.name)
    (resolved,) = lines(b, "MESSAGE_ID=" + message_id("MIGRATION_RESOLVED"))
    expect(resolved["MIGD_CALLER_UID"] == UID and resolved["MIGD_REASON"] == "drop" and resolved["MIGD_DOMAIN"] == w.name, f"who decided: {resolved}")
    wait_for("the destination waits again", lambda: shown(b, w.name)["State"] == "waiting")
    a.run("systemctl", "start", "migd")
    wait_for("the source runs", lambda: w.running(a) and shown(a, w.name)["State"] == "running")


case_right_to_resolve.faults = True
