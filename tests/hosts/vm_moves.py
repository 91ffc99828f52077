# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's guests that migctl moves with either engine: what the cases about hops, stalls, failures and figures have in common."""
import json
import socket

from cases_hook import both_ready
from cases_native import WAIT_CONF, domain, registered
from cases_vm import begun, migctl, status
from libvirt_stage import LIBVIRT_PORT, Guest, moved_by_qemu
from stage import expect, wait_for

ENGINES = ("native", "libvirt")
MEMORY = {"native": "file", "libvirt": moved_by_qemu()}
ARRIVAL = {"native": "60s", "libvirt": "0s"}  # a guest that QEMU moves whole need not wait for a migd


def let_wait(stage, engine):
    for host in stage.hosts:
        host.write(WAIT_CONF, f"[Libvirt]\nArrivalWait={ARRIVAL[engine]}\nDestinationUri=qemu+tcp://%h:{LIBVIRT_PORT}/system\n")
        host.try_run("systemctl", "reload", "migd")  # one that runs already


def ready(stage, engine):
    let_wait(stage, engine)
    both_ready(stage)


def place(stage, host, name, engine, **keys):
    """A guest that runs there, that migd knows, and that this engine can move whole."""
    guest = Guest(stage, name, second_monitor=True, memory=MEMORY[engine], **keys)
    guest.start(host)
    registered(guest, host)
    return guest


def options(engine, *more, verify=True):
    return ["--engine=" + engine, *(["--verify=strict"] if engine == "native" and verify else []), *more]


def start(guest, engine, source, destination, *more):
    """Begun, and not followed: the id."""
    begun(guest, destination)
    code, said, errors = migctl(source, "start", guest.name, destination.name, "--detach", *options(engine, *more))
    expect(code == 0, f"start: exit {code}: {said} {errors}")
    return said["id"]


def move(guest, engine, source, destination, *more, verify=True, seconds=600):
    """To the end: what migd says of it then."""
    begun(guest, destination)
    code, said, errors = migctl(source, "start", guest.name, destination.name, *options(engine, *more, verify=verify), seconds=seconds)
    expect(code == 0 and said.get("state") == "completed", f"exit {code}: {said.get('message') or errors.strip()[-400:]}")
    expect(engine == "native" or said["engine"] == engine, f"the engine is {said['engine']}")
    guest.alone(destination, source)
    wait_for(f"migd at {destination.name} knows {guest.name} as running", lambda: (domain(guest, destination) or {}).get("State") == "running", 60, 0.1)
    wait_for(f"migd at {source.name} forgets {guest.name}", lambda: domain(guest, source) is None, 60, 0.1)
    return said


def ended(host, migration, seconds=300):
    def look():
        s = status(host, migration)
        return s if s.get("state", "running") != "running" else None
    return wait_for(f"migration {migration} ends", look, seconds, 0.2)


def ask_qemu(guest, host, command="query-status"):
    """QEMU's own word, by the guest's second monitor, from outside of the host."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(f"/proc/{host.leader}/root{guest.monitor}")
        f = s.makefile("rw", encoding="utf-8")

        def answer():
            while True:
                said = json.loads(f.readline())
                if "return" in said or "error" in said or "QMP" in said:
                    return said.get("return", said)
        answer()
        for word in ("qmp_capabilities", command):
            f.write(json.dumps({"execute": word}) + "\n")
            f.flush()
            said = answer()
        return said
