# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest that proves its memory (tests/guest/init.c) as files that QEMU boots, and what it says on its serial line."""
import os
import re
import shutil
import subprocess

from judging import Skipped

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest", "init.c")


def cpio_entry(name, mode, data=b""):
    """One file of an archive in the form "newc", which is what a kernel unpacks."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def make_initramfs(path):
    """Compiles the guest's only program, statically, into an archive at this path."""
    if not shutil.which("gcc"):
        raise Skipped("gcc is not here, which compiles the guest")
    program = path + ".init"
    done = subprocess.run(["gcc", "-static", "-O2", "-fno-tree-vectorize", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"the guest cannot be compiled statically here: {done.stderr.strip()[-300:]}")
    with open(program, "rb") as f:
        init = f.read()
    with open(path, "wb") as f:
        f.write(cpio_entry("dev", 0o040755) + cpio_entry("proc", 0o040755) + cpio_entry("init", 0o100755, init) + cpio_entry("TRAILER!!!", 0))
    os.unlink(program)


def last_line(text):
    """The guest's last whole line of figures as a dictionary of numbers, or None."""
    lines = re.findall(r"^guest: (n=.*)\r?\n", text, re.MULTILINE)
    return {k: int(v) for k, v in (pair.split("=") for pair in lines[-1].split())} if lines else None
