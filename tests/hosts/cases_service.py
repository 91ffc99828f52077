# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service as systemd runs it."""
import json

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
