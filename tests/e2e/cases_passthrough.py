# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VMM that knows nothing of migration uses its device through migd's own socket; migd learns the mappings from it."""
import os
import threading
import time

from harness import Device, Failed, MIB, expect, wait_for
from registry import Cases
from vfio_user import Client, Refused, FEATURE

import struct

CASES = Cases()

BAR0_MAGIC, BAR0_ID, BAR0_CONTROL = 0, 4, 8


def passthrough(rig, **keys):
    """A rig whose device is mapped by the client alone."""
    r = rig(**keys)
    listen = {s.name: r.path(f"nic0-{s.name}-vmm.sock") for s in r.sides}
    r.devices = [Device(a_args=["--idle"], keys={"listen": listen["A"], "map": False}, b_keys={"listen": listen["B"], "map": False})]
    r.regions = [("ram0", 0, r.size, [])]
    r.up()
    return r, Client(listen["A"]), listen


def map_at_destination(r, listen, maps):
    """The VMM that waits there has its device open, and its memory mapped, before anything comes."""
    client = r.clients = Client(listen["B"])
    fd = os.open(r.B.facts["memory"], os.O_RDWR)
    for offset, iova, size in maps:
        client.map(fd, offset, iova, size)
    os.close(fd)


@CASES.case("passthrough-client")
def client_moves(rig):
    r, client, listen = passthrough(rig)
    fd = os.open(r.A.facts["memory"], os.O_RDWR)
    client.map(fd, 0, 0, 32 * MIB)
    client.map(fd, 32 * MIB, 1 << 32, 32 * MIB)
    expect(client.info()[2] >= 8, "the device has no regions")
    expect(client.read32(0, BAR0_ID) == 1, "the device's id is not read through")
    client.write32(0, BAR0_CONTROL, 1)
    wait_for("the device writing", lambda: r.A.device_sequence(r.devices[0]) > 100)
    expect(r.A.show()["devices"][0]["mappings"] == 2, f"mappings {r.A.show()['devices']}")
    map_at_destination(r, listen, [(0, 0, 32 * MIB), (32 * MIB, 1 << 32, 32 * MIB)])
    status = r.migrate("--verify")
    expect(status["verify"] == "proved", f"verify {status['verify']}")
    os.close(fd)
    r.regions = [("ram0", 0, 32 * MIB, [0]), ("ram0", 32 * MIB, 32 * MIB, [1 << 32])]
    r.judge_moved()


@CASES.case("passthrough-maps-and-unmaps-while-tracking")
def client_maps(rig):
    """Mappings come and go in every round; the last dirty bits of what went are not lost."""
    r, client, listen = passthrough(rig)
    fd = os.open(r.A.facts["memory"], os.O_RDWR)
    window = 4 * MIB
    client.map(fd, 0, 0, 32 * MIB)
    client.write32(0, BAR0_CONTROL, 1)
    stop, trouble, turns = threading.Event(), [], [0]

    def churn():
        try:
            while not stop.is_set():
                offset = 32 * MIB + turns[0] % 8 * window
                client.map(fd, offset, (1 << 32) + offset, window)
                time.sleep(0.01)
                client.unmap((1 << 32) + offset, window)
                turns[0] += 1
        except (Failed, Refused, OSError) as e:
            trouble.append(e)
    thread = threading.Thread(target=churn)
    thread.start()
    p = r.start_background("--verify", "--on-stall", "wait", "--max-downtime", "1ms", "--bandwidth", "64M")
    try:
        wait_for("some rounds", lambda: r.A.peek("round") >= 4)
        expect(turns[0] > 20, f"only {turns[0]} turns of map and unmap while tracking: {trouble}")
    finally:
        stop.set()
        thread.join(10)
    expect(not trouble, f"the client failed: {trouble}")
    map_at_destination(r, listen, [(0, 0, 32 * MIB)])
    r.A.migctl("set", "demo", "max-downtime=3s", "bandwidth=0")
    expect(p.popen.wait(60) == 0, f"migctl start: exit {p.popen.poll()}: {p.log()[-400:]}")
    expect(r.A.status()["verify"] == "proved", "not proved")
    os.close(fd)
    r.regions = [("ram0", 0, 32 * MIB, [0])] + [("ram0", 32 * MIB + n * window, window, [(1 << 32) + 32 * MIB + n * window]) for n in range(8)]
    r.judge_moved()


@CASES.case("passthrough-migration-is-migds")
def client_migration(rig):
    """The client's own migration commands are answered by migd, and change nothing on the device."""
    r, client, listen = passthrough(rig)
    fd = os.open(r.A.facts["memory"], os.O_RDWR)
    client.map(fd, 0, 0, r.size)
    client.write32(0, BAR0_CONTROL, 1)
    state_stop = struct.pack("<IIIi", 16, 2 | 1 << 17, 1, -1)
    try:
        client.call(FEATURE, state_stop)
        raise Failed("a client may stop the device behind migd's back")
    except Refused:
        pass
    wait_for("the device writing", lambda: r.progress(r.A)[1])
    client.close()
    os.close(fd)
    r.release(force=True)
    r.judge_daemons()
