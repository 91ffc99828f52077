# SPDX-License-Identifier: LGPL-2.1-or-later
"""A domain that can live on either host of a stage: a simdev that does DMA and the example VMM whose threads write, and the checkers that
find every newest record in memory afterwards."""
import json

from stage import expect, wait_for


class Workload:
    """One domain; `place(host, incoming)` starts its processes there and registers it."""

    def __init__(self, stage, name="demo", size_mib=64, rate=1500, number=1, track="cpu-log"):
        self.stage, self.name, self.size_mib, self.rate, self.number, self.track = stage, name, size_mib, rate, number, track
        self.hop = 0
        self.at = {}  # host -> hop that started its processes there

    def _file(self, host, what):
        return f"/run/workload/{self.name}-{what}-{self.at[host]}"

    def place(self, host, incoming=False):
        self.hop += 1
        self.at[host] = self.hop
        host.run("mkdir", "-p", "/run/workload")
        waits = ["--incoming"] if incoming else []
        socket, bus_name = self._file(host, "nic0.sock"), f"org.migd.Example.{self.name}"
        vmm = f"{self.name}-vmm-{self.hop}"
        host.start(f"{self.name}-nic0-{self.hop}", "simdev", "--id", str(self.number), "--socket", socket, "--journal", self._file(host, "nic0"),
                   "--rate", str(self.rate), *waits)
        host.start(vmm, "/usr/local/bin/migd-example-vmm", "--size", f"{self.size_mib}M", "--threads", "1", "--rate", str(self.rate), "--track", self.track,
                   "--journal", self._file(host, "vmm"), "--bus-name", bus_name, "--memory", self._file(host, "ram"), *waits,
                   *([] if incoming else ["--fill-from", "/usr/lib"]))
        wait_for(f"the device of {self.name} at {host.name}", lambda: host.try_run("test", "-S", socket)[0] == 0)

        def ready():
            text = host.output(vmm)
            expect("ready " in text or host.alive(vmm), f"the VMM of {self.name} at {host.name} ended: {text[-400:]}")
            return text if "ready " in text else None
        facts = json.loads(wait_for(f"the VMM of {self.name} at {host.name}", ready, 60).splitlines()[0])
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
        host.run("sh", "-c", f"rm -f /run/workload/{self.name}-*-{hop}*")

    def migrate(self, source, destination, *options, check=True, seconds=120):
        code, out, errors = source.try_run("migctl", "start", self.name, destination.name, *options, seconds=seconds)
        if check:
            expect(code == 0, f"migctl start {self.name} {destination.name}: exit {code}: {errors.strip()[-400:]}")
            expect(self.running(destination) and not self.running(source), f"after the migration {self.name} does not run at {destination.name} alone")
        return code, out, errors
