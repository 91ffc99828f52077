# SPDX-License-Identifier: LGPL-2.1-or-later
"""virsh migrate with the hook enabled and NativePeers= at both hosts: migd moves the memory, and whoever typed virsh does not know it."""
import json

from cases_hook import both_ready, told
from cases_native import domain, registered
from cases_tls import configure, give_certificates
from faults import clear_fault, prepare, set_fault
from libvirt_stage import Guest
from stage import expect, wait_for

CONF = "/etc/migd/migd.conf.d/60-virsh.conf"


def ready(stage, peers=None, wait="60s", **guest):
    """Both hosts name each other (peers: host name to value), and a prepared guest runs at the first."""
    a, b = stage.hosts
    peers = peers or {a.name: b.name, b.name: a.name}
    for host in stage.hosts:
        host.write(CONF, f"[Libvirt]\nArrivalWait={wait}\nNativePeers={peers.get(host.name, '')}\n")
    both_ready(stage)
    guest = Guest(stage, "vm", size_mib=256, second_monitor=True, **guest)
    guest.start(a)
    registered(guest, a)
    return guest


def virsh(guest, source, destination, *options, p2p=True):
    """As the user types it. (exit status, what it says on standard error)"""
    destination.try_run("rm", "-f", f"/run/guest/{guest.name}.serial")
    command = guest.migrate_command(destination, *options)
    if not p2p:
        command.remove("--p2p")
    code, _, errors = source.try_run(*command, seconds=300)
    return code, errors.strip()[-400:]


def outgoing(host):
    """The migrations of the guest that began at this host, oldest first: (engine, state)."""
    listed = json.loads(host.run("migctl", "--json", "list"))
    return [(m["Status"]["engine"], m["State"]) for m in listed["migrations"] if m["Direction"] == "outgoing"]


def case_virsh_goes_native(stage):
    """There with --p2p and back without: migd at the source is asked, moves the memory, and each page is right. libvirt knows nothing of it."""
    a, b = stage.hosts
    guest = ready(stage)
    for source, destination, p2p in ((a, b, True), (b, a, False)):
        before = guest.seen(source)
        code, errors = virsh(guest, source, destination, p2p=p2p)
        expect(code == 0, f"virsh migrate: exit {code}: {errors}")
        guest.alone(destination, source)
        guest.check(destination, before)
        expect(outgoing(source) == [("native", "completed")], f"migctl list at the source: {outgoing(source)}")
        for host, text in ((source, "which asks for its memory: migd moves that"), (destination, "moves the memory of vm")):
            expect(told(host, text), f"{host.name}'s migd does not say '{text}': {host.journal('-u', 'migd')[-600:]}")
        expect(not told(destination, "QEMU moves it"), "QEMU has moved the memory")
        wait_for("the source forgets it", lambda: domain(guest, source) is None, 60, 0.1)
        expect(domain(guest, destination)["State"] == "running", f"the destination's migd: {domain(guest, destination)}")


def case_virsh_over_tls(stage):
    """The same with certificates, which have names and no addresses: each host knows the other by what TLS shows."""
    a, b = stage.hosts
    give_certificates(stage)
    for host in stage.hosts:
        configure(host)
    guest = ready(stage)
    before = guest.seen(a)
    code, errors = virsh(guest, a, b)
    expect(code == 0, f"virsh migrate: exit {code}: {errors}")
    guest.alone(b, a)
    guest.check(b, before)
    expect(outgoing(a) == [("native", "completed")], f"migctl list at the source: {outgoing(a)}; {b.journal('-u', 'migd')[-600:]}")
    expect(told(b, f"TLS shows it to be {a.name}"), f"the destination's migd: {b.journal('-u', 'migd')[-600:]}")


def case_virsh_postcopy(stage):
    """What does not go together with RAM that is not in QEMU's stream: QEMU refuses it, after migd has moved the memory, and the guest goes on at the
    source."""
    a, b = stage.hosts
    guest = ready(stage)
    before = guest.seen(a)
    code, _ = virsh(guest, a, b, "--postcopy")
    expect(code != 0, "virsh migrate --postcopy went on")
    wait_for("the source's migd has it", lambda: (domain(guest, a) or {}).get("State") == "running", 120, 0.2)
    wait_for("it runs at the source", lambda: guest.state(a) == "running", 60, 0.2)
    guest.alone(a, b)
    guest.check(a, before)


