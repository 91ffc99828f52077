# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the labs are, and the command that boots one.

A lab is a folder with
    bzImage                 a kernel with VFIO, iommufd, mtty built in
    qemu-system-x86_64      a QEMU whose intel-iommu has dirty bits (optional: else the one in PATH, and what needs them is skipped)
    lib/, firmware/         libraries and firmware for that QEMU (optional: else those of the system)
    busybox                 a static one (optional: else the one in PATH)
    modules/                what belongs in /lib/modules of this kernel (optional)
There are two: `lab`, with a kernel of our own (make-lab), and `stock`, Debian's kernel as it is (make-stock), which is made when it is wanted.
"""
import glob
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("TOP_BUILDDIR", os.getcwd())
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Missing(Exception):
    """What a lab lacks, in words for whoever runs the tests."""


class NotBuilt(Exception):
    """A program that the suite names is nowhere."""


def cache_folder():
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "migd")


def find_lab():
    """MIGD_LAB_DIR; else where make-lab puts it; else shared/lab beside the checkout. The source tree may be a copy of the checkout
    (tests/run makes one): then MIGD_SOURCE_DIR says where that is."""
    checkout = os.environ.get("MIGD_SOURCE_DIR") or SOURCE
    named = os.environ.get("MIGD_LAB_DIR")
    places = [named] if named else [os.path.join(cache_folder(), "kernel-lab"), os.path.join(os.path.dirname(checkout), "shared", "lab")]
    for lab in places:
        if os.path.exists(os.path.join(lab, "bzImage")):
            return lab
    raise Missing(f"no kernel lab in {' or '.join(places)}: make one with tests/kernel/make-lab, or name one with MIGD_LAB_DIR")


def made(name, recipe, what):
    """The folder that the script `make-NAME` makes: in the cache, under a hash of its recipe. Made where it is not."""
    digest = hashlib.sha256()
    for part in ("make-" + name, "debian.sh", *recipe):
        with open(os.path.join(HERE, part), "rb") as f:
            digest.update(f.read())
    stem = os.path.join(cache_folder(), f"kernel-{name}-")
    folder = stem + digest.hexdigest()[:12]
    if os.path.isdir(folder):
        return folder
    for old in glob.glob(stem + "*"):
        shutil.rmtree(old, ignore_errors=True)
    print(f"# makes {what}", flush=True)
    run = subprocess.run([os.path.join(HERE, "make-" + name), folder + ".new"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False)
    if run.returncode:
        shutil.rmtree(folder + ".new", ignore_errors=True)
        raise Missing(f"{what} could not be made: {'; '.join(run.stdout.strip().splitlines()[-3:])}")
    os.rename(folder + ".new", folder)
    return folder


def find_stock():
    return made("stock", ["mtty-dma.patch"], "the lab with Debian's kernel")


def find_root():
    return made("root", [], "the root file system with systemd")


LABS = {"lab": find_lab, "stock": find_stock}


def find_program(name, what):
    """A file of the build folder or of the source tree, or a command."""
    for path in (os.path.join(BUILD, name), os.path.join(SOURCE, name)):
        if os.path.isfile(path):
            return path
    found = shutil.which(name, path=PATH)
    if not found:
        raise NotBuilt(f"{what} needs {name}, which is neither built nor installed")
    return found


def find_fault_program(name):
    """The same of a build with --enable-fault-points: in FAULT_BUILD, or in a folder `faults` beside the build folder. None where there is none."""
    path = os.path.join(os.environ.get("FAULT_BUILD") or os.path.join(os.path.dirname(BUILD), "faults"), name)
    return path if os.path.isfile(path) else None


def busybox(lab):
    for path in (os.path.join(lab, "busybox"), os.path.join(lab, "bin", "busybox"), shutil.which("busybox", path=PATH)):
        if path and os.path.exists(path):
            if subprocess.run(["ldd", path], capture_output=True, check=False).returncode == 0:
                raise Missing(f"{path} is not static (Debian: busybox-static)")
            return path
    raise Missing("no static busybox in the lab or in PATH (Debian: busybox-static)")


class Qemu:
    """A QEMU that runs: its command and environment."""

    def __init__(self, lab):
        own = os.path.join(lab, "qemu-system-x86_64")
        path = own if os.path.exists(own) else shutil.which("qemu-system-x86_64", path=PATH)
        if not path:
            raise Missing("no qemu-system-x86_64 in the lab or in PATH (Debian: qemu-system-x86)")
        self.env = dict(os.environ)
        if path == own and os.path.isdir(os.path.join(lab, "lib")):
            self.env["LD_LIBRARY_PATH"] = os.path.join(lab, "lib")
        absent = [w.split()[0] for w in self._output(["ldd", path]).splitlines() if "not found" in w]
        if absent:
            raise Missing(f"{path} lacks {', '.join(absent)} (Debian: libfdt1, libglib2.0-0, zlib1g)")
        self.path, self.command = path, [path]
        self.firmware = firmware = [f for f in (os.path.join(lab, "firmware"), "/usr/share/seabios", "/usr/share/qemu") if os.path.isdir(f)]
        for name in ("bios-256k.bin", "linuxboot_dma.bin"):
            if not any(os.path.exists(os.path.join(f, name)) for f in firmware):
                raise Missing(f"QEMU's firmware {name} is not there (Debian: seabios, qemu-system-data)")
        for folder in firmware:
            self.command += ["-L", folder]
        self.dirty_bits = "x-ssads" in self._output([path, "-device", "intel-iommu,help"])

    def _output(self, command):
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False).stdout

    def inside(self, lab):
        """Pairs of a file and its path in the machine: this QEMU and the lab's kernel for guests in it."""
        pairs = [(self.path, "/usr/bin/qemu-system-x86_64"), (os.path.join(lab, "bzImage"), "/boot/bzImage")]
        for name in ("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin"):
            for folder in self.firmware:
                if os.path.exists(os.path.join(folder, name)):
                    pairs.append((os.path.join(folder, name), "/usr/share/qemu/" + name))
                    break
        return pairs

    def machine(self, lab, initramfs, root, memory, smp, devices, append):
        iommu = "intel-iommu,intremap=on,x-scalable-mode=on" + (",x-ssads=on" if self.dirty_bits else "")
        command = self.command + [
            "-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-accel",
            "tcg,thread=multi", "-cpu", "max", "-smp", str(smp), "-m", str(memory), "-machine", "q35,kernel-irqchip=split"]
        for device in [iommu, "edu", "edu", *devices]:
            command += ["-device", device]
        # Without no_timer_check a busy host makes the kernel panic.
        words = ["console=ttyS0", "panic=-1", "quiet", "no_timer_check", *append]
        if root:
            command += ["-drive", f"file={os.path.join(root, 'root.ext4')},if=virtio,format=raw,readonly=on"]
            words += ["systemd.unit=lab.service", "systemd.show_status=no"]
        return command + ["-kernel", os.path.join(lab, "bzImage"), "-initrd", initramfs, "-append", " ".join(words)]


