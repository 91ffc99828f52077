# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's hook, with real libvirtds and guests: it tells migd, it fails what must fail, and never what must not."""
import json

from libvirt_stage import Guest, moved_by_qemu
from stage import expect, wait_for

HOOK = "/etc/libvirt/hooks/qemu.d/migd"
OTHER = "/etc/libvirt/hooks/qemu.d/zz-other"


def enable(host, *options):
    told = json.loads(host.run("migctl", "--json", "libvirt", "enable-hook", *options))
    expect(told["file"] == HOOK, f"enable-hook: {told}")
    host.run("systemctl", "reload-or-restart", "libvirtd")


def both_ready(stage):
    for host in stage.hosts:
        host.run("systemctl", "start", "migd", "libvirtd")
        enable(host)


def told(host, text):
    return text in host.journal("-u", "migd")


def moves(guest, source, destination):
    """virsh migrate, and the guest clean there."""
    before = guest.seen(source)
    code, _, errors = guest.virsh_migrate(source, destination)
    expect(code == 0, f"virsh migrate: {errors.strip()[-400:]}")
    guest.alone(destination, source)
    guest.check(destination, before)


def refused(guest, source, destination, what):
    """The migration fails, and the guest goes on where it was, with all its pages."""
    before = guest.seen(source)
    code, _, errors = guest.virsh_migrate(source, destination)
    expect(code != 0, f"{what}: the migration went on")
    guest.alone(source, destination)
    guest.check(source, before)
    return errors


def fail_at(host, operation):
    """Another hook beside ours, which fails at this operation."""
    host.write(OTHER, f'#!/bin/sh\n[ "$2" != {operation} ] || {{ echo "no {operation} today" >&2; exit 1; }}\n', 0o755)


def case_hook_moves_and_fails(stage):
    """With the hook alone a guest is moved and migd is told each step; a hook that fails at migrate or started leaves it at the source; so
    does a hook that is killed; without a migd, migrations pass, or are refused where the administrator wants so."""
    a, b = stage.hosts
    both_ready(stage)
    guest = Guest(stage, "vm", size_mib=256, memory=moved_by_qemu())
    guest.start(a)
    wait_for("migd told that the guest started", lambda: told(a, "libvirt domain vm: started"))
    moves(guest, a, b)
    for text in ("libvirt domain vm: migrate", "libvirt domain vm: prepare", "libvirt domain vm: started, its guest comes in"):
        expect(told(b, text), f"the destination's migd does not know '{text}': {b.journal('-u', 'migd')[-400:]}")
    for text in ("libvirt domain vm: stopped", "libvirt domain vm: release"):
        wait_for(f"the source's migd knows '{text}'", lambda text=text: told(a, text))

    # From here on the guest runs at b.
    for operation in ("migrate", "started"):
        fail_at(a, operation)
        errors = refused(guest, b, a, f"a hook failed at {operation}")
        expect(f"no {operation} today" in errors or "hook" in errors, f"virsh does not say why: {errors.strip()[-300:]}")
    a.run("rm", OTHER)

    # Without a migd nothing fails, and our hook costs no time.
    a.run("systemctl", "stop", "migd")
    seconds = float(a.run("bash", "-c", f"TIMEFORMAT=%R; time {HOOK} vm migrate begin - </dev/null 2>&1").strip() or 0)
    expect(seconds < 25, f"without a migd the hook took {seconds} s")
    moves(guest, b, a)

    # Where a migration without migd is to be refused, it is.
    b.run("systemctl", "stop", "migd")
    enable(b, "--without-migd=refuse")
    errors = refused(guest, a, b, "there is no migd")
    expect("told to refuse" in errors, f"virsh does not say why: {errors.strip()[-300:]}")
    b.run("migctl", "libvirt", "disable-hook")
    expect(b.try_run("test", "-e", HOOK)[0] == 1, "disable-hook left the hook there")


case_hook_moves_and_fails.libvirt = True


def case_hook_reconnect(stage):
    """A restart of libvirtd with the hook there: guests survive, whether migd runs, hangs or is gone, and the hook's program too."""
    a, _ = stage.hosts
    both_ready(stage)
    guest = Guest(stage, "vm", size_mib=128, fill_mib=24)
    guest.start(a)
    pid = a.run("cat", "/run/libvirt/qemu/vm.pid")

    def restart(what):
        a.run("systemctl", "restart", "libvirtd")
        wait_for(f"libvirt knows its domain again {what}", lambda: guest.state(a) == "running", step=0.2)
        expect(a.run("cat", "/run/libvirt/qemu/vm.pid") == pid, f"libvirt killed the guest {what}")
    restart("with migd")
    wait_for("migd told of it", lambda: told(a, "libvirt domain vm: reconnect"))
    a.run("systemctl", "stop", "migd")
    restart("without migd")
    a.run("systemctl", "start", "migd")
    a.run("sed", "-i", "s/--without-migd/--timeout=1 --without-migd/", HOOK)
    a.run("systemctl", "kill", "--kill-whom=main", "-s", "STOP", "migd")
    restart("while migd hangs")
    a.run("systemctl", "kill", "--kill-whom=main", "-s", "CONT", "migd")
    a.run("mv", "/usr/libexec/migd/libvirt-hook", "/usr/libexec/migd/gone")
    restart("without the hook's program")
    guest.check(a)


