# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts with libvirt and QEMU (TCG), and guests on them that prove their memory.

    with LibvirtStage(build) as stage:
        guest = Guest(stage, "vm")
        guest.start(stage.a)
        guest.virsh_migrate(stage.a, stage.b)
        guest.check(stage.b)

The hosts have Debian's QEMU (7.2), or another one: with MIGD_QEMU=backports that of bookworm-backports is installed, with MIGD_QEMU=/path/of/a/program
this one is put in its place and uses the firmware and libraries of Debian's.

QEMU before 9.0 that computes the CPUs itself (TCG) forgets writes of a guest that it moves: where it reads its dirty bits by words it does not tell the
CPUs' TLBs, and a page that is in one is written without a bit from then on. That is so for each RAM whose size is a multiple of 64 pages, and libvirt
makes no other; one in between is read bit by bit, and then the TLBs are told. Guest(memory="odd") has such a RAM.
"""
import os
import shutil
import uuid

from guest import last_line, make_initramfs
from stage import PACKAGES, Stage, expect, recipe, wait_for

# The guest's kernel comes from the package, without the modules and the initrd that installing it would bring.
KERNEL = "/usr/lib/migd-tests/vmlinuz"
FETCH_KERNEL = ("--customize-hook=chroot \"$1\" sh -euc 'mkdir -p /k /usr/lib/migd-tests; cd /k; "
                "apt-get -q download $(apt-cache depends linux-image-cloud-amd64 | sed -n \"s/.*Depends: //p\" | head -n 1); "
                f"dpkg -x *.deb .; mv boot/vmlinuz-* {KERNEL}; cd /; rm -rf /k'")
LIBVIRT_PACKAGES = PACKAGES + " libvirt-daemon-system libvirt-clients qemu-system-x86"
EMULATOR = "/usr/bin/qemu-system-x86_64"
BACKPORTS_QEMU = ("--customize-hook=chroot \"$1\" sh -euc 'sed -n \"s/ bookworm main.*/ bookworm-backports main/p\" /etc/apt/sources.list "
                  ">/etc/apt/sources.list.d/backports.list; apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends "
                  "-t bookworm-backports install qemu-system-x86'")

LIBVIRT_PORT = 16510

QEMU_CONF = """cgroup_controllers = []
seccomp_sandbox = 0
security_driver = "none"
user = "root"
group = "root"
namespaces = []
remember_owner = 0
stdio_handler = "file"
memory_backing_dir = "/dev/shm"
keepalive_interval = 5
"""


def replace_emulator(host, program):
    """This program instead of Debian's, before the boot. It is told where Debian has the firmware; its name stays what libvirt and cases know."""
    folder = "/usr/lib/migd-tests/qemu"
    os.makedirs(host.host_path(folder), exist_ok=True)
    shutil.copy(program, host.host_path(f"{folder}/qemu-system-x86_64"))
    host.write(EMULATOR, f'#!/bin/sh\nexec {folder}/qemu-system-x86_64 -L /usr/share/seabios -L /usr/share/qemu "$@"\n', 0o755)


class LibvirtStage(Stage):
    qemu = os.environ.get("MIGD_QEMU", "")
    recipe = recipe(LIBVIRT_PACKAGES, FETCH_KERNEL, *([BACKPORTS_QEMU] if qemu == "backports" else []))

    def configure(self, host):
        super().configure(host)
        if self.qemu and self.qemu != "backports":
            replace_emulator(host, self.qemu)
        host.uuid = str(uuid.uuid4())  # two libvirtds that believe to be the same host refuse to migrate
        host.write("/etc/libvirt/qemu.conf", QEMU_CONF)
        host.write("/etc/libvirt/libvirtd.conf", f'host_uuid = "{host.uuid}"\nauth_tcp = "none"\nauth_unix_rw = "none"\nlog_outputs = "3:journald"\n')
        host.write("/etc/migd/migd.conf.d/05-libvirt.conf", f"[Libvirt]\nDestinationUri=qemu+tcp://%h:{LIBVIRT_PORT}/system\n")
        # No default network: its bridge and dnsmasq are nothing that a case needs.
        for path in ("/etc/libvirt/qemu/networks/autostart/default.xml",):
            if os.path.lexists(host.host_path(path)):
                os.unlink(host.host_path(path))
        sockets = host.host_path("/etc/systemd/system/sockets.target.wants")
        os.makedirs(sockets, exist_ok=True)
        os.symlink("/lib/systemd/system/libvirtd-tcp.socket", os.path.join(sockets, "libvirtd-tcp.socket"))
        # libvirt's own port without TLS is the one that migd listens at.
        host.write("/etc/systemd/system/libvirtd-tcp.socket.d/port.conf", f"[Socket]\nListenStream=\nListenStream={LIBVIRT_PORT}\n")
        folder = host.host_path("/var/lib/guest")
        os.makedirs(folder, exist_ok=True)
        initramfs = self.path("guest.cpio")
        if not os.path.exists(initramfs):
            make_initramfs(initramfs)
        with open(initramfs, "rb") as source, open(os.path.join(folder, "guest.cpio"), "wb") as target:
            target.write(source.read())


def moved_by_qemu():
    """The memory of a guest that QEMU is to move whole."""
    return "file" if LibvirtStage.qemu else "odd"


