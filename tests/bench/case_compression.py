# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adaptive compression against none, over a link of 1 Gbit/s and over the loopback as it is, in a network of its own.

The memory is text of this machine (programs and documentation), which packs to a third, or noise, which does not pack.
"""
import ctypes
import os
import subprocess

from case_bulk import cpu_seconds, medians
from stage import Device, Failed, MIB, Stage, fill

CLONE_NEWNET = 0x40000000


def fill_with_text(path, size, root="/usr/share"):
    at = 0
    with open(path, "r+b", buffering=0) as f:
        while at < size:
            for folder, _, names in sorted(os.walk(root)):
                for name in sorted(names):
                    file = os.path.join(folder, name)
                    if at < size and os.path.isfile(file) and not name.endswith((".gz", ".xz", ".png", ".zst")):
                        with open(file, "rb") as g:
                            f.seek(at)
                            at += f.write(g.read(size - at))


def shape(rate):
    """The link of the network that this process is in. None: as it is."""
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], capture_output=True, check=False)
    if rate:
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", rate, "burst", "256k", "latency", "50ms"], check=True)


def one(stage, codec):
    pids = stage.here.migd.pid, stage.there.migd.pid
    before = [cpu_seconds(p) for p in pids]
    status, rounds = stage.move("--compression", codec, "--connections", "2")
    spent = [cpu_seconds(p) - b for p, b in zip(pids, before)]
    return {"rate": rounds[0]["bytes"] / (rounds[0]["duration"] / 1e6), "sender": spent[0], "receiver": spent[1],
            "packed": status["compression-after"] / max(status["compression-before"], 1)}


def rows(report, stage, link, what, codecs, runs, least):
    gib = stage.size / (1 << 30)
    m = medians(runs, {codec: lambda codec=codec: one(stage, codec) for codec in codecs})
    for codec, r in m.items():
        case = f"{what} over {link}, {codec}"
        report.add(case, r["rate"] / MIB, "MiB/s", r["rate"] / m["off"]["rate"], "off", least=least if codec == "adaptive" else None)
        for side in ("sender", "receiver"):
            report.add(f"{case}: CPU of the {side}", r[side] / gib, "s/GiB")


def run(report, build, quick):
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
        raise Failed(f"no network of its own: {os.strerror(ctypes.get_errno())}; this needs root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    size, runs = (256 * MIB, 3) if quick else (1024 * MIB, 5)
    for what, prepare, slow in (("text", lambda path: fill_with_text(path, size), 2.0), ("noise", lambda path: fill(path, size), 0.95)):
        with Stage(build, size=size, devices=[Device(a_args=["--idle"])], prepare=prepare) as stage:
            shape("1gbit")
            rows(report, stage, "1 Gbit/s", what, ("off", "adaptive", "lz4", "zstd") if what == "text" else ("off", "adaptive"), min(runs, 3), slow)
            shape(None)
            rows(report, stage, "loopback", what, ("off", "adaptive"), runs, 0.95)
