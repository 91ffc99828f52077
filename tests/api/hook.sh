#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirt's hook as libvirt calls it, against a real migd that answers, does not run, hangs or dies: what fails, and what never does.
. "$TOP_SRCDIR/tests/cli/lib.sh"
migd_pid=''
end_migd() { [ -z "$migd_pid" ] || kill -9 "$migd_pid" 2>/dev/null; cleanup; }
trap end_migd EXIT

hook() { # EXIT-CODE [OPTION...] OPERATION: leaves $dir/out and $dir/err
    local want=$1 got operation=${*: -1}
    shift
    timeout 30 "$top/libvirt-hook" "${@:1:$#-1}" vm "$operation" begin - <"$dir/domain.xml" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" = "$want" ] || { bad "hook $*: exit status $got, not $want"; cat "$dir/err"; }
}
operations='prepare start started stopped release migrate restore reconnect attach something-new'
start_migd() {
    "$top/migd" --runtime-dir "$dir/run" --listen "" 2>>"$dir/log" &
    migd_pid=$!
    wait_until "migd" busctl --address="$MIGD_BUS_ADDRESS" status org.migd.Migd1 >/dev/null 2>&1
}
command -v busctl >/dev/null || { echo "no busctl here"; exit 77; }

echo '<domain><name>vm</name><uuid>0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e</uuid></domain>' >"$dir/domain.xml"

# No bus, no migd: nothing fails, or only what the administrator wants to.
export MIGD_BUS_ADDRESS=unix:path=$dir/nothing-here
for operation in $operations; do hook 0 "$operation"; done
hook 1 --without-migd=refuse migrate
says err "told to refuse"
start_bus
for operation in $operations; do hook 0 "$operation"; done
hook 1 --without-migd=refuse migrate
hook 0 --without-migd=refuse prepare
hook 0 --without-migd=refuse reconnect

start_migd
for operation in $operations; do hook 0 "$operation"; done
[ ! -s "$dir/out" ] || bad "something is printed where nothing is swapped"
says log "libvirt domain vm: started"
says log "libvirt domain vm: release"
echo 'nonsense' >"$dir/domain.xml"
hook 1 migrate
says err "the domain XML is none"
hook 1 started
hook 0 reconnect
head -c 5000000 /dev/zero | tr '\0' ' ' >"$dir/domain.xml"
hook 1 migrate
hook 0 reconnect
: >"$dir/domain.xml"
hook 1 migrate
hook 0 reconnect

# What libvirt gives may be odd; a running guest does not pay for it.
for arguments in "vm reconnect" "--nonsense vm reconnect begin -" "vm reconnect begin - more"; do
    # shellcheck disable=SC2086
    timeout 10 "$top/libvirt-hook" $arguments <"$dir/domain.xml" >"$dir/out" 2>"$dir/err"
    code=$?
    [ $code = 0 ] || bad "$arguments: exit status $code"
done

timeout 10 "$top/libvirt-hook" vm migrate 2>"$dir/err" && bad "half of the arguments are enough"

# A migd that hangs: a filter that was asked and did not answer fails, since nobody knows what it reserved.
echo '<domain><name>vm</name><uuid>0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e</uuid></domain>' >"$dir/domain.xml"
kill -STOP "$migd_pid"
hook 1 --timeout=1 migrate
says err "did not answer"
for operation in prepare started stopped release reconnect attach; do hook 0 --timeout=1 "$operation"; done
# One that nobody feeds is ended by its alarm.
begin=$SECONDS
mkfifo "$dir/fifo"
exec 9<>"$dir/fifo"
timeout 60 "$top/libvirt-hook" --timeout=1 vm reconnect begin - <"$dir/fifo" || bad "a reconnect without an end of its XML fails"
[ $((SECONDS - begin)) -lt 30 ] || bad "the alarm did not come"

# One that dies meanwhile.
timeout 60 "$top/libvirt-hook" --timeout=30 vm migrate begin - <"$dir/domain.xml" 2>"$dir/err" &
waiting=$!
sleep 1
kill -9 "$migd_pid"
wait "$waiting" && bad "a migration goes on although migd died when it was asked"
says err "did not answer"
wait "$migd_pid" 2>/dev/null
migd_pid=''
finish
