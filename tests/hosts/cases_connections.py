# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many connections a migration opens by itself: few where the link is full, more where each is slow alone. And what became of them when
the network breaks afterwards."""
import json
import subprocess

from cases_link import slow
from stage import expect, wait_for
from workload import Workload

EACH = "limit rate over 6 mbytes/second burst 200 kbytes"


def status(host, name):
    code, out, _ = host.try_run("migctl", "--json", "status", name)
    return json.loads(out) if code == 0 else {"connections": 0, "connections-why": "", "state": ""}


def limit_each(host):
    """What arrives from each connection, by its port, is cut off above a rate: many networks share so."""
    rules = ("table ip each { set flows { type inet_service; size 1024; flags dynamic; }\n"
             f"chain in {{ type filter hook input priority 0; tcp dport 16509 add @flows {{ tcp sport {EACH} }} drop; }}\n}}\n")
    subprocess.run(["ip", "netns", "exec", host.netns, "nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)


def stage_two(stage, size_mib):
    a, b = stage.hosts
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    w = Workload(stage, size_mib=size_mib, rate=50)
    w.place(a)
    w.place(b, incoming=True)
    return a, b, w


def say(what, s):
    print(f"# {what}: {s['connections']} connections: {s['connections-why']}; {s['time-elapsed'] / 1e6:.1f} s")


def case_connections_full_link(stage):
    """200 Mbit/s in all, which two connections fill."""
    a, b, w = stage_two(stage, 64)
    slow(stage)
    w.migrate(a, b, "--verify", "--max-downtime", "5s")
    s = status(a, w.name)
    say("full link", s)
    expect(2 <= s["connections"] <= 4, f"{s['connections']} connections where the link is full")
    expect(s["connections-why"].startswith(("the last one changed the speed by", "the processors of this host are busy")),
           f"why not more: {s['connections-why']}")
    text = a.run("migctl", "status", w.name)
    expect("Why not more" in text, text)


def case_connections_slow_each(stage):
    """A rate for each connection: more of them win. Then a break, after which all of them are there again."""
    a, b, w = stage_two(stage, 192)
    limit_each(b)
    w.migrate(a, b, "--verify", "--max-downtime", "10s", "--connections", "2")
    two = status(a, w.name)
    say("each limited, two asked for", two)
    w.remove(a)
    w.place(a, incoming=True)
    limit_each(a)
    b.start("migctl-back", "migctl", "start", w.name, a.name, "--verify", "--max-downtime", "10s")
    wait_for("more connections", lambda: status(b, w.name)["connections"] >= 3, step=0.1)
    a.cut()
    wait_for("the break being noticed", lambda: status(b, w.name).get("phase") == "reconnecting", step=0.1)
    a.cut(False)
    wait_for("the end", lambda: not b.alive("migctl-back"), step=0.2)
    s = status(b, w.name)
    say("each limited, by itself, with a break", s)
    expect(s["state"] == "completed" and s["verify"] == "proved", f"{s['state']}: {s['message']}")
    expect(s["reconnects"] == 1 and s["connections"] >= 3, f"{s['reconnects']} breaks, {s['connections']} connections")
    expect(w.running(a), "it does not run at the destination")
