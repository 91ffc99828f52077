# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemons of two hosts take: descriptors and memory of their own."""
import re
import statistics

from faults import pid_of
from stage import Failed, wait_for


def descriptors(host):
    return int(host.run("sh", "-c", f"ls /proc/{pid_of(host)}/fd | wc -l"))


def own_kib(host):
    """Memory of the daemon's own; that of the guest, which it has mapped, is not."""
    return int(re.search(r"RssAnon:\s+(\d+)", host.run("cat", f"/proc/{pid_of(host)}/status")).group(1))


class AtRest:
    """Between migrations of a domain that runs at one of two hosts and is waited for at the other: as many descriptors as ever, and memory that
    does not grow."""

    def __init__(self):
        self.fds = {}  # "running", "waiting" -> descriptors of a daemon at rest whose domain does that
        self.own = {}  # host -> its own memory in KiB, each time

    def look(self, what, running, waiting):
        for host, role in ((running, "running"), (waiting, "waiting")):
            usual = self.fds.setdefault(role, descriptors(host))
            try:
                wait_for("as many as ever", lambda h=host, n=usual: descriptors(h) == n, step=0.1)
            except Failed:
                held = host.run("ls", "-l", f"/proc/{pid_of(host)}/fd")
                raise Failed(f"{what}: {host.name}, {role}: {descriptors(host)} descriptors, at first there were {usual}: {held}") from None
            self.own.setdefault(host, []).append(own_kib(host))

    def grown(self, first=0):
        """KiB by which the last third after `first` samples is above the first third, of the host that grew most."""
        most = 0
        for host, own in self.own.items():
            samples = own[first:]
            third = max(1, len(samples) // 3)
            a, b = statistics.median(samples[:third]), statistics.median(samples[-third:])
            print(f"# {host.name}: its own memory {own[0]} KiB after the first migration, {own[-1]} KiB after the last, {max(own)} KiB at most; "
                  f"{a:.0f} KiB in the first third from {first + 1} on, {b:.0f} KiB in the last")
            most = max(most, b - a)
        return most
