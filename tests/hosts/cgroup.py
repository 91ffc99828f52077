# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cgroup for each host. Where no service manager gives one to systemd-nspawn, all containers of a machine share one, also those of other runs: a
unit that has ended at one host then stays for as long as one of its name has processes at another, and libvirt cannot start a guest whose
scope is still there."""
import os

HIERARCHIES = {"name=systemd": ("/sys/fs/cgroup/systemd",), "": ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")}  # those by which systemd knows its units


class Cgroup:
    def __init__(self, name):
        """Where none can be made the host does with the one of this process."""
        self.folders = []
        with open("/proc/self/cgroup", encoding="ascii") as f:
            lines = [line.rstrip("\n").split(":", 2) for line in f]
        for _, kind, path in lines:
            for mount in HIERARCHIES.get(kind, ()):
                folder = os.path.join(mount, path.lstrip("/"), name)
                if os.path.exists(os.path.join(os.path.dirname(folder), "cgroup.procs")):
                    self.make(folder)
                    break

    def make(self, folder):
        try:
            os.mkdir(folder)
        except OSError:
            return
        self.folders.append(folder)

    def enter(self):
        """This process, before it becomes the container."""
        for folder in self.folders:
            try:
                with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write(str(os.getpid()))
            except OSError:
                pass

    def remove(self):
        """When the container has ended."""
        for folder in self.folders:
            for below, _, _ in os.walk(folder, topdown=False):
                try:
                    os.rmdir(below)
                except OSError:
                    pass
