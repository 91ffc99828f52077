# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network that breaks in the middle of a migration: cut in both directions or in one, with resets, half-open, in each phase. Before the
blackout the migration goes on soon after the network is back and sends no page more than was in flight or dirty; in the blackout the
source runs on; after the decision both sides find out who runs as soon as they can talk.

The cases reconnect-matrix and reconnect-matrix-tls are the whole table and take a quarter of an hour each: they run only when they are named.
MIGD_CUTS says how long the cuts are ("1 5", and with MIGD_SWEEP=all "1 5 20"); MIGD_SWEEP="PHASE..." takes some phases. Between them neither daemon may hold more memory or descriptors
than before."""
import json
import os
import time

from cases_tls import configure, give_certificates
from faults import clear_fault, is_stopped, pid_of, prepare, set_fault
from figures import AtRest, own_kib
from network import Network
from stage import expect, wait_for
from workload import Workload

PAGE = 4096
SIZE_MIB = 64
CAP = "24M"
GROWN_MAX_KIB = 4096
PHASES = ("round-0", "later-round", "switch-over")
SLOW = "2M"  # for what is done in the middle of round 0, which takes half a minute then, so that it is seen on a busy machine too


def status(host, name):
    code, out, _ = host.try_run("migctl", "--json", "status", name)
    return json.loads(out) if code == 0 else {"state": "", "phase": "", "round": 0, "memory-normal": 0, "memory-constant": 0}


def migrations(host):
    return {m["Id"] for m in json.loads(host.run("migctl", "--json", "list", "migrations"))["migrations"]}


def pages(st):
    return st["memory-normal"] + st["memory-constant"]


class Run:
    """One migration from one host to the other, followed in the background."""

    def __init__(self, w, source, destination, *options, follow=True):
        """follow: until it has begun, which a daemon that stops itself cannot tell."""
        self.w, self.source, self.destination, self.network = w, source, destination, Network(source)
        self.unit = f"migctl-{time.monotonic_ns()}"
        before = migrations(source) if follow else set()
        cap = () if "--bandwidth" in options else ("--bandwidth", CAP)
        source.start(self.unit, "migctl", "start", w.name, destination.name, "--verify", *cap, *options)
        if follow:
            wait_for("the migration begun", lambda: migrations(source) - before or not source.alive(self.unit), step=0.02)  # no older one is judged

    def status(self):
        return status(self.source, self.w.name)

    def until(self, what, condition):
        return wait_for(f"{what} ({self.status().get('phase')}: {self.status().get('verdict')})", lambda: condition(self.status()), step=0.02)

    def to(self, phase):
        if phase == "round-0":
            self.until("in the middle of round 0", lambda s: s["phase"] == "full-send" and pages(s) > 2000)
        else:
            self.until("in a later round", lambda s: s["phase"] == "precopy" and s["round"] >= 2)

    def finish(self):
        code, _, errors = self.source.try_run("migctl", "set", self.w.name, "max-downtime=5s", "bandwidth=0")
        expect(code == 0 or "has ended" in errors, f"migctl set: exit {code}: {errors}")  # it may have switched over meanwhile

    def ended(self):
        wait_for("migctl ended", lambda: not self.source.alive(self.unit), step=0.05)
        return self.status()


def options_of(phase):
    return ("--bandwidth", SLOW) if phase == "round-0" else ("--max-downtime", "1ms", "--on-stall", "wait")


def survive(w, source, destination, phase, kind, cut_sec):
    """A migration through one cut; what was measured."""
    run = Run(w, source, destination, *options_of(phase))
    run.to(phase)
    run.network.cut(kind)
    began = time.monotonic()
    if phase == "switch-over":  # the next that it decides is to switch over
        source.run("migctl", "set", w.name, "max-downtime=5s")
    if kind == "half-open":
        run.until("the connections given up", lambda s: s["phase"] == "reconnecting" or s["reconnects"] > 0)
    else:
        time.sleep(max(0.0, cut_sec - (time.monotonic() - began)))
    own = [own_kib(host) for host in (source, destination)]
    if kind != "half-open":
        run.network.mend(kind)
    back = began if kind == "half-open" else time.monotonic()  # nothing is mended there: migd must find out by itself
    at = pages(run.status())
    run.until("going on", lambda s: s["phase"] != "reconnecting" and (pages(s) > at or s["state"] == "completed"))
    on = time.monotonic() - back
    run.finish()
    st = run.ended()
    run.network.mend(kind)
    there = status(destination, w.name)
    what = f"{phase}, {kind}, {cut_sec} s"
    expect(st["state"] == "completed", f"{what}: {st['state']}: {st.get('message')}")
    expect(st["verify"] == "proved", f"{what}: verify {st['verify']}")
    expect(w.running(destination) and not w.running(source), f"{what}: it does not run at {destination.name} alone")
    # To the page: what was sent more often than it was put in place is what was in flight.
    expect(pages(st) - pages(there) == st["resent-in-flight"] // PAGE,
           f"{what}: sent {pages(st)} pages, in place {pages(there)}, in flight {st['resent-in-flight'] // PAGE}")
    return {"phase": phase, "kind": kind, "cut": cut_sec, "on": on, "reconnects": st["reconnects"], "time": st["reconnect-time"] / 1e6,
            "in flight": st["resent-in-flight"] // PAGE, "dirty": (pages(there) * PAGE - st["memory-total"]) // PAGE,
            "own": own}


def swap(w, source, destination):
    w.remove(source)
    w.place(source, incoming=True)
    return destination, source


def survive_all(w, source, destination, cuts):
    """Each of (phase, kind, seconds), to and fro; the rows. Afterwards neither daemon holds more than before."""
    rows, at_rest = [], AtRest()
    at_rest.look("at first", source, destination)
    for phase, kind, cut in cuts:
        rows.append(survive(w, source, destination, phase, kind, cut))
        source, destination = swap(w, source, destination)
        at_rest.look(f"{phase}, {kind}, {cut} s", source, destination)
        rows[-1]["rest"] = [at_rest.own[h][-1] for h in (destination, source)]
        print_table(rows[-1:])
    print_table(rows)
    print(f"# descriptors at rest: {at_rest.fds}")
    grown = at_rest.grown()
    expect(grown < GROWN_MAX_KIB, f"a daemon has grown by {grown} KiB")
    return rows


def begin(stage, rate=300, tls=False):
    w = Workload(stage, size_mib=SIZE_MIB, rate=rate)
    if tls:
        give_certificates(stage)
        for host in stage.hosts:
            configure(host)
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    return w, stage.a, stage.b


def print_table(rows):
    print("# phase        cut        s   goes on after   reconnects   away    pages in flight   pages dirty   KiB of source, destination: cut   at rest")
    for r in rows:
        print(f"# {r['phase']:12} {r['kind']:10} {r['cut']:<3} {r['on']:8.2f} s      {r['reconnects']:4}      {r['time']:6.2f} s"
              f"  {r['in flight']:10}      {r['dirty']:10}   {r['own'][0]:6} {r['own'][1]:6}   {r['rest'][0]:6} {r['rest'][1]:6}", flush=True)


def check_on(rows):
    late = [r for r in rows if r["on"] > (5.0 if r["kind"] == "half-open" else 2.0)]
    expect(not late, f"went on too late: {late}")


def case_reconnect(stage):
    """A handful of cuts."""
    w, source, destination = begin(stage)
    rows = survive_all(w, source, destination, (("round-0", "both", 6), ("later-round", "back", 1), ("switch-over", "there", 6), ("round-0", "reset", 1),
                                                ("later-round", "half-open", 0)))
    expect(all(r["on"] < 60 for r in rows), "went on too late, even for a machine with much else to do")
    expect(all(r["reconnects"] for r in rows if r["cut"] != 1 or r["kind"] == "reset"), "a cut did not lead to a reconnect: this proves nothing")


def matrix(stage, tls):
    """All of them."""
    w, source, destination = begin(stage, tls=tls)
    found = json.loads(source.try_run("migctl", "--json", "check", w.name, destination.name)[1])["findings"]
    expect(tls == ("transport-plain" not in [f["code"] for f in found]), f"not over what was wanted: {found}")
    sweep = os.environ.get("MIGD_SWEEP") or ""
    seconds = os.environ.get("MIGD_CUTS") or ("1 5 20" if sweep == "all" else "1 5")
    phases = [p for p in PHASES if p in sweep.split()] or PHASES
    cuts = [(phase, kind, cut) for phase in phases for kind in ("both", "there", "back", "link", "reset", "half-open")
            for cut in (map(int, seconds.split()) if kind != "half-open" else [0])]
    check_on(survive_all(w, source, destination, cuts))


def case_reconnect_matrix(stage):
    matrix(stage, tls=False)


def case_reconnect_matrix_tls(stage):
    matrix(stage, tls=True)


case_reconnect_matrix.named_only = case_reconnect_matrix_tls.named_only = True


def stays(run, word, begun, what):
    st = run.ended()
    took = time.monotonic() - begun
    expect(st["state"] == "failed" and word in st["message"], f"{what}: {st['state']}: {st['message']}")
    expect(run.w.running(run.source) and not run.w.running(run.destination), f"{what}: it does not run at {run.source.name} alone")
    expect(took < 60, f"{what}: it took {took:.1f} s, even for a machine with much else to do")
    wait_for(f"{what}: the destination waiting again", lambda: json.loads(run.destination.run("migctl", "--json", "show", run.w.name))["State"] == "waiting",
             step=0.1)
    print(f"# {what}: {took:.1f} s: {st['message']}")


def case_reconnect_in_vain(stage):
    """The time is over; a daemon is started again, on either side: a clean end with a sentence, and the next migration goes through."""
    w, source, destination = begin(stage)
    run = Run(w, source, destination, "--bandwidth", SLOW, "--reconnect-timeout", "3s")
    run.to("round-0")
    run.network.cut("both")
    begun = time.monotonic()
    wait_for("migctl ended", lambda: not source.alive(run.unit), step=0.05)
    expect(w.running(source), "the source does not run")
    run.network.mend("both")
    stays(run, "could not be made again within 3", begun, "cut for good")

    run = Run(w, source, destination, "--bandwidth", SLOW)
    run.to("round-0")
    begun = time.monotonic()
    destination.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
    stays(run, "does not know this migration any more", begun, "the destination's daemon was killed")

    run = Run(w, source, destination, "--bandwidth", SLOW)
    run.to("round-0")
    begun = time.monotonic()
    source.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "migd")
    wait_for("the source's migration ended", lambda: run.status()["state"] == "failed", step=0.1)
    stays(run, "migd ended while", begun, "the source's daemon was killed")
    w.migrate(source, destination, "--verify")


def case_cut_in_the_blackout(stage):
    """Before the decision the source runs on at once when it notices; after it the destination, or the source, is in doubt until they can
    talk, and then it is clear."""
    for host in stage.hosts:
        prepare(host)
    w, source, destination = begin(stage)
    for point, on_source, ends in (("final-pages", True, "source"), ("prepare", True, "source"), ("committed", True, "destination"),
                                   ("in-accepted", False, "destination")):
        victim = source if on_source else destination
        pid = pid_of(victim)
        set_fault(victim, point + ":stop")
        run = Run(w, source, destination, "--bandwidth", "0", follow=False)
        wait_for(f"{victim.name} at {point}", lambda v=victim, p=pid: is_stopped(v, p))
        clear_fault(victim)
        source.cut()
        victim.run("kill", "-CONT", str(pid))
        begun = time.monotonic()
        if ends == "source":
            wait_for(f"cut at {point}: the source running", lambda: w.running(source), step=0.05)
            took = time.monotonic() - begun
            source.cut(False)
            print(f"# cut at {point}: the source ran again {took:.1f} s after the cut")
            expect(took < 60, f"cut at {point}: it took {took:.1f} s")
        else:
            time.sleep(6)
            expect(not w.running(source), f"cut at {point}: the source runs although it had decided")
            source.cut(False)
            back = time.monotonic()
        runs = source if ends == "source" else destination
        wait_for(f"cut at {point}: {runs.name} alone running", lambda: w.running(runs) and not w.running(source if runs is destination else destination), step=0.05)
        wait_for(f"cut at {point}: an end", lambda: run.status()["state"] in ("completed", "failed"), step=0.05)
        if ends == "destination":
            print(f"# cut at {point}: clear {time.monotonic() - back:.1f} s after the network was back: {run.status()['state']}")
            source, destination = swap(w, source, destination)
        else:
            wait_for("the destination waiting again", lambda: json.loads(destination.run("migctl", "--json", "show", w.name))["State"] == "waiting", step=0.1)
    w.migrate(source, destination, "--verify")


case_cut_in_the_blackout.faults = True
