# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a move of a libvirt guest may end that something went wrong with: at which host the guest may run, and what both migds must say then."""
import fnmatch

from stage import expect
from vm_trouble import ending

SOURCE, DESTINATION, NOWHERE = "source", "destination", "nowhere"
ANY = (SOURCE, DESTINATION)

# The first that fits engine, phase and trouble. Where two are allowed it is a matter of who is quicker, and both are right.
WHERE = (
    ("native/finishing/qemu-source", (DESTINATION, NOWHERE)),
    ("native/finishing/qemu-destination", (SOURCE,)),
    ("native/finishing/network-long", (SOURCE,)),
    ("native/finishing/*", ANY),  # migd has decided, and libvirt has not
    ("native/*/qemu-source", (NOWHERE,)),
    ("native/memory/network", (DESTINATION,)),  # survived
    ("native/memory/*", (SOURCE,)),
    ("native/undecided/kill-source", (SOURCE,)),
    ("native/*/kill-source", (DESTINATION,)),
    ("native/*/kill-destination", (SOURCE,)),  # libvirt's hook there goes with it
    ("native/*/hook", (SOURCE,)),
    ("native/*/qemu-destination", (SOURCE,)),
    ("native/*/network-long", (SOURCE,)),  # libvirt's part does not survive it
    ("libvirt/runs/qemu-destination", (NOWHERE,)),  # it ran there already
    ("libvirt/arrived/qemu-destination", (NOWHERE,)),
    ("libvirt/arrived/*", (DESTINATION,)),
    ("libvirt/finishing/qemu-source", (DESTINATION, NOWHERE)),  # all is there
    ("libvirt/*/qemu-source", (NOWHERE,)),
    ("libvirt/*/qemu-destination", (SOURCE,)),
    ("*", ANY),
)
STATES = {SOURCE: ("failed",), DESTINATION: ("completed",), NOWHERE: ("failed",)}


def allowed(row):
    return next(places for pattern, places in WHERE if fnmatch.fnmatch(row, pattern))


def may_be_nowhere(engine, phase, trouble):
    return NOWHERE in allowed(f"{engine}/{phase}/{trouble}")


def judge(held, trouble, where):
    """where: the host that it runs at, or None. What the source's migd says of it in the end."""
    row = f"{held.engine}/{held.phase}/{trouble}"
    place = SOURCE if where is held.source else DESTINATION if where else NOWHERE
    expect(place in allowed(row), f"the guest runs {place}, allowed is {' or '.join(allowed(row))}")
    if place == SOURCE:
        left = held.guest.state(held.destination)
        expect(left == held.defined_there, f"the guest was '{held.defined_there}' at the destination before, and is '{left}' now")
    said, there = ending(held)
    states = STATES[place] if row != "libvirt/runs/qemu-destination" else ("completed", "failed")
    expect(said["state"] in states, f"the guest runs {place}, and the source's migd says {said['state']}: {said.get('message')}")
    expect(there in ("", "failed" if place == SOURCE else "completed" if place == DESTINATION else there),
           f"the guest runs {place}, and the destination's migd says {there}")
    if said["state"] == "failed":
        expect(said.get("message"), "it failed, and nothing says why")
        expect(said["error"] != "NotConverging", f"it ended for a reason of its own, so this shows nothing: {said['message']}")
    if trouble == "restart-source" and place == SOURCE:
        expect("migd was stopped" in said["message"], f"after migd's restart its successor says: {said['message']}")
    if row == "native/memory/network":
        expect(said["reconnects"] >= 1, "the connections never broke, so this shows nothing")
    return place, said
