# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's hook, with real libvirtds and guests: it tells migd, it fails what must fail, and never what must not."""
import json

from libvirt_stage import Guest
from stage import Failed, expect, wait_for

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


def moves(guest, source, destination, attempts=2):
    """virsh migrate, and the guest clean there. Once more if a page is bad: QEMU 7.2 under TCG does that by itself when it moves RAM."""
    before = guest.seen(source)
    code, _, errors = guest.virsh_migrate(source, destination)
    expect(code == 0, f"virsh migrate: {errors.strip()[-400:]}")
    guest.alone(destination, source)
    try:
        guest.check(destination, before)
    except Failed as e:
        if attempts < 2 or "bad pages" not in str(e):
            raise
        print(f"# a second attempt, since the first one said: {e}", flush=True)
        moves(guest, destination, source, attempts - 1)


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
    guest = Guest(stage, "vm", size_mib=256)
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
    seconds = float(a.run("bash", "-c", f"TIMEFORMAT=%R; time {HOOK} vm migrate begin - </dev/null 2>&1", seconds=30).strip() or 0)
    expect(seconds < 5, f"without a migd the hook took {seconds} s")
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
        a.run("systemctl", "restart", "libvirtd", seconds=90)
        wait_for(f"libvirt knows its domain again {what}", lambda: guest.state(a) == "running", 60, 0.2)
        expect(a.run("cat", "/run/libvirt/qemu/vm.pid") == pid, f"libvirt killed the guest {what}")
    restart("with migd")
    wait_for("migd told of it", lambda: told(a, "libvirt domain vm: reconnect"), 30)
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
