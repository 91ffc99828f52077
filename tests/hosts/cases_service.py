# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service as systemd runs it."""
import json
import socket

from cases_journal import lines, message_id
from stage import expect, wait_for
from workload import Workload


def case_start_and_stop(stage):
    """Type=notify, activation by the bus, reload, stop; nothing is logged above notice."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    expect(host.unit_property("StatusText") == f"0 domains; peers reach it at {host.address}:16509", f"status: {host.unit_property('StatusText')}")
    host.run("systemctl", "stop", "migd")
    host.run("migctl", "list")  # the bus starts it
    expect(host.unit_property("ActiveState") == "active", "the bus did not start migd")
    host.write("/etc/migd/migd.conf.d/10.conf", "[Migration]\nMaxDowntime=40ms\n")
    host.run("systemctl", "reload", "migd")
    wait_for("the new value there", lambda: json.loads(host.run("migctl", "--json", "config", "MaxDowntime"))[0]["value"] == "40ms")
    host.write("/etc/migd/migd.conf.d/10.conf", "[Migration]\nMaxDowntimes=40ms\n")
    code, _, errors = host.try_run("systemctl", "reload", "migd")
    expect(code != 0, "a broken configuration was reloaded")
    wait_for("the journal to name the wrong key", lambda: "MaxDowntimes" in host.journal("-u", "migd"))
    expect(host.unit_property("ActiveState") == "active", "a broken configuration ended migd")


def case_unit_gives_little(stage):
    """What the unit forbids is forbidden."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    pid = host.unit_property("MainPID")
    status = dict(line.split(":", 1) for line in host.run("cat", f"/proc/{pid}/status").splitlines())
    allowed = 1 << 19 | 1 << 1 | 1 << 14  # SYS_PTRACE, DAC_OVERRIDE, IPC_LOCK, which a container itself lacks
    expect(int(status["CapBnd"], 16) & ~allowed == 0 and int(status["CapEff"], 16) & 1 << 19, f"capabilities {status['CapBnd']}, {status['CapEff']}")
    expect(status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", "no seccomp filter, or new privileges")
    code, _, _ = host.try_run("nsenter", "-t", pid, "-m", "touch", "/usr/x")
    expect(code != 0, "/usr is writable for migd")


def memory_of(host):
    """Where in /proc ram0 is, which only migd holds; "" when it is nowhere."""
    pid = host.unit_property("MainPID")
    return host.run("sh", "-c", f"for f in /proc/{pid}/fd/*; do case $(readlink $f) in /memfd:*ram0*) echo $f; break;; esac; done").strip()


def mark(host):
    host.run("sh", "-c", f"printf 'still here' | dd of={memory_of(host)} bs=1 seek=4096 conv=notrunc 2>/dev/null")


def judge_whole(host, when):
    """The domain is what it was, to the byte that mark() wrote."""
    shown = json.loads(host.run("migctl", "--json", "show", "demo"))
    expect(shown["State"] == "running" and not shown["Problem"], f"{when}: {shown['State']}, {shown['Problem']}")
    text = host.run("sh", "-c", f"dd if={memory_of(host)} bs=1 skip=4096 count=10 2>/dev/null")
    expect(text == "still here", f"{when} memory holds {text!r}")


def again(host, how):
    """The service ends this way, and another process follows."""
    before = host.unit_property("MainPID")
    if how == "restart":
        host.run("systemctl", "restart", "migd")
    else:
        host.run("systemctl", "kill", "-s", how, "--kill-whom=main", "migd")

    def is_back():
        state = host.unit_property("ActiveState")
        expect(state != "failed", f"after {how} the service manager gives migd up: {host.unit_property('Result')}")
        return state == "active" and host.unit_property("MainPID") not in ("0", before)
    wait_for(f"migd back after {how}", is_back)


def case_restart_keeps_descriptors(stage):
    """Restart, crash and abort: memory that only migd holds stays, and so do its bytes; a released domain leaves the store at once."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M", "--memory", "name=ram1,make,size=4M")

    mark(host)
    for how in ("restart", "SIGKILL", "SIGABRT"):
        again(host, how)
        judge_whole(host, f"after {how}")
    expect(host.unit_property("NFileDescriptorStore") == "2", f"the store has {host.unit_property('NFileDescriptorStore')} descriptors")
    host.run("migctl", "release", "demo")
    wait_for("the store empty", lambda: host.unit_property("NFileDescriptorStore") == "0")


def case_unknown_descriptors(stage):
    """Descriptors in the store that belong to no saved form are closed, leave the store and are named in the journal."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M", "--memory", "name=ram1,make,size=4M")
    expect(host.unit_property("NFileDescriptorStore") == "2", f"the store has {host.unit_property('NFileDescriptorStore')} descriptors")
    host.run("rm", "/run/migd/domains/demo.json")
    again(host, "SIGKILL")
    wait_for("the store empty", lambda: host.unit_property("NFileDescriptorStore") == "0")
    told = [x["MESSAGE"] for x in lines(host, "MESSAGE_ID=" + message_id("DESCRIPTOR_UNKNOWN"))]
    expect(len(told) == 2 and all(any(f"demo/memory/{name}," in x for x in told) for name in ("ram0", "ram1")), f"the journal says {told}")
    expect(not memory_of(host), "migd has the memory open still")
    again(host, "restart")
    expect(len(lines(host, "MESSAGE_ID=" + message_id("DESCRIPTOR_UNKNOWN"))) == 2, "they came back at the next start")


