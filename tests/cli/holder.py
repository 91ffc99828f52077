#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that shares memory, and holds files with the names of VFIO's devices when it finds such. holder.py FILE: tells its memory's descriptors there."""
import mmap
import os
import signal
import sys


def share(fd, size, offset=0):
    os.ftruncate(fd, size + offset)
    return mmap.mmap(fd, size, offset=offset), fd


while os.open("/proc/self/exe", os.O_RDONLY) < 32:  # mmap duplicates its descriptor, to a higher number
    pass
for number, name in enumerate(("guest ram", "more", "small")):
    fd = os.memfd_create(name)
    os.dup2(fd, 30 + number)
    os.close(fd)
kept = [share(30, 8 << 20), share(31, 2 << 20, 1 << 20), share(32, 4096), mmap.mmap(-1, 3 << 20)]
for number, path in enumerate(("/dev/vfio/vfio", "/dev/vfio/7", "/dev/iommu", "/dev/vfio/devices/vfio12345")):
    if os.path.exists(path):
        fd = os.open(path, os.O_RDWR)
        os.dup2(fd, 40 + number)
        os.dup2(fd, 50 + number)  # the same once more
        os.close(fd)
with open(sys.argv[1] + ".new", "w", encoding="utf-8") as f:
    f.write(f"{os.getpid()}\n")
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
