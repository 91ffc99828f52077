# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many migrations between two hosts at the same time, under one cap ([Migration] TotalBandwidth): the cap holds for their sum, they share
it evenly, and a new one counts at once for those that run."""
import json
import subprocess
import time

from stage import expect, wait_for
from workload import Workload

MANY = 20
SIZE_MIB = 24
MIB = 1 << 20
FAST_MIB = 20
SLOW_MIB = 4


def cap(host, rate):
    host.write("/etc/migd/migd.conf.d/50-cap.conf", f"[Migration]\nTotalBandwidth={rate}\n")
    host.run("systemctl", "reload", "migd")


def sent_bytes(host):
    """Everything that left the host, as its network card counts it."""
    with subprocess.Popen(["ip", "netns", "exec", host.netns, "cat", "/sys/class/net/eth0/statistics/tx_bytes"], stdout=subprocess.PIPE, text=True) as p:
        return int(p.stdout.read())


def rate_over(host, seconds):
    before, begun = sent_bytes(host), time.monotonic()
    time.sleep(seconds)
    return (sent_bytes(host) - before) / (time.monotonic() - begun)


def migrations(host):
    return [m["Status"] for m in json.loads(host.run("migctl", "--json", "list", "migrations"))["migrations"]]


def progress(host):
    """domain -> bytes sent, of those that send every page for the first time; one picture of all."""
    return {s["domain"]: s["data-processed"] for s in migrations(host) if s["phase"] == "full-send"}


def memory_mib(host):
    """(VmHWM, what of it is not memory of guests at the moment) of the daemon."""
    with_keys = host.run("cat", f"/proc/{host.unit_property('MainPID')}/status")
    figures = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in with_keys.splitlines() if line.startswith(("VmHWM", "RssAnon"))}
    return figures["VmHWM"], figures["RssAnon"]


def case_parallel(stage):
    """Twenty under one cap."""
    a, b = stage.hosts
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    domains = [Workload(stage, name=f"vm{i}", size_mib=SIZE_MIB, rate=20, number=i + 1) for i in range(MANY)]
    for w in domains:
        w.place(a)
        w.place(b, incoming=True)
    cap(a, "256K")  # until all of them run
    for w in domains:
        a.start(f"migctl-{w.name}", "migctl", "start", w.name, b.name, "--verify", "--max-downtime", "10s")
    wait_for("all of them sending", lambda: len(progress(a)) == MANY, step=0.2)

    cap(a, f"{FAST_MIB}M")
    before, bytes_before, begun = progress(a), sent_bytes(a), time.monotonic()
    wait_for("some memory of all sent", lambda: sum(progress(a).values()) - sum(before.values()) > MANY * 14 * MIB, step=0.2)
    rate, after = (sent_bytes(a) - bytes_before) / (time.monotonic() - begun), progress(a)
    expect(len(after) == MANY, f"only {len(after)} are still in round 0: nothing is shown of the others")
    got = sorted((after[name] - before[name]) / MIB for name in after)
    print(f"# {MANY} migrations, cap {FAST_MIB} MiB/s: together {rate / MIB:.1f} MiB/s; each got {got[0]:.1f} to {got[-1]:.1f} MiB, "
          f"slowest/fastest {got[0] / got[-1]:.2f}")
    expect(rate <= 1.1 * FAST_MIB * MIB, f"together they sent {rate / MIB:.1f} MiB/s")
    expect(got[0] >= 0.6 * got[-1], f"they do not share evenly: {got}")

    cap(a, f"{SLOW_MIB}M")
    # What waited in the sockets goes first.
    slow = wait_for("a slower rate", lambda: (lambda r: r if r <= 1.5 * SLOW_MIB * MIB else None)(rate_over(a, 2)))
    print(f"# cap {SLOW_MIB} MiB/s: together {slow / MIB:.1f} MiB/s over two seconds after the reload")
    expect(len(progress(a)) > 0, "all of them had sent their memory before: this proves nothing")
    cap(a, 0)
    for w in domains:
        wait_for(f"the migration of {w.name} ended", lambda w=w: not a.alive(f"migctl-{w.name}"), step=0.1)
    for s in migrations(a):
        expect(s["state"] == "completed" and s["verify"] == "proved", f"{s['domain']}: {s['state']}: {s['message']}")
    for w in domains:
        expect(w.running(b) and not w.running(a), f"{w.name} does not run at {b.name} alone")
    for host in stage.hosts:
        peak, own = memory_mib(host)
        print(f"# memory of migd at {host.name}: VmHWM {peak} MiB, of which {MANY * SIZE_MIB} MiB may be the guests'; its own now {own} MiB")
        expect(peak <= MANY * SIZE_MIB + 128, f"migd at {host.name} took {peak} MiB")
