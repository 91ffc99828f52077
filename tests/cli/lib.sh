# SPDX-License-Identifier: LGPL-2.1-or-later
# For the tests of migctl: a private bus with a fake migd on it, in a folder of its own, and checks that say what they expected.
# A test sources this, calls its checks, and ends with `finish`.
set -u
top=${TOP_BUILDDIR:?run by make check}
command -v dbus-daemon >/dev/null || { echo "no dbus-daemon here"; exit 77; }
dir=$(mktemp -d)
failures=0
bus_pid='' fake_pid=''

cleanup() {
    [ -z "$fake_pid" ] || kill "$fake_pid" 2>/dev/null
    [ -z "$bus_pid" ] || kill "$bus_pid" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT

start_bus() {
    cat >"$dir/bus.conf" <<END
<busconfig><type>session</type><listen>unix:path=$dir/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
END
    dbus-daemon --config-file="$dir/bus.conf" --nofork --nopidfile --print-address >"$dir/bus.address" 2>"$dir/bus.err" &
    bus_pid=$!
    wait_until "the bus" test -s "$dir/bus.address" # it is said when it listens; the socket is there before
    export MIGD_BUS_ADDRESS="unix:path=$dir/bus"
}

start_fake() {
    : >"$dir/fake.out"
    "$top/tests/fake/fake-migd" "$dir/log" >"$dir/fake.out" &
    fake_pid=$!
    wait_until "the fake migd" grep -q ready "$dir/fake.out"
}

wait_until() { # WHAT COMMAND...: at most 10 s
    local what=$1 i
    shift
    for i in $(seq 100); do
        "$@" && return 0
        sleep 0.1
    done
    echo "FAIL: $what did not come"
    exit 1
}

bad() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

run() { # EXIT-CODE ARGUMENT...: runs migctl, leaves $dir/out and $dir/err
    local want=$1 got
    shift
    timeout 20 "$top/migctl" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" = "$want" ] || { bad "migctl $*: exit code $got, not $want"; cat "$dir/out" "$dir/err"; }
}

says() { # out|err|log TEXT: the text is in it
    grep -qF -e "$2" "$dir/$1" || { bad "no \"$2\" in $1:"; cat "$dir/$1"; }
}

says_not() {
    ! grep -qF -e "$2" "$dir/$1" || { bad "\"$2\" in $1:"; cat "$dir/$1"; }
}

json() { # KEY VALUE: of the JSON value in $dir/out
    local got
    got=$("$top/tests/cli/json-get" "$1" <"$dir/out")
    [ "$got" = "$2" ] || { bad "JSON: $1 is \"$got\", not \"$2\""; cat "$dir/out"; }
}

json_lines() { # every line of $dir/out is a JSON value
    while IFS= read -r line; do
        printf '%s' "$line" | "$top/tests/cli/json-get" >/dev/null || bad "this line is not JSON: $line"
    done <"$dir/out"
}

finish() {
    [ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
    exit 0
}
