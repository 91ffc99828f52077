# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures of both engines side by side, with TLS and without, taken in turns in one run on one guest: how long the guest stood still, by QEMU's or
migd's count, by the guest's own clock and by pulses that it gives to the outside; what was carried per second; and the CPU time of everybody
who took part. For people to read: nothing is judged but that no page is lost. The guest is one that either engine moves whole. Runs only when it is
named; MIGD_HOPS says how often each (3)."""
import os
import re
import statistics
import threading
import time

from cases_tls import configure, give_certificates, read
from vm_moves import ENGINES, MEMORY, let_wait, move, place, ready

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def size_of(file):
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


class Watch(threading.Thread):
    """Looks at the processes of both hosts, and at the guest's pulses, until it is ended."""

    def __init__(self, stage, guest, source, destination):
        super().__init__(daemon=True)
        self.source, self.hosts, self.guest = source, (source, destination), guest
        self.files = [f"/proc/{h.leader}/root/run/guest/{guest.name}.pulse" for h in self.hosts]
        self.cpu, self.first, self.gap, self.ending = {}, {}, 0.0, threading.Event()

    def processes(self):
        for host in self.hosts:
            for name in ("migd", "libvirtd", "qemu-system-x86"):
                for pid in children(host.leader, name):
                    yield name, pid

    def look_at_cpu(self):
        for name, pid in self.processes():
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            used = (int(fields[11]) + int(fields[12])) * TICK
            new = not self.began  # who is there at the beginning has a past
            self.first.setdefault((name, pid), used if new else 0.0)
            self.cpu[name, pid] = used
        self.began = True

    def run(self):
        self.began, sizes, last, next_look = False, None, time.monotonic(), 0.0
        while not self.ending.is_set():
            now = time.monotonic()
            if now >= next_look:
                self.look_at_cpu()
                next_look = now + 0.1
            seen = [size_of(f) for f in self.files]
            if seen != sizes:
                self.gap = max(self.gap, now - last if sizes else 0.0)
                sizes, last = seen, now
            time.sleep(0.002)

    def end(self):
        self.ending.set()
        self.join()
        used = {}
        for (name, pid), seconds in self.cpu.items():
            used[name] = used.get(name, 0.0) + seconds - self.first[name, pid]
        return used


def children(leader, name):
    """Processes of this name below a host's PID 1, by their session's root: those that see the same PID name space."""
    space = os.stat(f"/proc/{leader}/ns/pid").st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                if f.read().strip() == name and os.stat(f"/proc/{pid}/ns/pid").st_ino == space:
                    yield int(pid)
        except OSError:
            continue


def give_qemu_certificates(stage):
    for host in stage.hosts:
        folder = os.path.join(stage.path("ca"), host.name)
        for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem", "client-cert.pem", "client-key.pem"):
            host.write(f"/etc/pki/qemu/{name}", read(os.path.join(folder, name)), 0o600)


def one(stage, guest, engine, tls, source, destination):
    let_wait(stage, engine)
    for host in stage.hosts:
        configure(host, *([] if tls else ["Security=plain"]))
        host.run("systemctl", "reload", "migd")
    time.sleep(2)  # the guest's figures of the second before
    before = guest.seen(source)
    watch = Watch(stage, guest, source, destination)
    watch.start()
    begun = time.monotonic()
    try:
        said = move(guest, engine, source, destination, "--max-downtime=300ms", verify=False)
        took = time.monotonic() - begun
        time.sleep(1.5)
    finally:
        used = watch.end()
    guest.check(destination, before, seconds=300)
    own = [int(g) for g in re.findall(r"last_gap_us=(\d+)", guest.serial(destination))][:3]
    mib = said["memory-processed"] / (1 << 20)
    return {"downtime_ms": said["downtime"] / 1000, "own_gap_ms": max(own) / 1000, "pulse_gap_ms": watch.gap * 1000, "mib": mib,
            "seconds": said["time-elapsed"] / 1e6, "mib_per_s": mib / (said["time-elapsed"] / 1e6), "command_s": took,
            "cpu_migd": used.get("migd", 0), "cpu_qemu": used.get("qemu-system-x86", 0), "cpu_libvirtd": used.get("libvirtd", 0)}


def surroundings(stage):
    version = next(line for line in stage.a.run("virsh", "version").splitlines() if line.startswith("Running hypervisor")).split(": ")[1]
    return f"{version} under TCG, memory {MEMORY['libvirt']}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"


def case_vm_figures(stage):
    give_certificates(stage)
    give_qemu_certificates(stage)
    for host in stage.hosts:  # one that ends when it is idle counts its guests from 1 again, and the scope of an earlier 1 may still be there
        host.write("/etc/default/libvirtd", 'LIBVIRTD_ARGS=""\n')
    ready(stage, "native")
    guest = place(stage, stage.a, "vm", "libvirt", size_mib=512, fill_mib=256, rate=500, pulse_msec=10, words="guest.check=2000")
    source, destination = stage.hosts
    found = {}
    print(f"# {surroundings(stage)}", flush=True)
    for n in range(int(os.environ.get("MIGD_HOPS") or 3)):
        for tls in (False, True):
            for engine in ENGINES:
                f = one(stage, guest, engine, tls, source, destination)
                found.setdefault((engine, tls), []).append(f)
                print(f"# {n + 1} {engine:8} {'TLS  ' if tls else 'plain'} " + " ".join(f"{k}={v:.1f}" for k, v in f.items()), flush=True)
                source, destination = destination, source
    print(f"# {surroundings(stage)}")
    print("# medians         " + " ".join(f"{k:>12}" for k in f))
    for (engine, tls), runs in found.items():
        print(f"# {engine:8} {'TLS  ' if tls else 'plain'}   " + " ".join(f"{statistics.median(r[k] for r in runs):12.1f}" for k in f), flush=True)


case_vm_figures.libvirt = case_vm_figures.named_only = True
