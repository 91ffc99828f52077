# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stage with libvirt itself: two libvirtds move a guest that proves its memory, without migd."""
from libvirt_stage import Guest, moved_by_qemu
from stage import expect


def case_libvirt_moves_a_guest(stage):
    """virsh migrate there and back."""
    guest = Guest(stage, "vm", size_mib=256, memory=moved_by_qemu())
    guest.start(stage.a)
    for source, destination in ((stage.a, stage.b), (stage.b, stage.a)):
        before = guest.seen(source)
        code, _, errors = guest.virsh_migrate(source, destination)
        expect(code == 0, f"virsh migrate: {errors.strip()[-400:]}")
        guest.alone(destination, source)
        guest.check(destination, before)


case_libvirt_moves_a_guest.libvirt = True
