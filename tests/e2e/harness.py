# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stage of the end-to-end runs: two buses, two daemons, device processes, workloads, and the judges.

A case makes a Rig, starts it, migrates, and asks the rig to judge. Nothing here knows what a case expects; every wait has an end, and
every process that was started is ended by its pid.
"""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from judging import PATIENCE_SECONDS, Failed, Skipped, expect, wait_for  # noqa: E402,F401

MIB = 1 << 20


class Device:
    """What a simdev is started with. args for both sides, a_args and b_args for one; keys are those of the domain file."""

    def __init__(self, name="nic0", number=1, args=(), a_args=(), b_args=(), rate=1500, keys=None, b_keys=None):
        self.name, self.number, self.rate = name, number, rate
        self.args, self.a_args, self.b_args = list(args), list(a_args), list(b_args)
        self.keys = dict(keys or {})
        self.b_keys = dict(self.keys if b_keys is None else b_keys)


class Process:
    def __init__(self, rig, name, argv, env=None):
        self.name, self.rig = name, rig
        self.out, self.err = rig.path(name + ".out"), rig.path(name + ".err")
        # Appended, so that the log of a daemon that was started again is in one piece.
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env)
        self.pid = self.popen.pid
        rig.processes.append(self)

    def alive(self):
        return self.popen.poll() is None

    def kill(self, number=signal.SIGKILL):
        if self.alive():
            self.popen.send_signal(number)

    def end(self, number=signal.SIGTERM, seconds=60.0):
        """Asks it to end; its exit status, negative for a signal."""
        self.kill(number)
        self.kill(signal.SIGCONT)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            stacks = self.stacks()
            self.popen.kill()
            self.popen.wait()
            raise Failed(f"{self.name} did not end within {seconds:g} s after signal {number}{stacks}") from None

    def stacks(self):
        """Where its threads are, if gdb is here to say so."""
        if not shutil.which("gdb"):
            return ""
        done = subprocess.run(["gdb", "-p", str(self.pid), "-batch", "-ex", "thread apply all bt 12"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        return "\n" + "\n".join(line for line in done.stdout.splitlines() if line.startswith(("#", "Thread")))

    def stopped(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as f:
                return f.read().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def fds(self):
        """What its descriptors are, sorted; sockets and anonymous things without their number."""
        found = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{self.pid}/fd/{fd}")
            except OSError:
                continue
            found.append(re.sub(r":\[\d+\]", "", target))
        return sorted(found)

    def output(self):
        with open(self.out, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log(self):
        with open(self.err, encoding="utf-8", errors="replace") as f:
            return f.read()


class Side:
    """One host: a bus, a daemon, devices, a workload."""

    def __init__(self, rig, name):
        self.rig, self.name = rig, name
        self.incoming = name == "B"
        self.bus_address = "unix:path=" + rig.path("bus-" + name)
        self.env = dict(os.environ, MIGD_BUS_ADDRESS=self.bus_address, LC_ALL="C.UTF-8")
        self.migd = self.workload = None
        self.devices = {}
        self.facts = {}  # the workload's line of JSON
        self.fds_at_rest = None

    # -- processes --

    def start_bus(self):
        config = self.rig.path(f"bus-{self.name}.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{self.bus_address}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow eavesdrop="true"/></policy></busconfig>
""")
        Process(self.rig, f"bus-{self.name}", ["dbus-daemon", "--nofork", "--nopidfile", "--config-file=" + config])
        wait_for(f"bus {self.name} there", lambda: self.property(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Interfaces") is not None)

    def start_migd(self, fault=None, build=None):
        env = dict(self.env)
        if fault:
            env["MIGD_FAULT"] = fault
        runtime = self.rig.path("run-" + self.name)
        os.makedirs(runtime, exist_ok=True)
        listen = self.rig.listen[self.name]
        argv = [self.rig.program("migd", build or self.rig.migd_build), "--runtime-dir", runtime, "--listen", listen]
        if self.name in self.rig.config:
            with open(self.rig.path(f"migd-{self.name}.conf"), "w", encoding="ascii") as f:
                f.write(self.rig.config[self.name])
            argv += ["--config", f.name]
        if "Security=" not in self.rig.config.get(self.name, ""):
            argv += ["--security", "plain"]
        self.migd = Process(self.rig, "migd-" + self.name, argv, env)
        self.migd.started = time.monotonic()
        if not fault or ":" not in fault or not fault.startswith("start"):
            self.wait_migd()

    def wait_migd(self):
        def up():
            expect(self.migd.alive(), f"migd {self.name} ended with {self.migd.popen.poll()}: {self.migd.log()[-400:]}")
            return self.property("org.migd.Migd1", "/org/migd/Migd1", "org.migd.Migd1.Manager", "Version")
        wait_for(f"migd {self.name} on its bus", up)
        if self.fds_at_rest is None:
            self.fds_at_rest = self.migd.fds()

    def peer_address(self):
        """Where a peer reaches this side. A port that the kernel chose is kept: it must be the same after a restart."""
        address = self.property("org.migd.Migd1", "/org/migd/Migd1", "org.migd.Migd1.Manager", "PeerAddress")
        self.rig.listen[self.name] = address
        return address

    def start_device(self, d, extra=()):
        argv = [self.rig.program("simdev"), "--id", str(d.number), "--socket", self.socket(d), "--journal", self.journal(d),
                "--rate", str(d.rate), "--verbose"] + d.args + (d.b_args if self.incoming else d.a_args) + list(extra)
        if self.incoming:
            argv.append("--incoming")
        self.devices[d.name] = Process(self.rig, f"{d.name}-{self.name}", argv)
        wait_for(f"device {d.name} of {self.name} listening", lambda: os.path.exists(self.socket(d)))

    def start_workload(self):
        rig = self.rig
        argv = [rig.program("migd-example-vmm"), "--size", str(rig.size), "--threads", str(rig.threads), "--rate", str(rig.rate),
                "--track", rig.track, "--journal", self.vmm_journal(), "--bus-name", "org.migd.Example.demo"]
        if rig.span:
            argv += ["--span", str(rig.span)]
        if self.incoming:
            argv.append("--incoming")
        elif rig.fill:
            argv += ["--fill-from", rig.fill]
        if self.incoming and rig.made == "open":
            argv += ["--open", "demo/ram0"]
        elif rig.hugepages:
            argv += ["--hugepages", str(rig.hugepages)]
        elif rig.memory_files:
            argv += ["--memory", self.memory_file()]
        if rig.register == "vmm":
            argv += ["--register", "demo"]
            for d in rig.devices:
                argv += ["--device", f"name={d.name},socket={self.socket(d)}"]
            if self.incoming and rig.made:
                argv += ["--make"]
        self.workload = Process(rig, "vmm-" + self.name, argv, self.env)

        def ready():
            expect(self.workload.alive(), f"workload {self.name} ended: {self.workload.log()[-400:]}")
            return "ready " in self.workload.output()
        wait_for(f"workload {self.name} ready", ready)
        self.facts = json.loads(self.workload.output().splitlines()[0])

    # -- paths --

    def socket(self, d):
        return self.rig.path(f"{d.name}-{self.name}.sock")

    def journal(self, d):
        return self.rig.path(f"{d.name}-{self.name}.journal")

    def vmm_journal(self):
        return self.rig.path(f"vmm-{self.name}.journal")

    def memory_file(self):
        return os.path.join(self.rig.shm, "memory-" + self.name)

    # -- talking --

    def migctl(self, *args, seconds=PATIENCE_SECONDS, check=True):
        """Runs it to its end: (exit code, output, errors)."""
        argv = [self.rig.program("migctl")] + list(args)
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, env=self.env, check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"migctl {' '.join(args)} did not end within {seconds:g} s") from None
        with open(self.rig.path("migctl.log"), "a", encoding="utf-8") as f:
            f.write(f"--- {self.name}: {' '.join(args)} -> {done.returncode}\n{done.stdout}{done.stderr}")
        if check:
            expect(done.returncode == 0, f"migctl {' '.join(args)} on {self.name}: exit {done.returncode}: {done.stderr.strip()}")
        return done.returncode, done.stdout, done.stderr

    def show(self):
        return {k.lower(): v for k, v in json.loads(self.migctl("--json", "show", "demo")[1]).items()}

    def status(self, which="demo"):
        return json.loads(self.migctl("--json", "status", which)[1])

    def peek(self, key, default=0):
        """A figure of the newest migration, while it may not be there yet."""
        code, out, _ = self.migctl("--json", "status", "demo", check=False)
        return json.loads(out)[key] if code == 0 else default

    def property(self, bus_name, path, interface, name):
        """As text, or None when nobody answers."""
        done = subprocess.run(
            ["dbus-send", "--bus=" + self.bus_address, "--print-reply=literal", "--reply-timeout=3000", "--dest=" + bus_name, path,
             "org.freedesktop.DBus.Properties.Get", "string:" + interface, "string:" + name],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip().split()[-1] if done.returncode == 0 and done.stdout.strip() else None

    def vmm_running(self):
        if not self.workload or not self.workload.alive():
            return False
        return self.property("org.migd.Example.demo", "/org/migd/Example", "org.migd.Example", "Running") == "true"

    def vmm_writes(self):
        return int(self.property("org.migd.Example.demo", "/org/migd/Example", "org.migd.Example", "Writes") or 0)

    def device_sequence(self, d):
        """Number of the newest record that this side's process wrote."""
        try:
            with open(self.journal(d), "rb") as f:
                return struct.unpack("<QIIQQQ", f.read(40))[5]
        except (OSError, struct.error):
            return 0

    # -- registering --

    def domain_file(self):
        rig = self.rig
        memory = []
        for name, offset, size, iovas in rig.regions:
            m = {"name": name, "size": size, "iova": [hex(i) for i in iovas]}
            if self.incoming and rig.made:
                m["make"] = True
                if rig.hugepages:
                    m["hugepages"] = rig.hugepages
            else:
                m.update(path=self.facts["memory"], offset=offset)
            memory.append(m)
        devices = []
        for d in rig.devices:
            keys = d.b_keys if self.incoming else d.keys
            devices.append(dict({"name": d.name, "type": "vfio-user", "socket": self.socket(d)}, **keys))
        trackers = []
        for n, (name, offset, _, _) in enumerate(rig.regions):
            t = {"name": f"cpu{n}", "memory": name}
            if self.facts.get("cpu-log"):
                trackers.append(dict(t, type="cpu-log", path=self.facts["cpu-log"], offset=offset // 4096 // 8))
            elif "uffd" in self.facts:
                trackers.append(dict(t, type="uffd", pid=self.facts["pid"], fd=self.facts["uffd"],
                                     address=hex(int(self.facts["address"], 16) + offset)))
            elif rig.track == "none" and rig.rate:
                trackers.append(dict(t, type="all"))
        controller = {"type": "dbus", "bus-name": "org.migd.Example.demo", "path": "/org/migd/Example", "timeout": "5s"}
        return {"name": "demo", "incoming": self.incoming, "memory": memory, "devices": devices,
                "trackers": [] if self.incoming and rig.made == "open" else trackers, "controller": controller}

    def register_domain(self):
        path = self.rig.path(f"domain-{self.name}.json")
        with open(path, "w", encoding="ascii") as f:
            json.dump(self.domain_file(), f, indent=1)
        self.migctl("register", "demo", "--file", path)


class Rig:
    def __init__(self, context, size=64 * MIB, devices=None, track="cpu-log", threads=2, rate=2000, span=None, regions=None, made=None,
                 hugepages=0, register="migctl", transport="tcp", fill="/usr/lib", memory_files=True, faults=None,
                 config=None):
        self.context, self.build = context, context.build
        self.size, self.track, self.threads, self.rate, self.span = size, track, threads, rate, span
        self.devices = [Device()] if devices is None else devices
        self.regions = regions or [("ram0", 0, size, [0])]
        self.made, self.hugepages, self.register, self.fill, self.memory_files = made, hugepages, register, fill, memory_files
        self.faults, self.config = faults or {}, config or {}
        self.migd_build = context.build
        if faults is not None:
            if not context.fault_build:
                raise Skipped("needs a build with --enable-fault-points (--fault-build)")
            self.migd_build = context.fault_build
        self.folder = tempfile.mkdtemp(prefix="migd-e2e.")
        self.shm = tempfile.mkdtemp(prefix="migd-e2e.", dir=context.shm)
        self.processes = []
        self.listen = {"A": "127.0.0.1:0", "B": "127.0.0.1:0"}
        if transport == "unix":
            self.listen = {n: "unix:" + self.path("peer-" + n) for n in "AB"}
        self.A, self.B = Side(self, "A"), Side(self, "B")
        self.sides = [self.A, self.B]
        self.held = None
        self.killed = False  # a writer was killed, so that one write may be ahead of its journal

    def path(self, name):
        return os.path.join(self.folder, name)

    def program(self, name, build=None):
        return os.path.join(build or self.build, name)

    def up(self):
        for side in self.sides:
            side.start_bus()
            side.start_migd(self.faults.get(side.name))
            side.peer_address()
        for side in self.sides:
            for d in self.devices:
                side.start_device(d)
            if side.incoming and self.made == "open":
                side.register_domain()
                side.start_workload()
            else:
                side.start_workload()
                if self.register == "migctl":
                    side.register_domain()
        for d in self.devices:
            if "--idle" not in d.args + d.a_args and not d.keys.get("listen"):
                wait_for(f"device {d.name} writing", lambda d=d: self.A.device_sequence(d) > 0)
        return self

    def destination(self):
        return self.listen["B"]

    def start(self, *args, seconds=PATIENCE_SECONDS):
        """migctl start, followed to its end: (exit code, output, errors)."""
        return self.A.migctl("start", "demo", self.destination(), *args, seconds=seconds, check=False)

    def start_background(self, *args):
        argv = [self.program("migctl"), "--json", "start", "demo", self.destination()] + list(args)
        return Process(self, "migctl", argv, self.A.env)

    def migrate(self, *args, seconds=PATIENCE_SECONDS):
        """A migration that must succeed, however slow the machine is; its final status on the source."""
        patient = () if any(a.startswith("--max-downtime") for a in args) else ("--max-downtime", "3s")
        code, _, errors = self.start(*patient, *args, seconds=seconds)
        expect(code == 0, f"migctl start: exit {code}: {errors.strip()[-600:]}")
        return self.A.status()

    def refused(self, exit_code, word, *args, seconds=PATIENCE_SECONDS):
        """A migration that must fail with this exit code and error word; its final status on the source."""
        code, _, errors = self.start(*args, seconds=seconds)
        status = self.A.status()
        expect(code == exit_code, f"migctl start: exit {code}, expected {exit_code}: {errors.strip()[-600:]}")
        expect(word is None or status["error"] == word, f"error is {status['error']}, expected {word}: {status['message']}")
        return status

    # -- judging --

    def progress(self, side):
        """What on this side wrote within a moment: (workload, {device})."""
        writes, sequences = (side.vmm_writes() if side.vmm_running() else 0), {d.name: side.device_sequence(d) for d in self.devices}
        time.sleep(0.15)
        cpu = side.vmm_running() and (not self.rate or side.vmm_writes() > writes)
        return cpu, {d.name for d in self.devices if side.device_sequence(d) != sequences[d.name]}

    def judge_tracking_off(self, *sides):
        for side in sides or self.sides:
            def off(side=side):
                return not [t["name"] for t in side.show()["trackers"] if t["started"]]
            wait_for(f"all trackers of {side.name} off", off)
            for d in self.devices:
                words = re.findall(r"logging on: done|logging off|the client has gone", side.devices[d.name].log())
                expect(not words or words[-1] != "logging on: done" or not side.devices[d.name].alive(), f"{d.name} of {side.name} still logs")

    def judge_one_side(self, runs, idle, devices=True, workload=True):
        def running():
            cpu, dev = self.progress(runs)
            return (cpu or not workload) and (not devices or dev == {d.name for d in self.devices})
        wait_for(f"all of {runs.name} running", running)
        cpu, dev = self.progress(idle)
        expect(not cpu, f"the workload of {idle.name} runs too")
        expect(not dev, f"at {idle.name} {', '.join(sorted(dev))} still write")

    def settle(self, *sides, doubt=True):
        """Until no migration is under way, nor in doubt unless that is allowed; the states of the domains. A side may need until a
        device's deadline."""
        def ended():
            states = []
            for side in sides or self.sides:
                code, out, _ = side.migctl("--json", "show", "demo", check=False)
                state = json.loads(out)["State"] if code == 0 else None
                if state in (None, "migrating", "receiving") or (state == "in-doubt" and not doubt):
                    return None
                states.append(state)
            return states
        return wait_for("settled", ended)

    def release(self, *sides, force=False):
        self.settle(*sides)
        for side in sides or self.sides:
            side.migctl("release", "demo", *(["--force"] if force else []))
            def same(side=side):
                return side.migd.fds() == side.fds_at_rest
            try:
                wait_for("", same)
            except Failed:
                now = side.migd.fds()
                for fd in side.fds_at_rest:
                    if fd in now:
                        now.remove(fd)
                raise Failed(f"migd {side.name} keeps descriptors after release: {', '.join(now)}") from None

    def hold(self, side):
        """Keeps the side's memory readable when all its users are gone."""
        self.held = os.open(side.facts["memory"], os.O_RDONLY)
        return f"/proc/{os.getpid()}/fd/{self.held}"

    def judge_content(self, memory, side, source=None):
        """From the journals: every newest record is there. The writers must stand still."""
        argv = [self.program("migd-example-vmm"), "--check", "--memory", memory, "--size", str(self.size), "--journal", side.vmm_journal()]
        if source:
            argv += ["--source-journal", source.vmm_journal()]
        self.run_judge(argv)
        for d in self.devices:
            argv = [self.program("simdev-check")]
            for _, offset, size, iovas in self.regions:
                for iova in iovas:
                    argv += ["--memory", f"{memory}@{hex(offset)}:{hex(iova)}:{hex(size)}"]
            argv += ["--journal", (source or side).journal(d)]
            if source:
                argv += ["--journal", side.journal(d)]
            # Of a message that was under way when migd let go the device cannot know whether it arrived.
            if self.killed or "--by-message" in d.args:
                argv.append("--killed")
            self.run_judge(argv)

    def run_judge(self, argv):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        with open(self.path("judge.log"), "a", encoding="utf-8") as f:
            f.write(f"$ {' '.join(argv)} -> {done.returncode}\n{done.stdout}{done.stderr}")
        expect(done.returncode == 0, f"{os.path.basename(argv[0])}: {(done.stdout + done.stderr).strip()[-500:]}")

    def stop_writers(self, *sides):
        for side in sides or self.sides:
            for p in list(side.devices.values()) + [side.workload]:
                if p and p.alive():
                    p.end()

    def judge_moved(self):
        """Everything is as after a migration that succeeded."""
        self.judge_one_side(self.B, self.A)
        self.judge_tracking_off()
        memory = self.hold(self.B)
        self.release()
        self.stop_writers()
        self.judge_content(memory, self.B, self.A)
        self.judge_daemons()

    def judge_stayed(self, devices=True, sides=None, content=True):
        """Everything is as after a migration that failed: the source runs on, tracking is off, nothing is kept."""
        self.judge_one_side(self.A, self.B, devices=devices)
        sides = self.sides if sides is None else sides
        self.judge_tracking_off(*sides)
        memory = self.hold(self.A)
        self.release(*sides, force=True)
        self.stop_writers()
        if content:
            self.judge_content(memory, self.A)
        self.judge_daemons()

    def judge_source_keeps_workload(self):
        """A device was lost; the workload runs on at the source, and tracking is off."""
        self.judge_one_side(self.A, self.B, devices=False)
        self.judge_tracking_off()
        memory = self.hold(self.A)
        self.release(force=True)
        self.stop_writers()
        self.killed = True
        self.judge_content(memory, self.A)
        self.judge_daemons()

    def judge_daemons(self):
        """They are alive, and end when asked."""
        for side in self.sides:
            expect(side.migd.alive(), f"migd {side.name} is dead: {side.migd.popen.poll()}")
            status = side.migd.end(signal.SIGTERM, 10)
            expect(status == 0, f"migd {side.name} ended with {status}: {side.migd.log()[-400:]}")

    def down(self, keep=None):
        if not os.path.exists(self.folder):
            return
        for p in reversed(self.processes):
            if p.alive():
                p.kill(signal.SIGKILL)
        for p in self.processes:
            try:
                p.popen.wait(60)
            except subprocess.TimeoutExpired:
                print(f"cannot end {p.name}, pid {p.pid}", file=sys.stderr)
        if self.held is not None:
            os.close(self.held)
            self.held = None
        shutil.rmtree(self.shm, ignore_errors=True)
        if keep:
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(self.folder, keep, ignore=shutil.ignore_patterns("*.journal", "*.sock", "bus-A", "bus-B", "peer-*"),
                            ignore_dangling_symlinks=True)
        shutil.rmtree(self.folder, ignore_errors=True)
