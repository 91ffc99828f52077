#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Under a service manager that keeps descriptors, a migd that was killed is followed by one that has its domains whole: memory that migd made,
# and files whose paths lead nowhere any more.
. "$TOP_SRCDIR/tests/cli/lib.sh"
command -v dd >/dev/null || exit 77

keeper_pid=''
end_keeper() { [ -z "$keeper_pid" ] || kill "$keeper_pid" 2>/dev/null; cleanup; }
trap end_keeper EXIT

start_bus
"$top/tests/fake/keeper" --pid-file "$dir/pid" "$top/migd" --runtime-dir "$dir/run" --listen "" >"$dir/keeper.out" 2>"$dir/log" &
keeper_pid=$!
wait_until "migd" test -s "$dir/pid"

truncate -s 1M "$dir/ram"
truncate -s 4K "$dir/bits"
run 0 register demo --memory name=ram0,make,size=1M,iova=0 --memory "name=ram1,path=$dir/ram,iova=0x100000" \
    --memory "name=ram2,path=$dir/ram,iova=0x200000" --tracker "type=cpu-log,memory=ram1,path=$dir/bits"
rm "$dir/ram" "$dir/bits"

memfd() { # of ram0 in the migd that runs now
    local fd
    for fd in "/proc/$(cat "$dir/pid")/fd"/*; do
        case $(readlink "$fd") in /memfd:*) echo "$fd"; return ;; esac
    done
}
descriptors() { ls "/proc/$(cat "$dir/pid")/fd" | wc -l; }
restart() {
    local old
    old=$(cat "$dir/pid")
    rm "$dir/pid"
    kill -9 "$old"
    wait_until "the next migd" test -s "$dir/pid"
}

printf 'kept by the manager' | dd of="$(memfd)" bs=1 seek=8192 conv=notrunc 2>/dev/null
for round in 1 2 3; do
    restart
    run 0 show demo --json
    json State running
    json Problem ""
    json Memory.2.name ram2
    json Trackers.0.kind cpu-log
    [ "$(dd if="$(memfd)" bs=1 skip=8192 count=19 2>/dev/null)" = 'kept by the manager' ] || bad "what stood in ram0 is lost (round $round)"
    [ $round = 1 ] && first=$(descriptors)
    [ "$(descriptors)" = "$first" ] || bad "migd has $(descriptors) descriptors in round $round, and had $first"
done
says_not log "belongs to nothing"

# What a domain had leaves with it.
run 0 register other --memory name=ram0,make,size=1M
run 0 release demo
restart
run 3 show demo
run 0 show other
run 0 release other
kill "$keeper_pid"
wait "$keeper_pid" || bad "migd ended with $?"
keeper_pid=''
grep -q '^keeper: 0 descriptors are left' "$dir/keeper.out" || { bad "the store is not empty"; cat "$dir/keeper.out"; }
finish
