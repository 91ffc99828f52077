# SPDX-License-Identifier: LGPL-2.1-or-later
"""A source that speaks the whole dialogue and deviates at one place, again and again; afterwards the destination has lost nothing, has
grown by nothing, and takes the next migration in."""
import json
import os
import random
import socket
import struct
import threading
import time

import wire
from harness import Failed, MIB, expect, wait_for
from registry import Cases

CASES = Cases()
SIZE = 1 * MIB
RUNS = int(os.environ.get("MIGD_DEVIATIONS", "150"))
STATE_MAGIC = 0x3153555043444d45  # contrib/examples/workload/cpus.h
EDGES = [0, 1, 15, 4095, 4097, 1 << 16, 1 << 22, (1 << 32) - 1, 1 << 62, (1 << 64) - 1]


class Deviation:
    """At one frame of the dialogue, something else. What it was is in `told`."""

    def __init__(self, seed, frames):
        self.random = random.Random(seed)
        self.at, self.seen, self.told, self.kept, self.end = self.random.randrange(frames), 0, "nothing", [], False

    def __call__(self, line, frame):
        self.seen += 1
        if frame.kind != wire.HELLO:
            self.kept.append((line, frame))
        if self.seen - 1 != self.at:
            return [frame]
        what = self.random.choice([w for w in dir(self) if w.startswith("do_")])
        self.told = f"{what[3:]} at frame {self.at} ({line.name}, type {frame.kind})"
        return getattr(self, what)(line, frame)

    def do_leave_out(self, line, frame):
        return []

    def do_twice(self, line, frame):
        return [frame, frame]

    def do_many_times(self, line, frame):
        return [frame] * 200

    def do_replay(self, line, frame):
        old = wire.Frame(frame.kind, frame.payload)
        if self.kept:
            old = self.random.choice(self.kept)[1]
        return [frame, old]

    def do_sequence(self, line, frame):
        frame.sequence = self.random.choice(EDGES)
        return [frame]

    def do_field(self, line, frame):
        name = self.random.choice(["region", "count", "offset", "zero_length", "fence", "flags", "kind", "magic", "version", "sum"])
        setattr(frame, name, self.random.choice(EDGES))
        return [frame]

    def do_huge(self, line, frame):
        """Says that much more follows than does; then silence, until the end."""
        frame.length = len(frame.payload) + self.random.choice([1, 4096, 1 << 20, 1 << 31, 1 << 63])
        self.end = True
        return [frame]

    def do_short(self, line, frame):
        frame.payload = frame.payload[:self.random.randrange(len(frame.payload) + 1)]
        return [frame]

    def do_damage(self, line, frame):
        data = bytearray(frame.payload or b"x")
        for _ in range(self.random.randrange(1, 4)):
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        frame.payload = bytes(data)
        return [frame]

    def do_json(self, line, frame):
        """Another value, or none, for one of the keys."""
        try:
            said = json.loads(frame.payload)
        except ValueError:
            return self.do_damage(line, frame)
        key = self.random.choice(list(said))
        if self.random.random() < 0.3:
            del said[key]
        else:
            said[key] = self.random.choice([None, True, -1, 1e300, 1 << 63, "", "\x1b[2J", "x" * 100000, [], [[[[[]]]]] * 9, {}, ["a"] * 5000, {"a": {}}])
        frame.payload = wire.compact(said)
        return [frame]

    def do_garbage(self, line, frame):
        return [self.random.randbytes(self.random.choice([1, 63, 64, 65, 5000]))]

    def do_other_message(self, line, frame):
        word = self.random.choice(["commit", "verify", "prepare", "done", "abort", "active", "fence", "\x07"])
        return [wire.Frame(wire.MESSAGE, wire.compact({"message": word}))]

    def do_cut(self, line, frame):
        self.end = True
        return [frame.seal(line.sequence)[:self.random.randrange(64 + len(frame.payload))]]

    def do_reset(self, line, frame):
        line.close(reset=True)
        return [frame]

    def do_stop_reading(self, line, frame):
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        return [frame] + [wire.Frame(wire.MESSAGE, wire.compact({"message": "verify"})) for _ in range(300)]


