# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations that succeed: patterns, devices, memory layouts, trackers, transports, options."""
import json
import os
import signal
import time

from harness import Device, Failed, MIB, Skipped, expect, wait_for
from registry import Cases

CASES = Cases()
GIB = 1 << 30


@CASES.case("move")
def move(rig):
    r = rig(size=128 * MIB).up()
    status = r.migrate("--verify")
    expect(status["state"] == "completed", f"state {status['state']}")
    expect(status["gate"] == "clean", f"gate {status['gate']}")
    expect(status["verify"] == "proved", f"verify {status['verify']}")
    expect(status["verify-pages"] == 128 * MIB // 4096, f"{status['verify-pages']} pages compared")
    parts = sum(v for k, v in status.items() if k.startswith("downtime-"))
    expect(0 < status["downtime"] < 5_000_000 and parts <= status["downtime"] * 1.1 + 2000, f"downtime {status['downtime']}, its parts {parts}")
    r.judge_moved()


def pattern(name):
    @CASES.case("pattern-" + name)
    def run(rig):
        r = rig(devices=[Device(args=["--pattern", name], rate=3000)]).up()
        status = r.migrate("--verify")
        expect(status["verify"] == "proved", f"verify {status['verify']}")
        r.judge_moved()


for _name in ("ring", "uniform", "zipf", "burst", "oscillate"):
    pattern(_name)


@CASES.case("two-devices")
def two_devices(rig):
    r = rig(devices=[Device("nic0", 1), Device("nic1", 2, args=["--pattern", "uniform", "--state-size", "1M"])]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("two-devices-one-without-p2p")
def without_p2p(rig):
    r = rig(devices=[Device("nic0", 1), Device("nic1", 2, args=["--no-p2p"])]).up()
    code, _, errors = r.start()
    expect(code == 1 and "nic1" in errors and "device-no-p2p" in errors, f"exit {code}: {errors}")
    r.migrate("--without-p2p")
    r.judge_moved()


@CASES.case("device-without-precopy")
def no_precopy(rig):
    r = rig(devices=[Device(args=["--no-precopy"])]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("large-device-state")
def large_state(rig):
    r = rig(devices=[Device(args=["--state-size", "48M", "--precopy-size", "8M"])]).up()
    status = r.migrate("--max-downtime", "3s")
    expect(status["device-state"] >= 48 * MIB, f"device state {status['device-state']}")
    r.judge_moved()


@CASES.case("regions-with-holes")
def regions(rig):
    size = 96 * MIB
    r = rig(size=size, regions=[("low", 0, 32 * MIB, [0]), ("mid", 32 * MIB, 16 * MIB, [64 * MIB]), ("high", 48 * MIB, 48 * MIB, [4 * GIB])],
            devices=[Device(args=["--pattern", "uniform"])]).up()
    status = r.migrate("--verify")
    expect(status["memory-total"] == size, f"memory-total {status['memory-total']}")
    r.judge_moved()


@CASES.case("several-iovas-for-one-region")
def iovas(rig):
    r = rig(regions=[("ram0", 0, 64 * MIB, [0, 4 * GIB, 1 << 40])], devices=[Device(args=["--pattern", "uniform"])]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("by-message")
def by_message(rig):
    r = rig(devices=[Device(args=["--by-message"], rate=500)]).up()
    r.migrate("--verify")
    r.judge_moved()


def log_page(size):
    @CASES.case("log-page-" + size)
    def run(rig):
        r = rig(devices=[Device(keys={"log-page-size": size}, rate=300)]).up()
        status = r.migrate("--verify", "--max-downtime", "2s")
        expect(status["dirty-page-size"] == int(size[:-1]) << (10 if size[-1] == "K" else 20), f"dirty-page-size {status['dirty-page-size']}")
        r.judge_moved()


log_page("64K")
log_page("2M")


@CASES.case("log-page-that-the-device-insists-on")
def insists(rig):
    r = rig(devices=[Device(args=["--log-page-size", "64K"], rate=300)]).up()
    r.migrate("--verify", "--max-downtime", "2s")
    r.judge_moved()


@CASES.case("uffd")
def uffd(rig):
    r = rig(track="uffd", rate=4000).up()
    status = r.migrate("--verify")
    expect(any(t["kind"] == "uffd" and t["pages-reported"] > 0 for t in status["trackers"]), f"the uffd tracker found nothing: {status['trackers']}")
    r.judge_moved()


@CASES.case("uffd-two-regions")
def uffd_regions(rig):
    r = rig(track="uffd", size=96 * MIB, regions=[("low", 0, 32 * MIB, [0]), ("high", 32 * MIB, 64 * MIB, [GIB])]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("tracker-all")
def tracker_all(rig):
    """Nobody knows what was written: everything is sent again in the blackout, and the gate compares digests."""
    r = rig(size=32 * MIB, devices=[Device(keys={"tracker": "all"})]).up()
    status = r.migrate("--max-downtime", "5s", "--on-stall", "force")
    expect(status["gate"] in ("clean", "clean-by-digests"), f"gate {status['gate']}")
    r.judge_moved()


@CASES.case("device-without-log")
def no_log(rig):
    r = rig(size=32 * MIB, devices=[Device(args=["--no-log"], keys={"tracker": "all"})]).up()
    r.migrate("--max-downtime", "5s", "--on-stall", "force", "--verify")
    r.judge_moved()


@CASES.case("unix-transport")
def unix(rig):
    r = rig(transport="unix").up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("checksum-four-connections")
def checksum(rig):
    r = rig().up()
    status = r.migrate("--checksum", "--connections", "4")
    expect(status["connections"] == 4, f"connections {status['connections']}")
    r.judge_moved()


def packed(rig, codec, *options, **keys):
    r = rig(**keys).up()
    status = r.migrate("--compression", codec, "--verify", *options)
    expect(status["verify"] == "proved", f"verify {status['verify']}")
    r.judge_moved()
    return status


@CASES.case("compression-lz4")
def compression_lz4(rig):
    status = packed(rig, "lz4", "--checksum")
    expect(0 < status["compression-after"] < status["compression-before"], f"packed {status['compression-before']} to {status['compression-after']}")


@CASES.case("compression-zstd")
def compression_zstd(rig):
    status = packed(rig, "zstd")
    expect(0 < status["compression-after"] < status["compression-before"] * 3 // 4, f"packed {status['compression-before']} to {status['compression-after']}")
    expect(status["data-processed"] < status["memory-processed"], "the wire carried more than memory")


@CASES.case("compression-adaptive")
def compression_adaptive(rig):
    """Over a link that the cap makes so slow that packing is tried on any machine. Whether it is kept to is for the machine to say;
    tests/unit/test-codec has that."""
    status = packed(rig, "adaptive", "--bandwidth", "50M", "--max-downtime", "5s", size=384 * MIB)
    expect(0 < status["compression-after"] < status["compression-before"], f"packed {status['compression-before']} to {status['compression-after']}")


@CASES.case("verify-post")
def verify_post(rig):
    r = rig().up()
    status = r.migrate("--verify=post")
    expect(status["verify"] == "proved", f"verify {status['verify']}")
    r.judge_moved()


@CASES.case("memory-made-by-migd")
def made(rig):
    r = rig(made="open").up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("registered-by-the-vmm")
def by_vmm(rig):
    r = rig(register="vmm", made="make", memory_files=False).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("huge-pages")
def huge(rig):
    """The machine's own number of huge pages is put back afterwards."""
    path = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    free = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
    wanted = 2 * 64 * MIB // (2 * MIB)

    def read(name):
        with open(name, encoding="ascii") as f:
            return int(f.read())
    try:
        before = read(path)
        with open(path, "w", encoding="ascii") as f:
            f.write(str(before + max(0, wanted - read(free))))
    except OSError as e:
        raise Skipped(f"no 2 MiB pages can be reserved here ({e.strerror})") from None
    r = None
    try:
        if read(free) < wanted:
            raise Skipped(f"only {read(free)} free 2 MiB pages of {wanted} could be had")
        r = rig(hugepages=2 * MIB, made="open", memory_files=False, devices=[Device(rate=300)]).up()
        r.migrate("--verify", "--max-downtime", "2s")
        r.judge_moved()
    finally:
        if r:
            r.down()
        with open(path, "w", encoding="ascii") as f:
            f.write(str(before))


@CASES.case("bandwidth-cap-and-set")
def cap(rig):
    r = rig(size=128 * MIB, fill="/usr/lib").up()

    def rate_over(size):
        before, begun = r.A.peek("data-processed"), time.monotonic()
        wait_for("more data", lambda: r.A.peek("data-processed") >= before + size or r.A.peek("state") != "running")
        return size / MIB / (time.monotonic() - begun)

    p = r.start_background("--bandwidth", "8M")
    wait_for("sending", lambda: r.A.peek("data-processed") > 0)
    slow = rate_over(16 * MIB)
    expect(slow < 16, f"{slow:.0f} MiB/s in spite of the cap of 8 MiB/s")
    r.A.migctl("set", "demo", "bandwidth=32M")
    faster = rate_over(32 * MIB)
    expect(1.25 * slow < faster < 64, f"{faster:.0f} MiB/s with a cap of 32 MiB/s, after {slow:.0f}")
    r.A.migctl("set", "demo", "bandwidth=0", "max-downtime=1s")
    free = rate_over(48 * MIB)
    expect(free > 1.25 * faster, f"{free:.0f} MiB/s without a cap, {faster:.0f} with one")
    expect(p.popen.wait(60) == 0, "migctl start failed")
    r.judge_moved()


@CASES.case("detach-monitor-status-wait")
def detach(rig):
    r = rig().up()
    out = r.A.migctl("--json", "start", "demo", r.destination(), "--detach", "--bandwidth", "48M")[1]
    identity = json.loads(out)["id"]
    code, out, _ = r.A.migctl("--json", "monitor", identity[:12])
    lines = [json.loads(line) for line in out.splitlines() if line.strip()]
    expect(code == 0 and lines, f"monitor: {out[:300]}")
    code, out, _ = r.A.migctl("--json", "status", "demo", "--wait")
    expect(json.loads(out)["state"] == "completed", "status --wait does not say completed")
    expect(r.B.status()["direction"] == "incoming", "B does not know the migration")
    r.judge_moved()


@CASES.case("idle")
def idle(rig):
    """Nothing writes: rounds find nothing, and it still ends."""
    r = rig(rate=0, devices=[Device(a_args=["--idle"])]).up()
    r.migrate("--verify")
    expect(r.B.vmm_running() and not r.A.vmm_running(), "not exactly B runs")
    r.judge_tracking_off()


@CASES.case("no-device")
def no_device(rig):
    r = rig(devices=[]).up()
    r.migrate("--verify")
    r.judge_moved()


@CASES.case("twice-refused-then-moved")
def names(rig):
    """Errors that an operator makes: each says what is wrong, and none harms."""
    r = rig().up()
    code, _, err = r.A.migctl("start", "nosuch", r.destination(), check=False)
    expect(code == 3, f"unknown domain: exit {code}: {err}")
    code, _, err = r.A.migctl("start", "demo", "127.0.0.1:1", check=False)
    expect(code == 1 and "127.0.0.1:1" in err, f"no peer there: exit {code}: {err}")
    code, _, err = r.A.migctl("start", "demo", r.destination(), "--peer-domain", "other", check=False)
    expect(code in (1, 3) and "other" in err, f"no such domain there: exit {code}: {err}")
    code, _, err = r.A.migctl("start", "demo", r.destination(), "--on-stall", "sometimes", check=False)
    expect(code == 2 and "abort" in err, f"bad policy: exit {code}: {err}")
    r.judge_one_side(r.A, r.B)
    r.migrate()
    r.judge_moved()


@CASES.case("there-and-no-further")
def departed(rig):
    """A domain that departed cannot start again, nor be migrated again."""
    r = rig().up()
    r.migrate()
    expect(r.A.show()["state"] == "departed", f"A is {r.A.show()['state']}")
    expect(r.B.show()["state"] == "running", f"B is {r.B.show()['state']}")
    code, _, err = r.start()
    expect(code == 1, f"a departed domain was migrated: exit {code}: {err}")
    r.judge_moved()


@CASES.case("example-never-runs-early")
def early(rig):
    r = rig().up()
    answer = os.spawnlpe(os.P_WAIT, "dbus-send", "dbus-send", "--bus=" + r.B.bus_address, "--print-reply", "--dest=org.migd.Example.demo",
                         "/org/migd/Example", "org.migd.Migd1.Vmm.Resume", "dict:string:string:", {**os.environ})
    expect(answer != 0 and not r.B.vmm_running(), "the destination ran before its state was loaded")
    expect(r.B.workload.end(signal.SIGTERM) == 0, "the workload did not end in order")


@CASES.case("the-judges-can-fail")
def judges(rig):
    """A page of the destination is damaged: both judges must say so, for what the device, the CPUs and the fill wrote."""
    r = rig(devices=[Device(args=["--pattern", "ring"])]).up()
    r.migrate()
    r.judge_one_side(r.B, r.A)
    r.stop_writers()
    r.judge_content(r.B.facts["memory"] if os.path.exists(r.B.facts["memory"]) else r.B.memory_file(), r.B, r.A)
    for offset, length, what in ((0, 2048, "device"), (2048, 1024, "CPU"), (3072, 1024, "fill")):
        with open(r.B.memory_file(), "r+b") as f:
            saved = []
            for page in range(64 * MIB // 4096):
                f.seek(page * 4096 + offset)
                saved.append(f.read(length))
                f.seek(page * 4096 + offset)
                f.write(b"\x55" * length)
            f.flush()
            try:
                r.judge_content(r.B.memory_file(), r.B, r.A)
            except Failed:
                pass
            else:
                raise Failed(f"nobody noticed that what the {what} wrote is gone")
            for page, data in enumerate(saved):
                f.seek(page * 4096 + offset)
                f.write(data)
    r.judge_content(r.B.memory_file(), r.B, r.A)
