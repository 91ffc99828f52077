#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Help, options of the wrong verb, errors in text and JSON, no bus, no migd.
. "$TOP_SRCDIR/tests/cli/lib.sh"

run 0 --help
for verb in devices register open list show check link-test evacuate start monitor status set cancel resolve release explain config; do
    says out "  $verb "
    run 0 "$verb" --help
    says out "migctl $verb"
    says out "--json"
    run 0 --help
done
for later in estimate heatmap; do
    says_not out "  $later "
done
# The manual page knows every verb and option.
sed 's/\\-/-/g' "$TOP_SRCDIR/cli/migctl.1" >"$dir/man"
for verb in devices register open list show check link-test evacuate start monitor status set cancel resolve release explain config; do
    says man "$verb"
    "$top/migctl" $verb --help | sed -n 's/^  \(-h, \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' >"$dir/options"
    [ -s "$dir/options" ] || bad "no options in the help of $verb"
    while read -r option; do
        says man "$option"
    done <"$dir/options"
done

run 0 start -h
says out "--max-downtime TIME"
says_not out "--force"
run 0 --version
says out "migctl "

run 2
says err "say what to do"
run 2 strat
says err "Did you mean start?"
run 2 list --bandwidth 5
says err "--bandwidth is an option of start and check and evacuate, not of list"
run 2 status --detach
says err "--detach is an option of start, not of status"
run 2 release demo --wait
says err "--wait is an option of status and cancel, not of release"
run 2 start demo host --max-downtim=5
says err "Did you mean --max-downtime?"
run 2 start demo host --gate
says err "--gate needs an argument"
run 2 start demo host --checksum=yes
says err "--checksum takes no argument"
run 2 start demo host --gate=off --gate=strict
says err "--gate was given twice"
run 2 start demo
says err "something is missing"
says err "migctl start NAME DESTINATION"
run 2 start demo host more
says err "an argument too many"
run 2 list -x
says err "unknown option -x"
run 2 list nonsense
says err "cannot list nonsense"
run 2 list --no-pager
says err "unknown option --no-pager"

run 2 --json list --bandwidth 5
json error InvalidArgument
json hint "migctl list --help lists its options"
run 2 start --bandwith=1 --json
json error InvalidArgument
json hint "Did you mean --bandwidth?"

# Codes are explained without a migd and without a bus.
run 0 explain
says out "container-blind              error    A container reports all its memory as written, always"
run 0 explain container-blind
says out "error: a migration is refused, unless it is overruled with --allow"
says out "Remedy:   Attach the device"
[ "$(wc -L <"$dir/out")" -le 80 ] || bad "a line is longer than 80 columns"
run 0 explain memory-none --json
json code memory-none
json severity error
json waivable false
run 3 explain memory-non
says err "Did you mean memory-none?"
run 2 explain memory-none device-gone
says err "an argument too many"

export MIGD_BUS_ADDRESS="unix:path=$dir/nothing"
run 1 list
says err "cannot connect to the bus unix:path=$dir/nothing"
says err "Check MIGD_BUS_ADDRESS"
start_bus
run 1 list
says err "migd does not run on this bus"
says err "Start migd with the same MIGD_BUS_ADDRESS"
run 1 --json list
json error Failed
json message "migd does not run on this bus"
finish