def example_state(size, cpus):
    return struct.pack("<QQQII", STATE_MAGIC, size, 0, cpus, 0) + bytes(24 * 64)


def one(r, decider, deviation, resumes=False):
    source = wire.Source(r.destination(), "demo", "ram0", SIZE, decider, deviation, resumes)
    try:
        return source.run(example_state(SIZE, 1))
    except (OSError, ValueError):
        return None
    finally:
        source.close()


def rest(r):
    """Until it waits again. One that was prepared asks the decider."""
    def waits():
        state = r.B.show()["state"]
        expect(state in ("waiting", "receiving", "in-doubt"), f"the destination is {state}")
        return state == "waiting"
    wait_for("the destination waiting again", waits)


def resident_kib(side):
    with open(f"/proc/{side.migd.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@CASES.case("hostile-source")
def hostile_source(rig):
    r = rig(devices=[], size=SIZE, threads=1, rate=200).up()
    decider = wire.Decider()
    for resumes in (False, True):
        answer = one(r, decider, None, resumes)
        expect(answer and answer.get("message") == "prepared", f"a source that does nothing wrong is not heard to its end (resumes: {resumes}): {answer}")
        rest(r)
    seed = int(os.environ.get("MIGD_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    fds, kib = len(r.B.migd.fds()), None
    for n in range(RUNS):
        resumes = n % 5 == 0  # such a run takes longer: the destination waits for a source that is away
        deviation = Deviation(seed + n, 30 if resumes else 26)
        one(r, decider, deviation, resumes)
        expect(r.B.migd.alive(), f"migd died of {deviation.told}, seed {seed + n}: {r.B.migd.log()[-2000:]}")
        try:
            rest(r)
        except Failed as e:
            raise Failed(f"{e}, after {deviation.told}, seed {seed + n}") from None
        if n == RUNS // 3:
            kib = resident_kib(r.B)
    grown = resident_kib(r.B) - kib
    expect(grown < 16 * 1024, f"the destination grew by {grown} KiB in {RUNS - RUNS // 3} runs, seed {seed}")
    wait_for("as many descriptors as before", lambda: len(r.B.migd.fds()) == fds)
    decider.close()
    r.migrate("--verify=strict")
    r.judge_moved()


def drip(address, stop):
    """A connection that says its first frame a byte at a time."""
    data = wire.Frame(wire.HELLO, wire.compact({"migration": "0" * 32})).seal(0)
    try:
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5) as s:
            for b in data:
                if stop.wait(0.5):
                    return
                s.sendall(bytes([b]))
    except OSError:
        pass


@CASES.case("hostile-thousand-connections")
def thousand_connections(rig):
    """Those that say nothing, and those that say it slowly; a migration between them is not kept out."""
    r = rig(devices=[], size=4 * MIB, threads=1, rate=200).up()
    kib, before, stop = resident_kib(r.B), len(r.B.migd.fds()), threading.Event()
    slow = [threading.Thread(target=drip, args=(r.destination(), stop), daemon=True) for _ in range(20)]
    for t in slow:
        t.start()
    silent = []
    for _ in range(2000):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", int(r.destination().rpartition(":")[2])))
        silent.append(s)
    time.sleep(1)
    expect(resident_kib(r.B) - kib < 32 * 1024, f"2000 connections cost {resident_kib(r.B) - kib} KiB")
    expect(len(r.B.migd.fds()) < 200, f"{len(r.B.migd.fds())} descriptors are open")

    # Who says HELLO gets the place of somebody who says nothing.
    r.migrate("--verify=strict")
    stop.set()
    for s in silent:
        s.close()
    # What was under way in the queue of the listener when it was closed is let go when its time is over.
    wait_for("the silent to be gone", lambda: len(r.B.migd.fds()) <= before)
    r.judge_moved()
