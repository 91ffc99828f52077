# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many connections a migration opens by itself, through a relay that gives each of them a rate of its own or all of them one together, and what becomes of
them when all break."""
import socket
import threading
import time

from harness import Device, expect, wait_for
from registry import Cases

CASES = Cases()
MIB = 1 << 20
PIECE = 64 << 10


class Rate:
    """Bytes per second, for whoever takes from it."""

    def __init__(self, rate):
        self.rate, self.next, self.lock = rate, time.monotonic(), threading.Lock()

    def take(self, size):
        with self.lock:
            self.next = max(self.next, time.monotonic() - 0.02) + size / self.rate
            wait = self.next - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class Relay:
    """Before a destination. each: of a connection; together: of all of them; what goes back is free."""

    def __init__(self, to, each=None, together=None):
        self.to, self.each, self.together = to.rsplit(":", 1), each, together and Rate(together)
        self.sockets, self.lock = [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection((self.to[0], int(self.to[1])))
            except OSError:
                return
            for s in (near, far):  # no stores on the way, or the rate would show late
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            with self.lock:
                self.sockets += [near, far]
            rates = [r for r in (Rate(self.each) if self.each else None, self.together) if r]
            threading.Thread(target=self.pump, args=(near, far, rates), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, []), daemon=True).start()

    @staticmethod
    def pump(source, to, rates):
        try:
            while data := source.recv(PIECE):
                for r in rates:
                    r.take(len(data))
                to.sendall(data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        with self.lock:
            for s in self.sockets:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.sockets = []

    def close(self):
        self.listener.close()
        self.cut()


def stage(rig, **relay):
    r = rig(size=96 * MIB, devices=[Device(rate=50)], threads=1, rate=50).up()
    r.relay = Relay(r.destination(), **relay)
    r.listen["B"] = r.relay.address
    return r


def say(what, s):
    print(f"# {what}: {s['connections']} connections: {s['connections-why']}; {s['time-elapsed'] / 1e6:.1f} s")


@CASES.case("connections-full-link")
def full_link(rig):
    """30 MiB/s for all together: one more is tried, and it brings nothing."""
    r = stage(rig, together=30 * MIB)
    s = r.migrate("--verify=strict", "--max-downtime=5s")
    say("together", s)
    expect(s["connections"] in (3, 4) and s["connections-why"].startswith("the last one changed the speed by"), f"{s['connections']}: {s['connections-why']}")
    r.judge_moved()
    r.relay.close()


@CASES.case("connections-slow-each")
def slow_each(rig):
    """5 MiB/s for each: more of them come, and all of them come back after a break."""
    r = stage(rig, each=5 * MIB)
    p = r.start_background("--verify=strict", "--max-downtime=5s")
    wait_for("more connections", lambda: r.A.peek("connections") >= 4)
    r.relay.cut()
    wait_for("the end", lambda: not p.alive())
    s = r.A.status()
    say("each, with a break", s)
    expect(s["state"] == "completed" and s["verify"] == "proved", f"{s['state']}: {s['message']}")
    expect(s["reconnects"] == 1 and s["connections"] >= 4, f"{s['reconnects']} breaks, {s['connections']} connections")
    expect(r.B.status()["connections"] == s["connections"], f"the destination counts {r.B.status()['connections']}")
    r.judge_moved()
    r.relay.close()


@CASES.case("connections-asked-for")
def asked_for(rig):
    """A number stays a number, and one that the configuration forbids to go beyond holds."""
    r = stage(rig, each=20 * MIB)
    s = r.migrate("--connections=1", "--max-downtime=5s")
    expect(s["connections"] == 1 and s["connections-why"] == "as many as were asked for", f"{s['connections']}: {s['connections-why']}")
    r.judge_moved()
    r.relay.close()


@CASES.case("connections-limit")
def limit(rig):
    r = rig(size=96 * MIB, devices=[], threads=1, rate=50, config={"A": "[Migration]\nMaxConnections=3\n"}).up()
    relay = Relay(r.destination(), each=8 * MIB)
    r.listen["B"] = relay.address
    s = r.migrate("--max-downtime=5s")
    say("MaxConnections=3", s)
    expect(s["connections"] == 3 and s["connections-why"] == "no more are allowed", f"{s['connections']}: {s['connections-why']}")
    r.judge_moved()
    relay.close()
