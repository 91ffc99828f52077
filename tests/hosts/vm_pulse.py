# SPDX-License-Identifier: LGPL-2.1-or-later
"""At which host a guest runs, seen from outside and without a gap: by the pulses that it gives on its second serial line (Guest(pulse_msec=...))."""
import os
import threading
import time

from stage import expect

STEP = 0.003  # seconds between looks


class Pulse(threading.Thread):
    """Notes the hosts in the order in which the guest gives pulses there, until it is ended."""

    def __init__(self, guest, source, destination):
        super().__init__(daemon=True)
        self.files = {h: f"/proc/{h.leader}/root/run/guest/{guest.name}.pulse" for h in (source, destination)}
        self.order, self.ending = [], threading.Event()
        self.start()

    def run(self):
        sizes = self.sizes()
        while not self.ending.is_set():
            seen = self.sizes()
            for host in self.files:  # where both have grown, the source was first unless the guest has left it already
                if seen[host] > sizes[host] and self.order[-1:] != [host]:  # a QEMU that starts there empties the file
                    self.order.append(host)
            sizes = seen
            time.sleep(STEP)

    def sizes(self):
        def size(path):
            try:
                return os.stat(path).st_size
            except OSError:
                return 0
        return {h: size(f) for h, f in self.files.items()}

    def end(self):
        """The guest ran at the source, and then, if at all, at the destination: never there and here again, nor at both by turns."""
        self.ending.set()
        self.join()
        expect(self.order == list(self.files)[:len(self.order)], f"the guest ran at BOTH hosts: {', '.join(h.name for h in self.order[:12])}")
