# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirt guest goes to and fro while it writes and proves its memory: with each engine, MIGD_HOPS times (2 when nobody says).

migd's own engine must lose nothing. With engine=libvirt migd touches no page, and QEMU 7.2 under TCG loses one, or the whole guest, by itself
in about 2 of 44 live hops (virsh alone does so too): such hops are counted, told, and may be no more than that."""
import os

from stage import Failed, expect
from vm_moves import move, place, ready


def hops():
    return int(os.environ.get("MIGD_HOPS") or 2)


class Row:
    """Hops of guests with one engine; what became of them."""

    def __init__(self, stage, engine):
        self.stage, self.engine, self.guests = stage, engine, 0
        self.downtimes, self.lost = [], []
        ready(stage, engine)
        self.fresh()

    def fresh(self):
        """A guest of 1 GiB where the hops are many, which rewrites up to 16 MiB per second and looks at each page again and again."""
        self.guests += 1
        self.guest = place(self.stage, self.stage.a, f"vm{self.guests}", size_mib=1024 if hops() > 2 else 256, rate=4000)
        self.source, self.destination = self.stage.a, self.stage.b

    def hop(self, n):
        before = self.guest.seen(self.source)
        said = move(self.guest, self.engine, self.source, self.destination)
        self.source, self.destination = self.destination, self.source
        after = self.guest.check(self.source, before, seconds=300)
        expect(after["written"] > before["written"], f"hop {n}: the guest wrote nothing: {before} {after}")
        self.downtimes.append(said["downtime"])
        print(f"# {self.engine} {n:2} to {self.source.name}: downtime {said['downtime'] / 1000:.0f} ms, {said['round']} rounds, n={after['n']} "
              f"written={after['written']} sweeps={after['sweeps']} bad={after['bad']}", flush=True)

    def lose(self, n, why):
        """QEMU's loss: told, and the next hop is of another guest."""
        self.lost.append(n)
        print(f"# {self.engine} {n:2}: lost by QEMU: {why}", flush=True)
        for host in self.stage.hosts:
            host.try_run("virsh", "-q", "destroy", self.guest.name)
        self.fresh()

    def report(self):
        ms = sorted(d / 1000 for d in self.downtimes)
        print(f"# {self.engine}: {len(ms)} hops whole, {len(self.lost)} lost by QEMU itself, downtime {ms[0]:.0f} to {ms[-1]:.0f} ms, median {ms[len(ms) // 2]:.0f} ms" if ms
              else f"# {self.engine}: no hop", flush=True)


def case_vm_hops_native(stage):
    """No page is lost, and the guest goes on counting."""
    row = Row(stage, "native")
    for n in range(hops()):
        row.hop(n + 1)
    row.report()


def case_vm_hops_libvirt(stage):
    """The same with QEMU's own migration: what it loses under TCG by itself is told apart, since migd says that the move was completed."""
    row = Row(stage, "libvirt")
    for n in range(hops()):
        try:
            row.hop(n + 1)
        except Failed as e:
            if "bad pages" not in str(e) and "counts beyond" not in str(e):
                raise
            row.lose(n + 1, e)
    row.report()
    expect(len(row.lost) <= 1 + hops() // 8, f"{len(row.lost)} of {hops()} hops lost something: more than QEMU does by itself")


for case in (case_vm_hops_native, case_vm_hops_libvirt):
    case.libvirt = True