class Guest:
    """A domain whose guest checks its own memory. One object for both hosts, since its identity is one."""

    def __init__(self, stage, name="vm", size_mib=1024, memory="file", rate=2000, fill_mib=None, second_monitor=False, pulse_msec=0, devices="", words=""):
        """memory: file (shared, on /dev/shm), memfd (shared), private, or odd (as file, 64 KiB smaller: see above). rate: pages per second that the guest
        rewrites, or "max". devices: XML of more devices; words: more of the kernel's command line."""
        self.stage, self.name, self.size_mib, self.memory, self.devices = stage, name, size_mib, memory, devices
        self.uuid = str(uuid.uuid4())
        self.monitor = f"/run/guest/{name}.qmp" if second_monitor else None
        self.pulse_msec = pulse_msec
        self.cmdline = " ".join(["console=ttyS0 quiet panic=-1", f"guest.rate={rate}"] + ([f"guest.fill={fill_mib}"] if fill_mib else []) +
                                ([f"guest.pulse={pulse_msec}"] if pulse_msec else []) + ([words] if words else []))

    def xml(self):
        shared_file = "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>"
        backing = {"file": shared_file, "odd": shared_file,
                   "memfd": "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", "private": ""}[self.memory]
        words = ["-qmp", f"unix:{self.monitor},server=on,wait=off"] if self.monitor else []
        if self.memory == "odd":  # what stands behind libvirt's own words wins; the RAM that libvirt wanted is not used
            kib = self.size_mib * 1024 - 64
            words += ["-object", f"memory-backend-file,id=odd,mem-path=/dev/shm,share=on,size={kib}k", "-machine", "memory-backend=odd", "-m", f"{kib}k"]
        commandline = f"<qemu:commandline>{''.join(f'<qemu:arg value={w!r}/>' for w in words)}</qemu:commandline>" if words else ""
        pulse = f"<serial type='file'><source path='/run/guest/{self.name}.pulse'/><target port='1'/></serial>" if self.pulse_msec else ""
        return f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>{self.name}</name><uuid>{self.uuid}</uuid><memory unit='MiB'>{self.size_mib}</memory>{backing}<vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{KERNEL}</kernel><initrd>/var/lib/guest/guest.cpio</initrd><cmdline>{self.cmdline}</cmdline></os>
<features><acpi/></features><on_poweroff>destroy</on_poweroff><on_crash>destroy</on_crash>
<devices><emulator>{EMULATOR}</emulator><controller type='usb' model='none'/><memballoon model='none'/>
<serial type='file'><source path='/run/guest/{self.name}.serial'/><target port='0'/></serial>{pulse}{self.devices}</devices>
{commandline}</domain>
"""

    def define(self, host):
        host.run("mkdir", "-p", "/run/guest")
        host.write(f"/run/guest/{self.name}.xml", self.xml())
        host.run("virsh", "-q", "define", f"/run/guest/{self.name}.xml")

    def prepare(self):
        """What both hosts need before the domain may come to them."""
        for host in self.stage.hosts:
            host.run("mkdir", "-p", "/run/guest")

    def start(self, host, wait=True):
        self.prepare()
        self.define(host)
        host.run("virsh", "-q", "start", self.name)
        if wait:
            wait_for(f"the guest {self.name} counts at {host.name}", lambda: self.seen(host), step=0.1)

    def serial(self, host):
        return host.try_run("cat", f"/run/guest/{self.name}.serial")[1]

    def seen(self, host):
        """The figures of its last line there, or None."""
        return last_line(self.serial(host))

    def state(self, host):
        """What libvirt says: running, paused, shut off, or "" for a domain that it does not know."""
        code, out, _ = host.try_run("virsh", "-q", "domstate", self.name)
        return out.strip() if code == 0 else ""

    def migrate_command(self, destination, *options):
        return ["virsh", "-q", "migrate", "--live", "--p2p", *options, self.name, f"qemu+tcp://{destination.name}:{LIBVIRT_PORT}/system", "--migrateuri",
                f"tcp://{destination.address}"]

    def virsh_migrate(self, source, destination, *options, seconds=300):
        """What an operator without migd says. (exit status, output, errors)"""
        destination.try_run("rm", "-f", f"/run/guest/{self.name}.serial")
        return source.try_run(*self.migrate_command(destination, *options), seconds=seconds)

    def check(self, host, before=None, sweeps=1, seconds=300):
        """The guest goes on there: after it has looked at all its memory again, no page was bad, and its counter is beyond the one before."""
        beyond = before["n"] if before else 0

        def counts_on():
            line = self.seen(host)
            return line if line and line["n"] > beyond else None
        first = wait_for(f"the guest {self.name} counts beyond {beyond} at {host.name}", counts_on, step=0.1)
        last = wait_for(f"the guest {self.name} has checked all its memory at {host.name}",
                        lambda: (lambda s: s if s["sweeps"] >= first["sweeps"] + sweeps + 1 else None)(self.seen(host)), seconds, 0.2)
        expect(last["bad"] == 0, f"{self.name} at {host.name}: {last['bad']} bad pages: "
               + "; ".join(line for line in self.serial(host).splitlines() if "BAD" in line)[:400])
        return last

    def alone(self, there, not_there):
        """libvirt says that it runs at one host and not at the other. Where migd moved its memory, the source's libvirt ends its part a little later."""
        def look():
            states = self.state(there), self.state(not_there)
            return states[0] == "running" and states[1] in ("", "shut off")
        wait_for(f"the guest {self.name} runs at {there.name} and not at {not_there.name}, as libvirt says", look, step=0.1)