case_hook_reconnect.libvirt = True


def case_hook_prepare(stage):
    """What migctl libvirt prepare makes of a plain definition starts, with memory in a shared file and a monitor that answers."""
    a, _ = stage.hosts
    a.run("systemctl", "start", "migd", "libvirtd")
    guest = Guest(stage, "vm", size_mib=128, memory="private", fill_mib=24)
    guest.prepare()
    guest.define(a)
    plan = json.loads(a.run("migctl", "--json", "libvirt", "prepare", "vm"))
    expect([c["part"] for c in plan["changes"]] == ["memory", "monitor"] and not plan["applied"] and not plan["note"], f"the plan: {plan}")
    expect("memoryBacking" not in a.run("virsh", "dumpxml", "vm"), "the plan alone changed the definition")
    a.run("migctl", "libvirt", "prepare", "vm", "--apply")
    again = json.loads(a.run("migctl", "--json", "libvirt", "prepare", "vm", "--apply"))
    expect(not again["changes"], f"a second time there is something to change: {again}")
    a.run("virsh", "-q", "start", "vm")
    wait_for("the guest counts", lambda: guest.seen(a), step=0.1)
    socket = f"/var/lib/libvirt/qemu/migd-{guest.uuid}.qmp"
    expect(a.try_run("test", "-S", socket)[0] == 0, f"there is no {socket}")
    pid = a.run("cat", "/run/libvirt/qemu/vm.pid").strip()
    expect("/dev/shm/" in a.run("cat", f"/proc/{pid}/maps"), "its memory is in no file on /dev/shm")
    guest.check(a)


case_hook_prepare.libvirt = True


FAKE_BUS = """set -e
cd /run/fake-bus/pci/devices
for i in 1 2 3; do
    d=0000:3b:00.$i
    mkdir -p $d /run/fake-bus/pci/drivers/vfio-pci
    echo 0x15b3 >$d/vendor; echo 0x101e >$d/device; echo 0x020000 >$d/class; echo 0 >$d/numa_node
    ln -s ../../drivers/vfio-pci $d/driver
    mkdir -p /run/fake-groups/$i/devices
    ln -s /run/fake-groups/$i $d/iommu_group
    ln -s /run/fake-bus/pci/devices/$d /run/fake-groups/$i/devices/$d
done
"""
WANTS_ONE = """<domain><name>{name}</name><uuid>{uuid}</uuid><metadata><migd:devices xmlns:migd="https://migd.org/libvirt/1">
<migd:device address="0000:17:00.1" vendor="0x15b3" device="{device}"/></migd:devices></metadata><!-- kept -->
<devices><hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x17' slot='0x00' function='0x1'/></source></hostdev></devices></domain>
"""


def case_hook_chooses_devices(stage):
    """As libvirt calls it, with the PCI bus of another host in place of this one's: devices are swapped, reserved, given back, refused."""
    _, b = stage.hosts
    b.run("mkdir", "-p", "/run/fake-bus/pci/devices")
    b.run("sh", "-c", FAKE_BUS)
    b.run("mount", "--bind", "/run/fake-bus", "/sys/bus")
    b.write("/etc/migd/migd.conf.d/10.conf", "[Libvirt]\nReservationTimeout=20s\n")
    b.run("systemctl", "start", "migd")
    enable(b)

    def hook(name, operation, number, device="0x101e"):
        uuid = f"0f0ba8a8-5a5e-4f5e-8d07-{number:012d}"
        b.write("/run/hook.xml", WANTS_ONE.format(name=name, uuid=uuid, device=device))
        return b.try_run("sh", "-c", f"{HOOK} {name} {operation} begin - </run/hook.xml")

    def gets(name, number):
        code, out, errors = hook(name, "migrate", number)
        expect(code == 0 and 'bus="0x3b"' in out and "<!-- kept -->" in out, f"{name}: exit {code}: {errors or out}")
        return out.split('function="')[1][:3]
    expect([gets("vm1", 1), gets("vm2", 2)] == ["0x1", "0x2"], "two guests that arrive do not get the first two devices")
    expect(gets("vm1", 1) == "0x1", "who asks again gets another device")
    expect(hook("vm2", "prepare", 2)[0] == 0, "prepare failed")
    code, _, errors = hook("vm3", "migrate", 3, "0x9999")
    expect(code == 1 and "3 of another vendor or model" in errors, f"what is not here: exit {code}: {errors}")

    def expired():
        got = gets("vm4", 4)
        hook("vm4", "release", 4)
        return got == "0x1"
    wait_for("the device of a guest that did not come free again", expired, step=0.5)
    expect(gets("vm5", 5) == "0x1" and gets("vm6", 6) == "0x3", "the device of a guest that came is given away")
    hook("vm2", "stopped", 2)
    hook("vm2", "release", 2)
    expect(gets("vm7", 7) == "0x2", "the device of a guest that is gone is not given away")
    b.run("useradd", "-m", "alice")
    code, _, errors = b.try_run("busctl", "call", "org.migd.Migd1", "/org/migd/Migd1", "org.migd.Migd1.Manager", "LibvirtHook", "sssssa{sv}",
                                "vm2", "release", "end", "-", "<domain/>", "0", user="alice")
    expect(code != 0 and "not allowed" in errors, f"a user may play libvirt's hook: {errors}")


case_hook_chooses_devices.libvirt = True
