# SPDX-License-Identifier: LGPL-2.1-or-later
"""migd moves the memory of libvirt's guests, and libvirt the rest: the hook of the destination is the barrier between the two."""
import json

from cases_hook import both_ready, told
from libvirt_stage import Guest
from stage import expect, wait_for

WAIT_CONF = "/etc/migd/migd.conf.d/50-arrival.conf"


def ready(stage, wait="30s"):
    for host in stage.hosts:
        host.write(WAIT_CONF, f"[Libvirt]\nArrivalWait={wait}\nDestinationUri=qemu+tcp://%h:16510/system\n")
    both_ready(stage)
    guest = Guest(stage, "vm", size_mib=256, second_monitor=True)
    guest.start(stage.a)
    registered(guest, stage.a)
    return guest


def domain(guest, host):
    """What migd there knows of it; None: nothing."""
    code, out, _ = host.try_run("migctl", "--json", "show", guest.name)
    shown = json.loads(out) if code == 0 else {}
    return shown if "Memory" in shown else None  # else it is a migration of that name


def registered(guest, host, incoming=False):
    def is_there():
        d = domain(guest, host)
        return d if d and d["Controller"] == "libvirt" and d["Incoming"] == incoming and d["Memory"] else None
    return wait_for(f"migd at {host.name} knows {guest.name}", is_there, step=0.1)


def moves(guest, source, destination, *options):
    """One command; what it said at the end."""
    before = guest.seen(source)
    destination.try_run("rm", "-f", f"/run/guest/{guest.name}.serial")
    code, out, errors = source.try_run("migctl", "start", guest.name, destination.name, "--engine=native", "--verify=strict", *options, seconds=300)
    expect(code == 0, f"migctl start: exit {code}: {errors.strip()[-500:]} {out[-300:]}")
    guest.alone(destination, source)
    guest.check(destination, before)
    wait_for("the source forgets it", lambda: domain(guest, source) is None, step=0.1)
    expect(domain(guest, destination)["State"] == "running", f"the destination's migd: {domain(guest, destination)}")
    return out


def case_native_moves_a_guest(stage):
    """There and back, each page proved; QEMU's own stream has no RAM in it."""
    a, b = stage.hosts
    guest = ready(stage)
    for source, destination in ((a, b), (b, a)):
        out = moves(guest, source, destination)
        expect("proved" in out, f"migctl start says nothing of a proof: {out[-400:]}")


case_native_moves_a_guest.libvirt = True


def case_native_nobody_comes(stage):
    """A guest that arrives while no migd moves it waits for a while; then QEMU moves it, and migd has it as any other."""
    a, b = stage.hosts
    guest = ready(stage, wait="2s")
    before = guest.seen(a)
    code, _, errors = guest.virsh_migrate(a, b)
    expect(code == 0, f"virsh migrate: {errors.strip()[-400:]}")
    guest.alone(b, a)
    expect(told(b, "no migd came for the memory of vm"), f"the destination's migd says nothing of it: {b.journal('-u', 'migd')[-400:]}")
    registered(guest, b)
    line = wait_for("the guest counts on", lambda: (lambda s: s if s and s["n"] > before["n"] else None)(guest.seen(b)), step=0.1)
    expect(line["n"] > before["n"], "the guest does not go on")


case_native_nobody_comes.libvirt = True


def case_native_is_given_up(stage):
    """A migration that is cancelled while the guest waits: libvirt's ends too, and the guest goes on at the source; then it is moved."""
    a, b = stage.hosts
    guest = ready(stage)
    before = guest.seen(a)
    a.run("migctl", "start", guest.name, b.name, "--engine=native", "--bandwidth=4M", "--detach")
    wait_for("it is under way", lambda: domain(guest, a)["State"] == "migrating", step=0.05)
    a.run("migctl", "cancel", guest.name)
    wait_for("libvirt has given it up too", lambda: told(a, "libvirt did not finish its part"), step=0.1)
    guest.alone(a, b)
    guest.check(a, before)
    wait_for("the destination forgets it", lambda: domain(guest, b) is None, step=0.1)
    moves(guest, a, b)


case_native_is_given_up.libvirt = True


def case_native_survives(stage):
    """The migd of the destination, then that of the source, is killed while memory moves: the guest goes on at the source, libvirt and migd know it
    there, and the next attempt moves it."""
    a, b = stage.hosts
    guest = ready(stage)
    for victim in (b, a):
        before = guest.seen(a)
        a.run("migctl", "start", guest.name, b.name, "--engine=native", "--bandwidth=4M", "--reconnect-timeout=5s", "--detach")
        wait_for("it is under way", lambda: (domain(guest, a) or {}).get("State") == "migrating", step=0.05)
        victim.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "migd")
        wait_for(f"after {victim.name}'s migd was killed the guest's QEMU is gone at {b.name}", lambda: guest.state(b) in ("", "shut off"), step=0.2)
        wait_for("the source's migd has given it up", lambda: (domain(guest, a) or {}).get("State") == "running", step=0.1)
        wait_for("the destination forgets it", lambda: domain(guest, b) is None, step=0.1)
        guest.alone(a, b)
        guest.check(a, before)
    moves(guest, a, b)


case_native_survives.libvirt = True
