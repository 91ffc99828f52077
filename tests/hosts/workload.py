# SPDX-License-Identifier: LGPL-2.1-or-later
"""A domain that can live on either host of a stage: a simdev that does DMA and the example VMM whose threads write, and the checkers that
find every newest record in memory, at the end or while the processes are stopped for a moment."""
import array
import json
import os
import re
import struct
import subprocess

from stage import expect, wait_for


class Workload:
    """One domain; `place(host, incoming)` starts its processes there and registers it."""

    def __init__(self, stage, name="demo", size_mib=64, rate=1500, number=1, track="cpu-log"):
        self.stage, self.name, self.size_mib, self.rate, self.number, self.track = stage, name, size_mib, rate, number, track
        self.hop = 0
        self.at = {}  # host -> hop that started its processes there
        self.lives = []  # (host, hop) of all of them: their journals stay, because what they wrote last may still be in memory

    def _file(self, host, what):
        return f"/run/workload/{self.name}-{what}-{self.at[host]}"

    def _outside(self, host, what, hop=None):
        """The same file as it is seen from outside."""
        return f"/proc/{host.leader}/root/run/workload/{self.name}-{what}-{hop or self.at[host]}"

    def place(self, host, incoming=False):
        self.hop += 1
        self.at[host] = self.hop
        self.lives.append((host, self.hop))
        host.run("mkdir", "-p", "/run/workload")
        waits = ["--incoming"] if incoming else []
        socket, bus_name = self._file(host, "nic0.sock"), f"org.migd.Example.{self.name}"
        vmm = f"{self.name}-vmm-{self.hop}"
        host.start(f"{self.name}-nic0-{self.hop}", "simdev", "--id", str(self.number), "--socket", socket, "--journal", self._file(host, "nic0"),
                   "--rate", str(self.rate), "--verbose", *waits)
        host.start(vmm, "/usr/local/bin/migd-example-vmm", "--size", f"{self.size_mib}M", "--threads", "1", "--rate", str(self.rate), "--track", self.track,
                   "--journal", self._file(host, "vmm"), "--bus-name", bus_name, "--memory", self._file(host, "ram"), *waits,
                   *([] if incoming else ["--fill-from", "/usr/lib"]))
        wait_for(f"the device of {self.name} at {host.name}", lambda: host.try_run("test", "-S", socket)[0] == 0)

        def ready():
            text = host.output(vmm)
            expect("ready " in text or host.alive(vmm), f"the VMM of {self.name} at {host.name} ended: {text[-400:]}")
            return text if "ready " in text else None
        facts = json.loads(wait_for(f"the VMM of {self.name} at {host.name}", ready).splitlines()[0])
        log = f"path={facts['cpu-log']}" if self.track == "cpu-log" else f"pid={facts['pid']},fd={facts['uffd']},address={facts['address']}"
        host.run("migctl", "register", self.name, *waits, "--memory", f"name=ram0,path={facts['memory']},size={self.size_mib}M,iova=0",
                 "--tracker", f"name=cpu,type={self.track},memory=ram0,{log}", "--device", f"name=nic0,socket={socket}",
                 "--controller", f"dbus:{bus_name}:/org/migd/Example")

    def running(self, host):
        code, out, _ = host.try_run("busctl", "get-property", f"org.migd.Example.{self.name}", "/org/migd/Example", "org.migd.Example", "Running")
        return code == 0 and out.strip() == "b true"

    def remove(self, host):
        """What stayed at a host after the domain left it."""
        host.run("migctl", "release", self.name)
        hop = self.at.pop(host)
        for what in ("nic0", "vmm"):
            host.stop(f"{self.name}-{what}-{hop}")
        host.run("sh", "-c", f"rm -f /run/workload/{self.name}-ram-{hop} /run/workload/{self.name}-*.sock-{hop}")

    def migrate(self, source, destination, *options, check=True, seconds=300):
        code, out, errors = source.try_run("migctl", "start", self.name, destination.name, *options, seconds=seconds)
        if check:
            expect(code == 0, f"migctl start {self.name} {destination.name}: exit {code}: {errors.strip()[-400:]}")
            expect(self.running(destination) and not self.running(source), f"after the migration {self.name} does not run at {destination.name} alone")
        return code, out, errors

    # -- judging --

    def device_logs(self, host):
        """Does the device note which pages it writes? Whoever told it to may have died since."""
        words = re.findall(r"logging (on: done|off)", host.output(f"{self.name}-nic0-{self.at[host]}"))
        return words[-1:] == ["on: done"]

    def device_sequence(self, host, hop=None):
        """The number of the newest record that the device's process wrote there."""
        return self._device_journal(host, hop or self.at[host])[1]

    def _device_journal(self, host, hop):
        """(first, last) of contrib/simdev/journal.h"""
        with open(self._outside(host, "nic0", hop), "rb") as f:
            return struct.unpack("<QIIQQQ", f.read(40))[4:6]

    def judge(self, host, what):
        """It runs there: its writers are stopped for a moment, and every newest record of all that ever ran must be in memory."""
        units = [f"{self.name}-{process}-{self.at[host]}" for process in ("nic0", "vmm")]
        pids = [host.unit_property("MainPID", unit) for unit in units]
        try:
            for pid in pids:
                host.run("kill", "-STOP", pid)
            wait_for("the writers stopped", lambda: all(host.run("cat", f"/proc/{pid}/stat").rpartition(")")[2].split()[0] == "T" for pid in pids))
            self._judge_device(host, what)
            self._judge_cpus(host, what)
        finally:
            for pid in pids:
                host.run("kill", "-CONT", pid)

    def _check(self, what, *argv):
        program = os.path.join(self.stage.build, argv[0])
        done = subprocess.run([program, *argv[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
        expect(done.returncode == 0, f"{what}: {argv[0]}: {(done.stdout + done.stderr).strip()[-500:]}")

    def _judge_device(self, host, what):
        lives = sorted((self._device_journal(h, hop)[0], hop, h) for h, hop in self.lives if self._device_journal(h, hop)[0])
        journals = [a for _, hop, h in lives for a in ("--journal", self._outside(h, "nic0", hop))]
        self._check(what, "simdev-check", "--killed", "--memory", f"{self._outside(host, 'ram')}:0:{self.size_mib}M", *journals)

    def _judge_cpus(self, host, what):
        here = self._outside(host, "vmm")
        earlier = [CpuJournal(self._outside(h, "vmm", hop)) for h, hop in self.lives if (h, hop) != (host, self.at[host])]
        earlier = sorted((j for j in earlier if j.done), key=lambda j: j.first)
        argv = ["migd-example-vmm", "--check", "--memory", self._outside(host, "ram"), "--size", f"{self.size_mib}M", "--journal", here]
        if earlier:
            argv += ["--source-journal", self.stage.path(f"{self.name}-earlier")]
            with open(argv[-1], "wb") as f:
                f.write(CpuJournal.joined(earlier, what))
        self._check(what, *argv)


class CpuJournal:
    """contrib/examples/workload/journal.h, of a workload with one thread."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.pages, threads, self.filled = struct.unpack_from("<QII", self.data, 8)
        self.first, _, self.done = struct.unpack_from("<QQQ", self.data, 24)
        expect(threads == 1, "a journal of one thread is wanted")

    @staticmethod
    def joined(journals, what):
        """Those who ran one after the other, the first of whom was filled, as if they had been one process."""
        for before, after in zip(journals, journals[1:]):
            expect(after.first == before.done + 1, f"{what}: a process of the workload ended at {before.done} and the next began at {after.first}")
        expect(journals[0].filled, f"{what}: the first process of the workload was not filled")
        sequences = [array.array("Q", j.data[4096 + 8 * j.pages:]) for j in journals]
        head = bytearray(journals[0].data[:4096 + 8 * journals[0].pages])
        struct.pack_into("<QQQ", head, 24, journals[0].first, journals[-1].done, journals[-1].done)
        return bytes(head) + array.array("Q", map(max, zip(*sequences))).tobytes()
