#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# start, monitor, status, set, cancel, resolve: what they ask for, what they print on a pipe, on a terminal and as JSON, and their exit codes.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake
run 0 register demo

run 0 start demo good:1 --bandwidth 100M --max-downtime=50ms --timeout 2min --on-stall=wait --gate resend --gate-resends 4 \
    --max-rounds 9 --reconnect-timeout 5s --blackout-limit 1min --connections 2 --checksum --verify --without-p2p --allow device-ids-differ --allow=memory-no-space --peer-domain twin
says log 'Migrate ["good:1",{"bandwidth":104857600,"max-downtime":50000,"timeout":120000000,"on-stall":"wait","gate":"resend","gate-resends":4,"max-rounds":9,"reconnect-timeout":5000000,"blackout-limit":60000000,"connections":2,"checksum":true,"verify":"strict","without-p2p":true,"peer-domain":"twin","allow":["device-ids-differ","memory-no-space"]}]'
says out "round 0: 1.0 GiB in "
says out "round 2: "
says out "it will fit into 300 ms"
says out "Migration of demo to good:1: completed"
for word in "Time elapsed:" "Data processed:" "Memory processed:" "Dirty page size:" "Total downtime:" "  pause:" "  quiesce:" \
    "  final read:" "  pages:" "  device state:" "  load:" "  gate:" "  verify:" "  commit:" "  resume:" "Amplification:" \
    "Gate:                clean" "Verify:              proved" "4711" "demo runs at good:1 now."; do
    says out "$word"
done

run 0 --json start demo good:2 --verify=post
says log '"verify":"post"'
json_lines
says out '"event": "round", "round": 0'
says out '"event": "progress"'
tail -n 1 "$dir/out" >"$dir/last" && mv "$dir/last" "$dir/out"
json event end
json state completed
json runs-at destination
json downtime-pause 1000011

run 1 start demo fails:1
says out "failed"
says out "demo runs here, at the source, as before."
says err "migctl: device nic0 refused STOP?[31m"
says err "  See the journal of its server"
run 6 start demo stalls:1
run 6 start demo late:1
run 7 start demo doubt:1
says out "IN DOUBT"
says out "migctl resolve 000000a5"
run 7 status --wait 000000a5
run 0 status
says out "in-doubt"
run 2 resolve 000000a5
run 2 resolve 000000a5 --run --drop
run 0 resolve 000000a5 --drop
says log 'Resolve ["drop",{}]'
run 1 resolve 000000a5 --run
says err "is not in doubt"
run 3 status
says err "no migration runs"
run 1 start demo bad-proof:1
says out "FAILED"
run 1 start demo refused:1
says err "nobody answers at refused:1"
run 3 start nobody good:1
run 2 start demo good:1 --bandwidth fast
says err 'bandwidth: "fast" is not a rate'
run 2 start demo good:1 --max-downtime 300
run 2 start demo good:1 --gate never
says err "The words are: strict resend off"
run 2 start demo good:1 --connections 99999999999

# A migration that runs until it is cancelled.
run 0 start demo forever:1 --detach
id=$(cat "$dir/out")
[ ${#id} = 32 ] || bad "--detach prints the id, not: $id"
run 1 release demo
says err "domain demo is being migrated"
run 0 status
says out "forever:1"
run 0 --json status "${id:0:8}"
json id "$id"
run 0 list migrations
says out "$id"
run 0 show demo
says out "Memory remaining:"
run 0 show "$id"
run 0 set demo bandwidth=10M max-rounds=0
says log 'SetOptions [{"bandwidth":10485760,"max-rounds":0}]'
run 0 status demo
says out "  Bandwidth:           10.0 MiB/s"
run 0 --json set "$id" bandwidth=0 gate=off
json options.bandwidth 0
run 2 set demo bandwith=1
says err "Did you mean bandwidth?"
run 2 set demo verify=off
says err "verify is fixed when a migration starts"
run 2 set demo gate
says err "gate is not of the form KEY=VALUE"

# Killed, or interrupted: the migration does not notice.
"$top/migctl" monitor demo >"$dir/out" 2>"$dir/err" &
pid=$!
wait_until "a round" grep -q "^round" "$dir/out"
kill -9 $pid
wait $pid 2>/dev/null
run 0 --json status demo
json state running
(trap - INT; exec "$top/migctl" monitor) >"$dir/out" 2>"$dir/err" &
pid=$!
wait_until "a round" grep -q "^round" "$dir/out"
kill -INT $pid
wait $pid
[ $? = 130 ] || bad "interrupted: exit code is not 130"
says err "The migration goes on"
says err "migctl cancel $id"
run 0 --json status demo
json state running
"$top/migctl" monitor demo >"$dir/monitor.out" 2>&1 &
pid=$!
wait_until "a round" grep -q "^round" "$dir/monitor.out"
run 0 cancel demo --wait
says out "cancelled"
wait $pid
[ $? = 5 ] || bad "monitor of a cancelled migration: exit code is not 5"
run 1 cancel demo
says err "has ended already"
run 0 start demo quiet:1 --detach
run 0 --json cancel demo
json state cancelled
run 5 monitor demo
run 5 status demo --wait

# On a terminal: a line that is updated in place and fits the width.
if command -v script >/dev/null; then
    for columns in 60 200; do
        TERM=xterm timeout 20 script -qec "stty cols $columns; '$top/migctl' start demo good:3" /dev/null >"$dir/out" 2>&1 </dev/null ||
            bad "start on a terminal failed"
        says out "round 1"
        says out "it will fit into"
        says out "completed"
        says_not out "round 0: 1.0 GiB in"
        says out "$(printf '\r\033[J')"
        # Whatever stands between line ends and returns is as wide as the terminal at most.
        sed 's/\x1b\[[0-9]*[A-Z]//g' "$dir/out" | tr '\r' '\n' | grep -a "GiB done" | awk -v max="$columns" 'length($0) > max { bad = 1 } END { exit bad }' ||
            bad "a line is wider than $columns columns"
    done
fi

# migd goes away and does not come back in time, or does.
"$top/migctl" start demo dies:1 >"$dir/out" 2>"$dir/err" &
pid=$!
wait_until "the end of migd" grep -q "migd left the bus" "$dir/err"
start_fake
wait $pid
[ $? = 7 ] || bad "a migration that migd does not know any more: exit code is not 7"
says err "migd was restarted and does not know the migration any more"
finish
