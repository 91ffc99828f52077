# SPDX-License-Identifier: LGPL-2.1-or-later
"""migctl link-test over a link whose rate is known, plain and TLS, and towards a host that cannot be measured."""
import json

from cases_tls import configure, give_certificates
from stage import expect, tool
from workload import Workload

MBIT = 200
RATE = MBIT * 1000000 // 8


def slow(stage):
    for host in stage.hosts:
        tool("tc", "-n", host.netns, "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{MBIT}mbit", "burst", "256k", "latency", "50ms")


def measure(source, destination, *options):
    t = json.loads(source.run("migctl", "--json", "link-test", destination.name, *options))
    print(f"# {t['transport']} {t['cipher']}: {t['bandwidth'] * 8 / 1e6:.0f} Mbit/s with {t['connections']} connection(s), round trip {t['round-trip']} us idle, "
          f"{t['loaded-round-trip']} us full, {t['retransmissions']} sent again")
    return t


def near(t, what):
    expect(0.85 * RATE <= t["bandwidth"] <= 1.15 * RATE, f"{what}: {t['bandwidth'] * 8 / 1e6:.0f} Mbit/s measured, {MBIT} there")


def case_link_test(stage):
    a, b = stage.hosts
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    slow(stage)
    plain = measure(a, b)
    near(plain, "plain")
    expect(plain["transport"] == "tcp" and not plain["cipher"], f"plain: {plain['transport']} {plain['cipher']}")
    expect(plain["connections"] == 1, "more connections are said to help where the link is the limit")

    give_certificates(stage)
    for host in stage.hosts:
        configure(host)
        host.run("systemctl", "reload", "migd")
    w = Workload(stage)
    w.place(a)
    tls = measure(a, b, "--domain", w.name)
    near(tls, "TLS")
    expect(tls["transport"] == "tls" and tls["cipher"].startswith("TLS_"), f"TLS: {tls['transport']} {tls['cipher']}")
    expected = tls["memory"] / tls["bandwidth"] * 1e6
    expect(0 < tls["memory"] <= w.size_mib << 20 and abs(tls["full-send"] - expected) < expected / 100, f"of the domain it says {tls}")
    text = a.run("migctl", "link-test", b.name)
    expect("A migration to hostb may expect" in text and "CPU PER GIB HERE" in text and tls["cipher"] in text, text)

    # The cap of this host holds, and is named.
    a.write("/etc/migd/migd.conf.d/50-cap.conf", "[Migration]\nTotalBandwidth=40Mbit\n")
    a.run("systemctl", "reload", "migd")
    capped = measure(a, b)
    expect(capped["bandwidth"] <= 1.15 * 5e6 and capped["cap"] == 5000000, f"in spite of the cap: {capped['bandwidth']}, {capped['cap']}")
    expect("TotalBandwidth=" in a.run("migctl", "link-test", b.name), "the cap is not named")

    b.run("systemctl", "stop", "migd")
    code, _, errors = a.try_run("migctl", "link-test", b.name)
    expect(code == 1 and b.name in errors, f"nobody there: exit {code}: {errors}")