def reload(host, peers, wait="600s"):
    host.write(CONF, f"[Libvirt]\nArrivalWait={wait}\nNativePeers={peers}\n")
    host.run("systemctl", "reload", "migd")


def goes_whole(guest, source, destination, *reasons):
    """virsh migrate succeeds by QEMU alone, within the time that a command may take here, which is less than ArrivalWait. QEMU may lose a page by itself
    under TCG, or hang the guest: only who has it is looked at."""
    code, errors = virsh(guest, source, destination)
    expect(code == 0, f"virsh migrate: exit {code}: {errors}")
    guest.alone(destination, source)
    for reason in reasons:
        expect(told(destination, reason), f"{destination.name}'s migd does not say '{reason}': {destination.journal('-u', 'migd')[-600:]}")
    registered(guest, destination)


def case_virsh_nobody_to_ask(stage):
    """No migd at the source, one that may not be asked, one that is out of reach: QEMU moves everything, at once, and the journal says why."""
    a, b = stage.hosts
    guest = ready(stage, wait="600s")
    a.run("systemctl", "stop", "migd")
    goes_whole(guest, a, b, "no host of NativePeers moves the memory of this guest", "no migd came for the memory of vm: QEMU moves it")
    a.run("systemctl", "start", "migd")
    reload(b, "")  # who does not name the asker does not give it anything
    goes_whole(guest, b, a, "is none of the hosts in NativePeers here")
    expect(outgoing(b) == [], f"a migration began: {outgoing(b)}")


def case_virsh_falls_back(stage):
    """migd's migration fails after the guest was paused, before anything is handed over: the guest runs at the source as before, and then QEMU moves it.
    One that is cancelled ends libvirt's too."""
    a, b = stage.hosts
    guest = ready(stage, wait="600s")
    for host in stage.hosts:
        prepare(host)
    registered(guest, a)
    set_fault(a, "before-decision:fail")
    goes_whole(guest, a, b, "migd at the source gave up moving the memory of vm: QEMU moves it")
    expect(outgoing(a) == [("native", "failed")], f"migctl list at the source: {outgoing(a)}")
    clear_fault(a)

    registered(guest, b)
    b.write("/etc/migd/migd.conf.d/70-slow.conf", "[Migration]\nBandwidth=2M\n")
    b.run("systemctl", "reload", "migd")
    b.start("virsh", *guest.migrate_command(a))
    wait_for("it is under way", lambda: (domain(guest, b) or {}).get("State") == "migrating", 120, 0.1)
    b.run("migctl", "cancel", guest.name)
    wait_for("libvirt has given it up too", lambda: b.try_run("systemctl", "is-active", "virsh")[1].strip() in ("failed", "inactive"), 120, 0.2)
    guest.alone(b, a)
    expect(told(a, "the guest stays at the source"), f"the destination's migd: {a.journal('-u', 'migd')[-600:]}")


def case_virsh_survives(stage):
    """The source's migd, then the destination's, is killed while memory moves: virsh fails, and the guest goes on at the source with all its pages."""
    a, b = stage.hosts
    for host in stage.hosts:
        host.write("/etc/migd/migd.conf.d/70-slow.conf", "[Migration]\nBandwidth=2M\nReconnectTimeout=5s\n")
    guest = ready(stage)
    for victim in (a, b):
        before = guest.seen(a)
        unit = f"virsh-{victim.name}"
        a.start(unit, *guest.migrate_command(b))
        wait_for("it is under way", lambda: (domain(guest, a) or {}).get("State") == "migrating", 120, 0.1)
        victim.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "migd")
        wait_for(f"virsh ends after {victim.name}'s migd was killed", lambda unit=unit: not a.alive(unit), 180, 0.2)
        expect("error:" in a.output(unit), f"virsh says: {a.output(unit)}")
        wait_for("its QEMU is gone at the destination", lambda: guest.state(b) in ("", "shut off"), 90, 0.2)
        registered(guest, a)
        wait_for("the source's migd has it", lambda: (domain(guest, a) or {}).get("State") == "running", 90, 0.2)
        wait_for("the destination forgets it", lambda: domain(guest, b) is None, 90, 0.2)
        guest.alone(a, b)
        guest.check(a, before)


