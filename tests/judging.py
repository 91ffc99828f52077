# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a case of a test says when something is not as it should be. Shared by the end-to-end runs and by those on two hosts."""
import time

PATIENCE_SECONDS = 180.0  # a condition that comes true costs no more than it takes, so the limit is for a machine with much else to do


class Failed(Exception):
    """The product did something else than it should."""


class Skipped(Exception):
    """This machine cannot run the case; the text says why."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def wait_for(what, condition, seconds=PATIENCE_SECONDS, step=0.02):
    """Until condition() is true; its value. What it was that did not happen is the failure."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"after {seconds:g} s: not {what}")
        time.sleep(step)