def install(folder):
    """What `make install` installs, as a tree."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    subprocess.run(["make", "-s", "-C", BUILD, "install", "DESTDIR=" + folder], env=env, stdout=subprocess.DEVNULL, check=True)
    # With another prefix than /usr an administrator has to show D-Bus the way to these.
    for path in glob.glob(folder + "/**/share/dbus-1/system*/*", recursive=True):
        wanted = os.path.join(folder, "usr/share/dbus-1", os.path.relpath(path, path[:path.index("/dbus-1/")] + "/dbus-1"))
        if not os.path.exists(wanted):
            os.makedirs(os.path.dirname(wanted), exist_ok=True)
            shutil.copy(path, wanted)


def make_initramfs(output, lab, root, tests, programs, trees, env):
    """tests: pairs of a program and its limit in seconds, in the order in which they run. programs, trees: pairs of source and path. env: in
    which their libraries are found."""
    command = [sys.executable, os.path.join(HERE, "mkinitramfs"), output, "--busybox", busybox(lab), "--init", os.path.join(HERE, "init"),
               "--runner", os.path.join(HERE, "run-tests")]
    modules = os.path.join(lab, "modules")
    if os.path.isdir(modules):
        command += ["--tree", modules + ":/lib/modules"]
    if root:
        command += ["--root-files", os.path.join(root, "root.files"),
                    "--program", os.path.join(HERE, "lab.service") + ":/etc/systemd/system/lab.service"]
    for path, seconds in tests:
        command += ["--test", f"{path}:{seconds}"]
    for pair in programs:
        command += ["--program", ":".join(pair)]
    for pair in trees:
        command += ["--tree", ":".join(pair)]
    subprocess.run(command, env=env, check=True)
