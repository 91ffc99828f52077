# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures that a scraper gets, while migrations run and after them."""
import os
import re
import socket

import openmetrics
from harness import MIB, expect, wait_for
from openmetrics import value
from registry import Cases

CASES = Cases()
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "doc", "metrics.md")


def scrape(r, name):
    status, content, text = openmetrics.get(r.path("metrics-" + name))
    expect(status == 200 and content.startswith("application/openmetrics-text; version=1.0.0"), f"status {status}, type {content}")
    return openmetrics.parse(text)


def metrics_rig(rig, **keys):
    r = rig(**keys)
    r.config.update({n: f"[Metrics]\nListen=unix:{r.path('metrics-' + n)}\n" for n in "AB"})
    return r.up()


@CASES.case("metrics")
def metrics(rig):
    r = metrics_rig(rig, size=128 * MIB)
    before = {n: scrape(r, n) for n in "AB"}
    expect(value(before["A"], "migd_domains", state="running") == 1 and value(before["B"], "migd_domains", state="waiting") == 1, "domains by state")
    expect(value(before["A"], "migd_domain_memory_bytes") == 128 * MIB, "memory of the domain")

    # While it runs, slowly: nothing gets smaller, and the domain has figures of its own.
    start = r.start_background("--bandwidth=40M", "--verify")
    last, seen = openmetrics.counters(before["A"]), 0
    while start.alive():
        now = scrape(r, "A")
        counters = openmetrics.counters(now)
        smaller = [k for k in last if counters.get(k, -1) < last[k]]
        expect(not smaller, f"got smaller: {smaller[:3]}")
        seen += value(now, "migd_migrations_running", direction="outgoing") == 1 and \
            any(k[1] == (("domain", "demo"),) for k in now["migd_migration_remaining_bytes"]["samples"])
        last = counters
    expect(start.end() == 0, "the migration failed")
    expect(seen > 3, f"the running migration was seen {seen} times")

    after, status = {n: scrape(r, n) for n in "AB"}, r.A.status()
    same = {("migd_migrations_total", ("direction", "outgoing"), ("outcome", "completed")): 1,
            ("migd_payload_bytes_total", ("direction", "outgoing")): status["memory-processed"],
            ("migd_wire_bytes_total", ("direction", "outgoing")): status["data-processed"],
            ("migd_pages_total", ("direction", "outgoing"), ("kind", "zero")): status["memory-constant"],
            ("migd_rounds_total",): status["memory-iteration"], ("migd_verify_pages_total",): status["verify-pages"],
            ("migd_downtime_seconds_count",): 1, ("migd_downtime_seconds_sum",): status["downtime"] / 1e6}
    for (name, *labels), wanted in same.items():
        have = value(after["A"], name, **dict(labels))
        expect(abs(have - wanted) < 1e-6, f"{name} {labels} is {have}, the status says {wanted}")
    expect(value(after["B"], "migd_migrations_total", direction="incoming", outcome="completed") == 1, "the destination counts it")
    expect(value(after["B"], "migd_pages_total", direction="incoming", kind="normal") > 0, "the destination counts pages")
    expect(not after["A"]["migd_migration_remaining_bytes"]["samples"], "a migration that ended still has figures of its own")
    expect(value(after["A"], "process_open_fds") > 5 and value(after["A"], "process_resident_memory_bytes", kind="own") > 0, "the process")

    # Each family is on the page, and no other.
    with open(PAGE, encoding="utf-8") as f:
        listed = {re.sub(r"_(total|info)$", "", name): (kind, unit) for name, kind, unit in re.findall(r"^\| `(\w+)` \| (\w+) \| (\w*) \|", f.read(), re.M)}
    told = {name: (f["type"], f.get("unit", "")) for name, f in after["A"].items()}
    expect(told == listed, f"doc/metrics.md: {set(told.items()) ^ set(listed.items())}")
    r.judge_moved()


@CASES.case("metrics-failure")
def metrics_failure(rig):
    """A migration that fails is counted by the word of its error."""
    r = metrics_rig(rig)
    code, _, _ = r.A.migctl("start", "demo", "127.0.0.1:1", check=False)
    expect(code == 1, f"exit {code}")
    now = scrape(r, "A")
    expect(value(now, "migd_migration_errors_total", error="PeerUnreachable") == 1, "the error is not counted")
    expect(value(now, "migd_migrations_total", direction="outgoing", outcome="failed") == 1, "the failure is not counted")
    r.judge_stayed()


@CASES.case("metrics-bad-scrapers")
def bad_scrapers(rig):
    """Whoever asks something else, too much, or nothing at all."""
    r = metrics_rig(rig, devices=[], size=4 * MIB)
    path = r.path("metrics-A")
    expect(openmetrics.get(path, "/")[0] == 404 and openmetrics.get(path, "/metrics/x")[0] == 404, "another path")
    expect(openmetrics.get(path, "/metrics", "POST")[0] in (405, 501), "another method")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for s in silent:
        s.connect(path)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(path)
        s.sendall(b"GET /metrics HTTP/1.1\r\n" + b"X-Long: y\r\n" * 2000)
        expect(b"200" not in s.recv(100)[:20], "a request without end was answered")
    scrape(r, "A")
    wait_for("the silent ones gone", lambda: not [f for f in silent if alive(f)])
    r.migrate()


def alive(s):
    s.setblocking(False)
    try:
        return s.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
