#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# migctl devices: what it asks, and how it shows what it was told.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake

run 0 devices
says log 'ListDevices [{"all":false,"probe":true,"addresses":""}]'
grep -q '^0000:17:00.1 .* 15b3:101e .* mlx5_vfio_pci .* 42 .* 1 .* stop-copy p2p .* 4.0 MiB .* log .* - .* can migrate$' "$dir/out" ||
    { bad "the line of the device that can"; cat "$dir/out"; }
says out "domain demo, qemu-system-x86 (pid 123)"
says out "can migrate, but not converge"
says out "can-fly"
says out "new?[2J"
says_not out $'\x1b'
# What is said of three devices is said once; notes are for the details.
says out "error   device-plain-driver: It has a variant driver (and 2 more)"
[ "$(grep -c "Bind that" "$dir/out")" = 1 ] || bad "the same remedy twice"
says_not out "Shared"
says out "An ?[31malarm"
says out "warning host-no-iommufd: No iommufd here"

run 0 devices 17:00.2 0000:18:00.0 --all --no-probe
says log 'ListDevices [{"all":true,"probe":false,"addresses":"17:00.2 0000:18:00.0"}]'
grep -q '^Device: *0000:18:00.0$' "$dir/out" || bad "no block for an address"
says out "0000:18:00.0 (vfio-pci), 0000:18:00.1"
says out "note    group-shared: Shared"
run 0 devices --details
says out "Because:             Held"

run 0 devices --json
json devices.0.stop-copy-size 4194304
json devices.0.vendor 5555
json devices.1.findings.0.code device-plain-driver
json devices.4.holders.0.pid 123
json findings.0.code host-no-iommufd
says_not out VERDICT
run 2 devices --wait
says err "--wait is an option of status and cancel, not of devices"
many=$(seq -f '0000:17:00.%g' 400)
# shellcheck disable=SC2086
run 2 devices $many
finish
