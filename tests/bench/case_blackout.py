# SPDX-License-Identifier: LGPL-2.1-or-later
"""The blackout: its length and parts with nothing dirty, and what it costs beyond its bytes with several dirty rates."""
import statistics

from stage import Device, GIB, MIB, PARTS, Stage

STATE = ["--state-size", "1M"]
ALLOWED_EMPTY_MS, ALLOWED_BEYOND_MS = 15, 5
LONG = ["--max-downtime", "2s", "--on-stall", "force"]


def parts(report, case, runs):
    for part in PARTS:
        report.add(f"{case}: {part}", statistics.median(s["downtime-" + part] for s in runs) / 1000, "ms")


def measure(stage, runs, *options):
    """Final states of migrations, without that of the first, which finds a destination without pages."""
    return [stage.move(*options)[0] for _ in range(runs + 1)][1:]


def nothing_dirty(report, build, runs, size):
    device = Device(args=STATE, a_args=["--idle"])
    for name, keys in (("controller none", {}), ("example VMM", {"vmm": True, "rate": 0, "fill": "/usr/lib"})):
        case = f"blackout, nothing dirty, {name}"
        with Stage(build, size=size, devices=[device], **keys) as stage:
            found = measure(stage, runs)
        down = statistics.median(s["downtime"] for s in found) / 1000
        report.add(case, down, "ms", down / ALLOWED_EMPTY_MS, f"{ALLOWED_EMPTY_MS} ms", most=1.0)
        parts(report, case, found)


def beyond_bytes(status):
    """What the blackout took, less the time that its bytes need at the bandwidth that the migration had: in ms."""
    moved = status["final-bytes"] + status["device-state"] + status["vmm-state"]
    return (status["downtime"] / 1e6 - moved / status["memory-bandwidth"]) * 1e3


def dirty(report, build, runs, size):
    writers = (
        ("controller none, ring of 5000 pages/s", {"devices": [Device(args=STATE, rate=5000)]}),
        ("controller none, ring of 20000 pages/s", {"devices": [Device(args=STATE, rate=20000)]}),
        ("controller none, 20000 random pages/s", {"devices": [Device(args=STATE + ["--pattern", "uniform"], rate=20000)]}),
        ("example VMM, 5000 random pages/s by each", {"vmm": True, "rate": 5000, "fill": "/usr/lib",
                                                      "devices": [Device(args=STATE + ["--pattern", "uniform"], rate=5000)]}),
    )
    for name, keys in writers:
        case = f"blackout, {name}"
        with Stage(build, size=size, **keys) as stage:
            found = measure(stage, runs, *LONG)
        report.add(f"{case}: all of it", statistics.median(s["downtime"] for s in found) / 1000, "ms")
        report.add(f"{case}: pages in it", statistics.median(s["final-bytes"] for s in found) / MIB, "MiB")
        report.add(f"{case}: bandwidth", statistics.median(s["memory-bandwidth"] for s in found) / GIB, "GiB/s")
        beyond = statistics.median(beyond_bytes(s) for s in found)
        report.add(f"{case}: beyond its bytes", beyond, "ms", beyond / ALLOWED_BEYOND_MS, f"{ALLOWED_BEYOND_MS} ms", most=1.0)
        parts(report, case, found)


def run(report, build, quick):
    runs, size = (3, 256 * MIB) if quick else (7, GIB)
    nothing_dirty(report, build, runs, size)
    dirty(report, build, runs, size)