def case_killed_again_and_again(stage):
    """However often and fast migd dies or is restarted, it is started again, and its domains keep what only migd holds."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M")
    mark(host)
    for n in range(7):
        again(host, "SIGKILL")
    judge_whole(host, "killed seven times")
    for n in range(7):
        again(host, "restart")
    judge_whole(host, "restarted seven times")


def drop_in(host, *text):
    host.write("/etc/systemd/system/migd.service.d/test.conf", "\n".join(text) + "\n")
    host.run("systemctl", "daemon-reload")


def case_userfaultfd_is_kept(stage):
    """The userfaultfd of a VMM is found in the store after a kill, where migd cannot take it from the VMM again, and says what the CPUs write."""
    for host in stage.hosts:
        drop_in(host, "[Service]", "SystemCallFilter=~pidfd_getfd")
        host.run("systemctl", "start", "migd")
    w = Workload(stage, track="uffd")
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    expect(stage.a.unit_property("NFileDescriptorStore") == "2", f"the store has {stage.a.unit_property('NFileDescriptorStore')} descriptors")
    again(stage.a, "SIGKILL")
    shown = json.loads(stage.a.run("migctl", "--json", "show", w.name))
    expect(shown["State"] == "running" and not shown["Problem"], f"after a kill: {shown['State']}, {shown['Problem']}")
    w.migrate(stage.a, stage.b, "--verify")


def case_watchdog(stage):
    """A migd that does not answer is killed and started again, and keeps its domains."""
    host = stage.a
    drop_in(host, "[Service]", "WatchdogSec=10", "TimeoutAbortSec=30")
    host.run("systemctl", "start", "migd")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M")
    mark(host)
    again(host, "SIGSTOP")
    expect("watchdog" in host.run("journalctl", "-q", "--no-pager", "-o", "cat", "-u", "migd", "_PID=1").lower(), "it was not the watchdog")
    judge_whole(host, "after the watchdog")


def case_watchdog_of_workers(stage):
    """While the main thread lives and a worker hangs, the watchdog is not fed any more; the workload goes on at the source. What runs is in STATUS."""
    w = Workload(stage)
    drop_in(stage.a, "[Service]", "WatchdogSec=10", "TimeoutAbortSec=30", "EnvironmentFile=-/run/fault")
    stage.a.write("/run/fault", "MIGD_FAULT=pause:sleep=600000\nMIGD_WATCHDOG_SILENCE=5s\n")
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    stage.a.run("rm", "/run/fault")
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    before = stage.a.unit_property("MainPID")
    stage.a.start("migctl-start", "migctl", "start", w.name, stage.b.name)
    wait_for("STATUS with the migration", lambda: "Migrating demo" in stage.a.unit_property("StatusText"))
    wait_for("another migd", lambda: stage.a.unit_property("MainPID") not in ("0", before) and stage.a.unit_property("ActiveState") == "active")
    expect(lines(stage.a, "MESSAGE_ID=" + message_id("WORKER_STUCK")), "the journal does not say which worker hung")
    wait_for("the source runs", lambda: w.running(stage.a) and not w.running(stage.b))
    expect("Migrating" not in stage.a.unit_property("StatusText"), f"STATUS: {stage.a.unit_property('StatusText')}")


case_watchdog_of_workers.faults = True


def case_peer_socket(stage):
    """The port belongs to migd.socket: a migration that comes in starts migd, and a restart of migd does not close the port."""
    a, b = stage.hosts
    b.write("/etc/migd/migd.conf", "[Peer]\nListen=\nSecurity=plain\n")
    a.run("systemctl", "start", "migd")
    b.run("systemctl", "start", "migd.socket")
    w = Workload(stage)
    w.place(a)
    w.place(b, incoming=True)  # the bus starts it
    b.run("systemctl", "stop", "migd")
    expect(b.unit_property("ActiveState") == "inactive", f"migd is {b.unit_property('ActiveState')} after a stop")
    w.migrate(a, b, "--verify")
    w.remove(a)
    w.place(a, incoming=True)
    w.migrate(b, a, "--verify")
    w.remove(b)
    w.place(b, incoming=True)
    again(b, "restart")
    w.migrate(a, b, "--verify")


def scrape(host):
    """From outside, by the path; no tool for it is in the root."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(180)
        s.connect(f"/proc/{host.leader}/root/run/migd-metrics.sock")
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def case_metrics_socket(stage):
    """migd-metrics.socket: the first scrape starts migd, and later ones are answered also after a restart."""
    host = stage.a
    host.run("systemctl", "start", "migd-metrics.socket")
    expect(host.unit_property("ActiveState") == "inactive", "migd runs before anybody asked")
    for when in ("at first", "after a restart"):
        text = scrape(host)
        expect(text.startswith("HTTP/1.1 200") and "migd_build_info" in text and "# EOF" in text, f"{when}: {text[:300]}")
        expect(host.unit_property("ActiveState") == "active", "the scrape did not start migd")
        again(host, "restart")


def case_there_and_back(stage):
    """A domain with a device that does DMA goes to the other host and back, each time proven."""
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
    w = Workload(stage)
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    w.migrate(stage.a, stage.b, "--verify")
    w.remove(stage.a)
    w.place(stage.a, incoming=True)
    w.migrate(stage.b, stage.a, "--verify")
