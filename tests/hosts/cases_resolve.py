# SPDX-License-Identifier: LGPL-2.1-or-later
"""migctl resolve of a VM in doubt: what the operator has seen is taken for true, and nothing but migd's own view changes where libvirt decides."""
import json

import cases_native
from cases_vm import ends, migctl, ready, slow, status
from faults import clear_fault, is_stopped, pid_of, prepare, set_fault
from libvirt_stage import Guest
from stage import expect, wait_for

LIBVIRTD = ("libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "libvirtd-tcp.socket")


def libvirtd(stage, verb):
    for host in stage.hosts:
        host.run("systemctl", verb, *(LIBVIRTD[1:] + LIBVIRTD[:1] if verb == "start" else LIBVIRTD), seconds=90)


def in_doubt(stage, guest):
    """Neither libvirt can be asked: migd does not know where the guest is, and says so."""
    a, b = stage.hosts
    one = slow(guest, a, b)
    wait_for("pages go", lambda: status(a, one)["memory-processed"] > 4 << 20, 60)
    libvirtd(stage, "stop")
    wait_for("the migration is in doubt", lambda: status(a, one).get("state") == "in-doubt", 240, 0.5)
    return one


def case_resolve_of_libvirt(stage):
    """engine=libvirt: --run and --drop end the migration as the operator says, and start, stop or move nothing; a next one can begin after either."""
    a, b = stage.hosts
    ready(stage)
    for verdict, state in (("--run", "failed"), ("--drop", "completed")):
        # A guest for each: the scope that its QEMU had at the destination is there for a while yet in a container.
        guest = Guest(stage, "vm" + verdict.strip("-"), size_mib=256, fill_mib=64)
        guest.start(a)
        one = in_doubt(stage, guest)
        libvirtd(stage, "start")
        wait_for("libvirt knows it again", lambda guest=guest: guest.state(a) == "running", 120, 0.5)
        code, _, errors = a.try_run("migctl", "start", guest.name, b.name)
        expect(code != 0 and "has a migration already" in errors, f"a second migration beside one in doubt: exit {code}: {errors}")
        a.run("migctl", "resolve", guest.name, verdict)
        said = ends(a, one)
        expect(said["state"] == state, f"after {verdict}: {said}")
        guest.alone(a, b)
        code, said, errors = migctl(a, "check", guest.name, b.name)
        expect(code == 0, f"it cannot be moved after {verdict}: {errors} {said}")
        a.run("virsh", "-q", "destroy", guest.name)


def case_resolve_of_native(stage):
    """engine=native: the destination is lost when it has accepted. The source does not run it by itself; --run does, with all its pages, and the
    destination never has it."""
    a, b = stage.hosts
    guest = cases_native.ready(stage)
    prepare(b)
    before = guest.seen(a)
    pid = pid_of(b)
    set_fault(b, "in-accepted:stop")
    a.run("migctl", "start", guest.name, b.name, "--engine=native", "--detach")
    wait_for("the destination has accepted", lambda: is_stopped(b, pid), 120)
    clear_fault(b)
    b.run("systemctl", "mask", "--runtime", "migd")
    b.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "migd")
    wait_for("the migration is in doubt", lambda: json.loads(a.run("migctl", "--json", "status", guest.name)).get("state") == "in-doubt", 240, 0.5)
    wait_for("libvirt has given it up at the destination", lambda: guest.state(b) in ("", "shut off"), 120, 0.5)
    a.run("migctl", "resolve", guest.name, "--run")
    wait_for("the source's migd has it", lambda: (cases_native.domain(guest, a) or {}).get("State") == "running", 60, 0.2)
    wait_for("it runs at the source", lambda: guest.state(a) == "running", 60, 0.2)
    guest.check(a, before)
    b.run("systemctl", "unmask", "--runtime", "migd")
    b.run("systemctl", "start", "migd")
    wait_for("the destination forgets it", lambda: cases_native.domain(guest, b) is None, 120, 0.2)
    guest.alone(a, b)


for case in (case_resolve_of_libvirt, case_resolve_of_native):
    case.libvirt = True
case_resolve_of_native.faults = True
case_resolve_of_libvirt.named_only = True
