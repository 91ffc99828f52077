# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stock QEMU as the workload of a side, with the guest of tests/qemu, which proves its own memory."""
import os
import re
import shutil
import subprocess

from harness import Process, Side, Skipped, expect, wait_for

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "qemu", "guest.c")
FLAGS = ("-m32 -O2 -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -nostdlib -static "
         "-Wl,-m,elf_i386,-n,-Ttext=0x100000,--build-id=none,--no-warn-rwx-segments").split()


def build_guest(folder):
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("gcc", "gcc")):
        if not shutil.which(tool):
            raise Skipped(f"{tool} is not here (package {package})")
    path = os.path.join(folder, "guest")
    done = subprocess.run(["gcc", *FLAGS, "-o", path, SOURCE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"gcc makes no 32-bit program here: {done.stderr.strip()[-300:]}")
    return path


class QemuSide(Side):
    cpu_tracker = None # as --cpu-tracker
    backend = "memory-backend-file,id=ram0,size={size},mem-path={path},share=on"

    def qmp(self):
        return self.rig.path(f"qmp-{self.name}.sock")

    def serial(self):
        return self.rig.path(f"serial-{self.name}")

    def start_workload(self):
        rig = self.rig
        if not hasattr(rig, "guest"):
            rig.guest = build_guest(rig.folder)
        argv = ["qemu-system-x86_64", "-name", "guest=demo", "-machine", "pc,memory-backend=ram0", "-m", f"{rig.size}B", "-object",
                self.backend.format(size=rig.size, path=self.memory_file()), "-nodefaults", "-no-user-config", "-display", "none", "-kernel", rig.guest,
                "-serial", "file:" + self.serial(), "-qmp", f"unix:{self.qmp()},server=on,wait=off"]
        if self.incoming:
            argv += ["-incoming", "defer"]
        self.workload = Process(rig, "qemu-" + self.name, argv, self.env)
        wait_for(f"QEMU of {self.name} listening", lambda: os.path.exists(self.qmp()) or not self.workload.alive())
        if not self.incoming:
            wait_for("the guest running", lambda: self.count() > 0)

    def register_domain(self):
        self.migctl("register", "demo", "--qmp", self.qmp(), *(["--incoming"] if self.incoming else []),
                    *(["--cpu-tracker=" + self.cpu_tracker] if self.cpu_tracker else []))

    def lines(self):
        try:
            with open(self.serial(), encoding="ascii", errors="replace") as f:
                return [dict((k, int(v)) for k, v in re.findall(r"(\w+)=(\d+)", line)) for line in f.read().splitlines()[1 - self.incoming:]]
        except OSError:
            return []

    def count(self):
        lines = [line for line in self.lines() if "bad" in line]
        return lines[-1]["count"] if lines else 0

    def judge_guest(self):
        lines = [line for line in self.lines() if "bad" in line]
        expect(lines and not any(line["bad"] for line in lines), f"bad pages of the guest at {self.name}: {lines[-3:]}")


def qemu_rig(rig, size=128 << 20, cpu_tracker=None, **keys):
    """Two sides with a QEMU each, up."""
    r = rig(size=size, devices=[], **keys)
    r.A, r.B = QemuSide(r, "A"), QemuSide(r, "B")
    r.A.cpu_tracker = r.B.cpu_tracker = cpu_tracker
    r.sides = [r.A, r.B]
    return r.up()
