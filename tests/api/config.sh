#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The configuration of a daemon that runs: each value with its origin, reload by SIGHUP, what waits for a restart, a broken file.
. "$TOP_SRCDIR/tests/cli/lib.sh"

migd_pid=''
end_migd() { [ -z "$migd_pid" ] || kill "$migd_pid" 2>/dev/null; cleanup; }
trap end_migd EXIT

conf=$dir/migd.conf
printf '[Daemon]\nRuntimeDirectory=%s/run\n[Migration]\nMaxDowntime=70ms\n' "$dir" >"$conf"
start_bus
"$top/migd" --config "$conf" --listen "unix:$dir/peer" 2>"$dir/log" &
migd_pid=$!
wait_until "migd" "$top/migctl" list >/dev/null 2>&1

value() { # KEY VALUE ORIGIN
    run 0 config "$1" --json
    json 0.value "$2"
    json 0.origin "$3"
}
value Migration.MaxDowntime 70ms "$conf:4"
value listen "unix:$dir/peer" --listen
value Gate strict default
run 0 config
says out "Migration.MaxDowntime"
says out "$conf:4"
run 3 config MaxDowntme
says err "no key or section MaxDowntme"

reload() { # TEXT OF THE LOG
    : >"$dir/log"
    kill -HUP "$migd_pid"
    wait_until "the reload" grep -q "$1" "$dir/log"
}
printf '[Daemon]\nRuntimeDirectory=%s/other\nLogLevel=debug\n[Migration]\nMaxDowntime=90ms\n' "$dir" >"$conf"
reload "was read again"
says log "$conf:2: RuntimeDirectory=$dir/other takes effect when migd is restarted"
value MaxDowntime 90ms "$conf:5"
value LogLevel debug "$conf:3"
value RuntimeDirectory "$dir/run" "$conf:2"

# What is broken changes nothing.
printf '[Migration]\nMaxDowntime=10ms\nGate=perhaps\n' >"$conf"
reload "stays as it was"
says log "$conf:3"
value MaxDowntime 90ms "$conf:5"
"$top/migd" --config "$conf" --print-config >"$dir/out" 2>"$dir/err" && bad "--print-config takes a broken file"
says err "$conf:3"
printf '[Migration]\nMaxDowntime=10ms\n' >"$conf"
"$top/migd" --config "$conf" --print-config >"$dir/out" 2>"$dir/err" || bad "--print-config does not take a good file"
says out "MaxDowntime=10ms"
says out "# $conf:2"
reload "was read again"
value LogLevel info default

kill "$migd_pid"
wait "$migd_pid" || bad "migd ended with $?"
migd_pid=''
finish