def case_virsh_leaves_what_was_asked_for(stage):
    """migctl start with an engine, at the host that virsh would ask: libvirt's moves everything at once, and the native one is no second time begun."""
    a, b = stage.hosts
    guest = ready(stage, wait="600s")
    before = guest.seen(a)
    b.try_run("rm", "-f", f"/run/guest/{guest.name}.serial")
    a.run("migctl", "start", guest.name, b.name, "--engine=native", seconds=300)
    guest.alone(b, a)
    guest.check(b, before)
    expect(outgoing(a) == [("native", "completed")], f"migctl list: {outgoing(a)}")
    registered(guest, b)
    b.run("migctl", "start", guest.name, a.name, "--engine=libvirt", seconds=300)
    guest.alone(a, b)
    expect(outgoing(b) == [("libvirt", "completed")], f"migctl list: {outgoing(b)}")
    expect(told(a, "as was asked for"), f"the destination's migd: {a.journal('-u', 'migd')[-600:]}")


def plan(guest, source, destination):
    return json.loads(source.run("migctl", "--json", "start", guest.name, destination.name, "--dry-run"))["plan"]


def case_auto_chooses(stage):
    """engine=auto: native where both migds can, with the reason in the plan and in the status; else libvirt, with the reason: the destination does not
    wait, its hook is not enabled, the guest is paused, is not prepared."""
    a, b = stage.hosts
    guest = ready(stage)
    why = plan(guest, a, b)
    expect(why["engine"] == "native" and "the destination waits" in why["why"], f"the plan of a prepared guest: {why}")
    reload(b, a.name, wait="0")
    why = plan(guest, a, b)
    expect(why["engine"] == "libvirt" and "do not wait for migd" in why["why"], f"a destination that does not wait: {why}")
    code, _, errors = a.try_run("migctl", "start", guest.name, b.name, "--engine=native", seconds=300)
    expect(code != 0 and "do not wait for migd" in errors and "ArrivalWait=" in errors, f"whoever insists is told: {code} {errors}")
    expect(outgoing(a) == [], f"nothing has begun: {outgoing(a)}")
    guest.alone(a, b)
    reload(b, "hostc", wait="60s")
    why = plan(guest, a, b)
    expect(why["engine"] == "libvirt" and "NativePeers" in why["why"], f"a destination that waits for others: {why}")
    reload(b, a.name, wait="60s")
    b.run("migctl", "libvirt", "disable-hook")
    why = plan(guest, a, b)
    expect(why["engine"] == "libvirt" and "hook is not enabled" in why["why"], f"a destination without the hook: {why}")
    b.run("migctl", "libvirt", "enable-hook")
    a.run("virsh", "-q", "suspend", guest.name)
    why = plan(guest, a, b)
    expect(why["engine"] == "libvirt" and "paused" in why["why"], f"a paused guest: {why}")
    a.run("virsh", "-q", "resume", guest.name)

    plain = Guest(stage, "plain", size_mib=128, memory="private", fill_mib=24)
    plain.start(a)
    why = plan(plain, a, b)
    expect(why["engine"] == "libvirt" and "shared files" in why["why"], f"a guest that was not prepared: {why}")
    a.run("migctl", "start", plain.name, b.name, seconds=300)
    plain.alone(b, a)

    before = guest.seen(a)
    b.try_run("rm", "-f", f"/run/guest/{guest.name}.serial")
    a.run("migctl", "start", guest.name, b.name, seconds=300)
    guest.alone(b, a)
    guest.check(b, before)
    status = json.loads(a.run("migctl", "--json", "status", guest.name))
    expect(status["engine"] == "native" and "the destination waits" in status["engine-why"], f"its status: {status}")


for case in (case_virsh_goes_native, case_virsh_over_tls, case_virsh_postcopy,
             case_virsh_nobody_to_ask, case_virsh_falls_back, case_virsh_survives, case_virsh_leaves_what_was_asked_for, case_auto_chooses):
    case.libvirt = True
case_virsh_falls_back.faults = True
