# SPDX-License-Identifier: LGPL-2.1-or-later
"""SIGTERM, as from timeout(1), ends a run like Ctrl-C: by an exception, on whose way out everything that was begun is ended."""
import signal

EXIT_CODE = 128 + signal.SIGTERM


def by_sigterm():
    """Once: timeout(1) sends it to the process and to its group, and what ends in good order is not to be interrupted."""
    def end(number, frame):
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, end)
