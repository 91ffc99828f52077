# SPDX-License-Identifier: LGPL-2.1-or-later
"""migctl moves libvirt's domains (engine=libvirt), with real libvirtds, QEMUs and guests that prove their memory."""
import json
import time

from libvirt_stage import Guest, moved_by_qemu
from stage import expect, wait_for


def ready(stage):
    for host in stage.hosts:
        host.run("systemctl", "start", "migd", "libvirtd")


def migctl(host, *argv, seconds=300):
    """(exit status, the last JSON that it printed, errors)"""
    code, out, errors = host.try_run("migctl", "--json", *argv, seconds=seconds)
    decoder, last, at = json.JSONDecoder(), {}, 0
    while out[at:].strip():
        at += len(out[at:]) - len(out[at:].lstrip())
        last, at = decoder.raw_decode(out, at)
    return code, last, errors


def status(host, name):
    return migctl(host, "status", name)[1]


def completed(code, said, errors):
    expect(code == 0 and said.get("state") == "completed", f"exit {code}: {said.get('message') or errors.strip()[-400:]}")
    expect(said["engine"] == "libvirt" and said["memory-processed"] > 0 and said["memory-total"] > 0 and said["downtime"] > 0,
           f"the figures: {said}")


def definition(host, name):
    """"persistent", "transient", or "" where libvirt does not know it."""
    code, out, _ = host.try_run("virsh", "-q", "dominfo", name)
    return "" if code else "persistent" if "Persistent:     yes" in out else "transient"


def begun(guest, host):
    """What a guest that comes to this host needs."""
    host.try_run("rm", "-f", f"/run/guest/{guest.name}.serial")


def moves(guest, source, destination, *options):
    before = guest.seen(source)
    begun(guest, destination)
    completed(*migctl(source, "start", guest.name, destination.name, *options))
    guest.alone(destination, source)
    guest.check(destination, before)


def case_vm_start(stage):
    """A guest of 1 GiB is moved there and back by one command each; its definition stays, or moves with it, as asked."""
    a, b = stage.hosts
    ready(stage)

    guest = Guest(stage, "vm", memory=moved_by_qemu())
    guest.start(a)
    moves(guest, a, b)
    expect((definition(a, guest.name), definition(b, guest.name)) == ("persistent", "transient"), "what libvirt keeps after a plain start")
    moves(guest, b, a, "--persistent")
    expect((definition(a, guest.name), definition(b, guest.name)) == ("persistent", ""), "what libvirt keeps after the way back")
    moves(guest, a, b, "--persistent", "--undefine-source")
    expect((definition(a, guest.name), definition(b, guest.name)) == ("", "persistent"), "what libvirt keeps after --undefine-source")


