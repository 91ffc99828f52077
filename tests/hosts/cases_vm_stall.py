# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirt guest that writes faster than the link carries, with each engine: seen within 3 rounds, and each of the three policies.

Nothing here depends on speed. In the middle of the first pass over memory the link becomes as slow as 1 MiB/s, far less than the slowest guest writes,
which rewrites 8 MiB as fast as it can and checks little; and it is allowed to stand still for less than what the kernel of an idle guest would need."""
from cases_vm import status
from stage import expect, wait_for
from vm_moves import ended, place, ready, start

# Three rounds that bring nothing, beside the one in which the link becomes slow. QEMU's passes are seen by looking at its figures now and then, and
# one that is seen late looks like progress: then it is three more.
SEEN_WITHIN = {"native": 1 + 3, "libvirt": 1 + 3 + 3}


def stalling(guest, engine, a, b, on_stall):
    """A move whose link has become slow: its id, and the round in which it became so."""
    migration = start(guest, engine, a, b, "--bandwidth=4M", "--max-downtime=10ms", "--on-stall=wait")
    wait_for("memory goes", lambda: status(a, migration)["memory-processed"] > 4 << 20 or status(a, migration)["state"] != "running", 180, 0.05)
    a.run("migctl", "set", guest.name, "bandwidth=1M", "on-stall=" + on_stall)
    said = status(a, migration)
    expect(said["state"] == "running", f"it did not wait for the slow link: {said}")
    return migration, said["round"]


def soon(what, engine, said, since):
    expect(said["round"] <= since + SEEN_WITHIN[engine], f"{what}: slow since round {since}, and it took until round {said['round']} to see it: {said}")


def stalls(stage, engine):
    a, b = stage.hosts
    ready(stage, engine)
    guest = place(stage, a, "vm", engine, size_mib=96, fill_mib=8, rate="max", words="guest.check=500")
    before = guest.seen(a)

    one, since = stalling(guest, engine, a, b, "abort")
    said = ended(a, one)
    expect(said["state"] == "failed" and said["error"] == "NotConverging" and "Does not converge" in said["message"], f"abort: {said}")
    soon("abort", engine, said, since)
    expect("--on-stall force" in said["hint"], f"the remedy: {said['hint']}")
    guest.alone(a, b)
    guest.check(a, before)
    print(f"# {engine}: slow since round {since}, abort in round {said['round']}: {said['message']}", flush=True)

    before = guest.seen(a)
    two, since = stalling(guest, engine, a, b, "wait")
    seen = wait_for("it is seen to stall", lambda: (lambda s: s if "Does not converge" in s["verdict"] else None)(status(a, two)), 180, 0.1)
    soon("wait", engine, seen, since)
    later = wait_for("it goes on", lambda: (lambda s: s if s["round"] > seen["round"] or s["state"] != "running" else None)(status(a, two)), 180, 0.1)
    expect(later["state"] == "running", f"wait did not wait: {later}")
    a.run("migctl", "set", guest.name, "on-stall=force")
    said = ended(a, two)
    expect(said["state"] == "completed", f"force: {said}")
    # QEMU sends what is left without the cap, which a fast machine does in no time; migd keeps to the cap.
    expect(engine == "libvirt" or said["downtime"] > 10000, f"force: {said}")
    guest.alone(b, a)
    guest.check(b, before)
    print(f"# {engine}: slow since round {since}, seen in round {seen['round']}, forced in round {said['round']}, downtime {said['downtime'] / 1e6:.1f} s",
          flush=True)


def case_vm_stall_native(stage):
    stalls(stage, "native")


def case_vm_stall_libvirt(stage):
    stalls(stage, "libvirt")


for case in (case_vm_stall_native, case_vm_stall_libvirt):
    case.libvirt = True
