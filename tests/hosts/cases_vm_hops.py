# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirt guest goes to and fro while it writes and proves its memory: with each engine, MIGD_HOPS times (2 when nobody says).

Neither may lose anything. What QEMU 7.2 under TCG loses by itself of a guest whose RAM is not odd (libvirt_stage.py says why) is what vm-hops-virsh
shows, where migd takes no part: such hops are counted and told, and the next one is of another guest."""
import os

from libvirt_stage import Guest
from stage import Failed, expect
from vm_moves import ask_qemu, move, place, ready

ATTEMPTS = 4  # of a hop that QEMU makes


def hops():
    return int(os.environ.get("MIGD_HOPS") or 2)


class Row:
    """Hops of guests with one engine; what became of them."""

    def __init__(self, stage, engine):
        self.stage, self.engine, self.guests = stage, engine, 0
        self.downtimes, self.lost = [], []
        if engine != "virsh":
            ready(stage, engine)
        self.fresh()

    def fresh(self):
        """Where the hops are many, a guest of 1 GiB that rewrites 16 MiB per second. It looks at each page again and again."""
        self.guests += 1
        keys = {"size_mib": 1024, "rate": 4000} if hops() > 2 else {"size_mib": 256, "rate": 1000}
        name, (self.source, self.destination) = f"vm{self.guests}", self.stage.hosts
        if self.engine == "virsh":  # no migd looks at it
            self.guest = Guest(self.stage, name, second_monitor=True, **keys)
            self.guest.start(self.source)
        else:
            self.guest = place(self.stage, self.source, name, self.engine, **keys)

    def move(self):
        if self.engine != "virsh":
            return move(self.guest, self.engine, self.source, self.destination)
        code, _, errors = self.guest.virsh_migrate(self.source, self.destination)
        expect(code == 0, f"virsh migrate: {errors.strip()[-400:]}")
        self.guest.alone(self.destination, self.source)
        return {"downtime": 0, "round": 0}

    def hop(self, n):
        before = self.guest.seen(self.source)
        said = self.move()
        self.source, self.destination = self.destination, self.source
        after = self.guest.check(self.source, before, seconds=300)
        expect(after["written"] > before["written"], f"hop {n}: the guest wrote nothing: {before} {after}")
        self.downtimes.append(said["downtime"])
        print(f"# {self.engine} {n:2} to {self.source.name}: downtime {said['downtime'] / 1000:.0f} ms, {said['round']} rounds, n={after['n']} "
              f"written={after['written']} sweeps={after['sweeps']} bad={after['bad']}", flush=True)

    def lose(self, n, why):
        """QEMU's loss: told, and the next hop is of another guest."""
        self.lost.append(n)
        silent = self.guest.state(self.source), ask_qemu(self.guest, self.source)["status"], self.guest.serial(self.source)[-80:]
        print(f"# {self.engine} {n:2}: lost by QEMU: {why}: {silent}", flush=True)
        for host in self.stage.hosts:
            host.try_run("virsh", "-q", "destroy", self.guest.name)
        self.fresh()

    def report(self):
        ms = sorted(d / 1000 for d in self.downtimes)
        print(f"# {self.engine}: {len(ms)} hops whole, {len(self.lost)} lost, downtime {ms[0]:.0f} to {ms[-1]:.0f} ms, median {ms[len(ms) // 2]:.0f} ms" if ms
              else f"# {self.engine}: no hop", flush=True)


def whole(stage, engine):
    row = Row(stage, engine)
    for n in range(hops()):
        row.hop(n + 1)
    row.report()


def case_vm_hops_native(stage):
    """No page is lost, and the guest goes on counting."""
    whole(stage, "native")


def case_vm_hops_libvirt(stage):
    """The same with QEMU's own migration."""
    whole(stage, "libvirt")


def case_vm_hops_virsh(stage):
    """What QEMU loses by itself here: virsh alone moves the guest, and a hop that was lost is made again."""
    row = Row(stage, "virsh")
    for n in range(hops()):
        for attempt in range(ATTEMPTS):
            try:
                row.hop(n + 1)
                break
            except Failed as e:
                if ("bad pages" not in str(e) and "counts beyond" not in str(e)) or attempt + 1 == ATTEMPTS:
                    raise
                row.lose(n + 1, e)
    row.report()


for case in (case_vm_hops_native, case_vm_hops_libvirt, case_vm_hops_virsh):
    case.libvirt = True
case_vm_hops_virsh.named_only = True