def case_vm_dry_run(stage):
    """--dry-run and check tell the plan and what is in the way, as text and as JSON, and change nothing; each refusal has its code and remedy."""
    a, b = stage.hosts
    ready(stage)
    guest = Guest(stage, "vm", size_mib=128, fill_mib=24, devices="<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                  "<source file='/var/lib/guest/disk.raw'/><target dev='vda' bus='virtio'/></disk>")
    a.run("truncate", "-s", "1M", "/var/lib/guest/disk.raw")
    guest.start(a)

    def dry(*options, host="hostb"):
        code, said, errors = migctl(a, "start", "vm", host, "--dry-run", *options)
        expect("plan" in said, f"no plan: exit {code}: {said} {errors}")
        return code, said["plan"], {f["code"]: f for f in said["findings"]}
    code, plan, found = dry()
    expect(code == 1 and found["vm-disk-local"]["severity"] == "error" and found["vm-disk-local"]["subject"] == "vda", f"a local disk: {code}: {found}")
    code, plan, found = dry("--allow", "vm-disk-local", "--persistent", "--bandwidth", "32M", "--connections", "2")
    expect(code == 0, f"what was allowed still refuses: {found}")
    expect({"live", "p2p", "persistent", "suspend", "unsafe", "parallel"} == set(plan["flags"]) and plan["bandwidth"] == 32 << 20, f"the plan: {plan}")
    expect(plan["engine"] == "libvirt" and plan["destination-uri"].startswith("qemu+tcp://hostb") and plan["data-uri"] == "tcp://hostb", f"the plan: {plan}")
    expect("vm-definition-stays" in found and "transport-plain" in found, f"the notes: {found}")
    version = a.run("virsh", "-q", "version")
    old = int(version.split("QEMU ")[-1].split(".")[0]) < 9
    expect(("vm-tcg-loses-writes" in found) == old, f"{version}: {found}")
    text = a.run("migctl", "start", "vm", "hostb", "--dry-run", "--allow", "vm-disk-local")
    expect("As virsh would do" in text and "vm: can migrate" in text, f"as text: {text}")
    expect(a.try_run("migctl", "check", "vm", "hostb")[0] == 1, "check does not refuse what start would")
    expect("vm-same-host" in dry(host="hosta")[2], "this host as its destination")
    unreachable = dry(host="nowhere")[2]["vm-destination-unreachable"]
    expect(unreachable["side"] == "destination" and "virsh -c" in unreachable["remedy"], f"a host that is none: {unreachable}")
    expect("vm-option-unsupported" in dry("--verify")[2], "an option of the other engine")
    b.write("/run/other.xml", "<domain type='qemu'><name>vm</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>")
    b.run("virsh", "-q", "define", "/run/other.xml")
    expect("vm-exists" in dry()[2], "another domain of this name there")
    code, said, _ = migctl(a, "start", "vm", "hostb", "--engine", "native")
    expect(code == 1 and said["error"] == "NotSupported" and "registered by libvirt's hook" in said["message"], f"native: {said}")
    code, said, errors = migctl(a, "start", "nobody", "hostb")
    expect(code == 3, f"a name that nobody has: exit {code}: {said} {errors}")
    a.run("virsh", "-q", "destroy", "vm")
    expect("vm-not-running" in dry()[2], "a domain that is shut off")
    expect(not migctl(a, "list", "migrations")[1]["migrations"], "a rehearsal left a migration")


def slow(guest, source, destination, *options):
    """A migration over a link of 8 MiB/s, begun and not followed."""
    begun(guest, destination)
    code, said, errors = migctl(source, "start", guest.name, destination.name, "--detach", "--bandwidth", "8M", *options)
    expect(code == 0, f"start: exit {code}: {said} {errors}")
    return said["id"]


def ends(host, migration, seconds=300):
    def ended():
        s = status(host, migration)
        return s if s["state"] != "running" else None
    return wait_for(f"migration {migration} ends", ended, seconds, 0.2)


def stays(guest, source, destination, before):
    guest.alone(source, destination)
    guest.check(source, before)


def case_vm_cancel(stage):
    """What runs has figures and takes new options; migctl cancel ends it, and so does virsh; the guest goes on, and moves when asked again."""
    a, b = stage.hosts
    ready(stage)
    guest = Guest(stage, "vm", size_mib=256, fill_mib=96)
    guest.start(a)
    before = guest.seen(a)
    one = slow(guest, a, b)
    wait_for("pages go", lambda: status(a, one)["memory-processed"] > 8 << 20)
    s = status(a, one)
    expect(s["phase"] == "full-send" and s["memory-remaining"] > 0 and s["memory-total"] > 256 << 20, f"while it runs: {s}")
    code, said, _ = migctl(a, "start", "vm", "hostb")
    expect(code == 1 and said["error"] in ("WrongState", "Busy"), f"a second one beside: {said}")
    a.run("migctl", "cancel", "vm", "--wait")
    expect(status(a, one)["state"] == "cancelled", "it is not cancelled")
    stays(guest, a, b, before)

    two = slow(guest, a, b)
    wait_for("pages go", lambda: status(a, two)["memory-processed"] > 4 << 20)
    a.run("virsh", "domjobabort", "vm")
    said = ends(a, two)
    expect(said["state"] == "failed" and said["error"] == "Failed", f"virsh ended it: {said}")
    stays(guest, a, b, before)

    three = slow(guest, a, b)
    wait_for("pages go", lambda: status(a, three)["memory-processed"] > 4 << 20)
    a.run("migctl", "set", "vm", "bandwidth=0", "max-downtime=500ms")
    said = ends(a, three)
    expect(said["state"] == "completed", f"with the cap taken off: {said}")
    guest.alone(b, a)


def case_vm_stall(stage):
    """A guest that writes faster than a capped link carries: recognised within 3 rounds; abort leaves it, wait goes on until the policy is
    changed, force moves it; and a limit of time ends it."""
    a, b = stage.hosts
    ready(stage)
    guest = Guest(stage, "vm", size_mib=192, fill_mib=32, rate="max", memory=moved_by_qemu())
    guest.start(a)
    before = guest.seen(a)
    one = slow(guest, a, b)
    said = ends(a, one)
    expect(said["state"] == "failed" and said["error"] == "NotConverging" and "Does not converge" in said["message"], f"abort: {said}")
    expect(said["memory-iteration"] <= 5, f"it took {said['memory-iteration']} passes to see it")
    expect("--on-stall force" in said["hint"] and "DMA" in said["hint"], f"the remedy: {said['hint']}")
    stays(guest, a, b, before)

    two = slow(guest, a, b, "--on-stall", "wait", "--timeout", "14s")
    said = ends(a, two)
    expect(said["error"] == "TimedOut" and said["time-elapsed"] >= 14e6, f"the limit of time: {said}")
    stays(guest, a, b, before)

    three = slow(guest, a, b, "--on-stall", "wait")
    wait_for("it is stalled, and goes on", lambda: "Does not converge" in status(a, three)["verdict"])
    time.sleep(2)
    expect(status(a, three)["state"] == "running", "wait did not wait")
    a.run("migctl", "set", "vm", "on-stall=force")
    said = ends(a, three)
    expect(said["state"] == "completed" and said["downtime"] > 500000, f"force: {said}")
    guest.alone(b, a)
    wait_for("the guest goes on", lambda: (guest.seen(b) or {"n": 0})["n"] > before["n"])


def case_vm_evacuate(stage):
    """All running domains go, the small one first, with their definitions; what cannot go stays, and it is said why."""
    a, b = stage.hosts
    ready(stage)
    guests = [Guest(stage, "small", size_mib=128, fill_mib=16), Guest(stage, "large", size_mib=224, fill_mib=64)]
    stuck = Guest(stage, "stuck", size_mib=128, fill_mib=8,
                  devices="<disk type='file' device='disk'><source file='/var/lib/guest/disk.raw'/><target dev='vda' bus='virtio'/></disk>")
    a.run("truncate", "-s", "1M", "/var/lib/guest/disk.raw")
    for guest in guests + [stuck]:
        guest.start(a)
        begun(guest, b)
    code, plans, _ = migctl(a, "evacuate", "nowhere", "hostb", "--dry-run")
    expect(code == 1 and len(plans) == 3, f"the rehearsal: {plans}")
    code, said, errors = migctl(a, "evacuate", "nowhere", "hostb", "--parallel", "2", seconds=500)
    expect(code == 1, f"exit {code}: {said} {errors}")
    expect(sorted(m["domain"] for m in said["moved"]) == ["large", "small"] and all(m["host"] == "hostb" for m in said["moved"]), f"moved: {said}")
    expect([m["domain"] for m in said["stayed"]] == ["stuck"] and "file system" in said["stayed"][0]["message"], f"stayed: {said}")
    for guest in guests:
        guest.alone(b, a)
        expect((definition(a, guest.name), definition(b, guest.name)) == ("", "persistent"), f"the definition of {guest.name}")
    guest = stuck
    guest.alone(a, b)
    text = a.try_run("migctl", "evacuate", "hostb")[1]
    expect("0 moved, 1 stayed" in text and "stuck: " in text, f"as text: {text}")


def case_vm_evacuate_stops(stage):
    """migd is stopped while domains leave: what runs fails and says that, nothing is begun elsewhere, and nobody starts migd again."""
    a, b = stage.hosts
    ready(stage)
    guests = [Guest(stage, "small", size_mib=128, fill_mib=32), Guest(stage, "large", size_mib=224, fill_mib=64)]
    for guest in guests:
        guest.start(a)
        begun(guest, b)
    a.start("evacuate", "sh", "-c", "migctl --json evacuate hostb nowhere --bandwidth 1M; echo exit $?")
    wait_for("pages go", lambda: status(a, "small").get("memory-processed", 0) > 1 << 20, 120)
    a.run("systemctl", "stop", "migd")
    wait_for("evacuate ends", lambda: not a.alive("evacuate"), 120, 0.1)
    text, _, code = a.output("evacuate").strip().rpartition("exit ")
    said = json.loads(text)
    expect(code == "1" and not said["moved"], f"exit {code}: {said}")
    errors = {m["domain"]: (m["error"], m["message"]) for m in said["stayed"]}
    expect({e for e, _ in errors.values()} == {"Stopped"}, f"stayed: {errors}")
    expect("migd was stopped while" in errors["small"][1] and "not begun" in errors["large"][1], f"stayed: {errors}")
    expect(a.try_run("systemctl", "is-active", "migd")[1].strip() == "inactive", "migd was started again")
    for guest in guests:
        guest.alone(a, b)
    a.run("systemctl", "start", "migd")
    s = status(a, "small")
    expect(s["state"] == "failed" and s["error"] == "Stopped", f"what the next migd says: {s}")


def one_place(guest, stage):
    """Where it runs: at exactly one of them."""
    def settled():
        states = [guest.state(h) for h in stage.hosts]
        return states if states.count("running") == 1 and all(s in ("running", "", "shut off") for s in states) else None
    states = wait_for("it runs at one host, and libvirt knows", settled, step=0.5)
    return stage.hosts[states.index("running")]


def case_vm_migd_dies(stage):
    """kill -9 of migd in the middle: libvirt goes on, the next migd takes the migration up and tells how it ended; a stop cancels it."""
    a, b = stage.hosts
    ready(stage)
    guest = Guest(stage, "vm", size_mib=256, fill_mib=64)
    guest.start(a)
    before = guest.seen(a)
    one = slow(guest, a, b)
    wait_for("pages go", lambda: status(a, one)["memory-processed"] > 4 << 20)
    a.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "migd")
    wait_for("migd is back", lambda: a.try_run("migctl", "status", one)[0] == 0)
    s = status(a, one)
    expect(s["state"] == "running" and s["engine"] == "libvirt", f"taken up: {s}")
    a.run("migctl", "set", "vm", "bandwidth=0")
    said = ends(a, one)
    expect(said["state"] == "completed", f"taken up, then: {said}")
    expect(one_place(guest, stage) is b, "it is not at the destination")

    two = slow(guest, b, a)
    wait_for("pages go", lambda: status(b, two)["memory-processed"] > 4 << 20)
    b.run("systemctl", "stop", "migd")
    expect(one_place(guest, stage) is b, "a migd that is stopped did not leave it at the source")
    expect(b.try_run("virsh", "domjobinfo", "vm")[1].split()[2:3] == ["None"], "libvirt goes on after migd was stopped")


def case_vm_libvirtd_restart(stage):
    """libvirtd ends at the source, or at the destination, in the middle: the guest runs at one host, and migd says at which."""
    a, b = stage.hosts
    ready(stage)
    guest = Guest(stage, "vm", size_mib=256, fill_mib=64)
    guest.start(a)
    before = guest.seen(a)
    for host in (a, b):
        one = slow(guest, a, b)
        wait_for("pages go", lambda one=one: status(a, one)["memory-processed"] > 4 << 20)
        host.run("systemctl", "restart", "libvirtd")
        said = ends(a, one)
        where = one_place(guest, stage)
        expect(said["state"] == ("failed" if where is a else "completed"), f"{host.name}'s libvirtd: it runs at {where.name}: {said}")
        expect(where is a, f"{host.name}'s libvirtd: it runs at {where.name}, and cannot be tried again")
        guest.check(a, before)


def case_vm_paused(stage):
    """What its user has paused arrives paused and stays so, until its user lets it go on; what runs arrives running."""
    a, b = stage.hosts
    ready(stage)
    guest = Guest(stage, "vm", size_mib=128, fill_mib=24)
    guest.start(a)
    a.run("virsh", "-q", "suspend", guest.name)
    before = guest.seen(a)
    begun(guest, b)
    code, said, errors = migctl(a, "start", guest.name, b.name, "--engine=libvirt")
    expect(code == 0 and said.get("state") == "completed", f"exit {code}: {said.get('message') or errors.strip()[-400:]}")
    expect((guest.state(a), guest.state(b)) == ("shut off", "paused"), f"a paused guest is {guest.state(a)}, {guest.state(b)}")
    b.run("virsh", "-q", "resume", guest.name)
    guest.check(b, before)
    moves(guest, b, a, "--engine=libvirt")


for case in (case_vm_start, case_vm_dry_run, case_vm_cancel, case_vm_stall, case_vm_evacuate, case_vm_evacuate_stops, case_vm_migd_dies, case_vm_libvirtd_restart,
             case_vm_paused):
    case.libvirt = True
# The long ones.
for case in (case_vm_start, case_vm_cancel, case_vm_stall, case_vm_migd_dies, case_vm_libvirtd_restart):
    case.named_only = True
