# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
# To be sourced by tests in the lab: two daemons, `a` and `b`, each on a bus of its own, b in a network namespace of its own, and a holder
# process on each side. At the end: exit $failed. With daemon_a=service the first is migd.service on the system bus; with
# security=tls the daemons have certificates (program=openssl, its configuration and make-test-ca are wanted then).
failed=0
case=
say() { echo "LAB $1 $case - $2"; }
fail() {
    say fail "$1"
    failed=1
    for log in migd-a migd-b holder-a holder-b vmm-a vmm-b start; do
        sed "s/^/$log: /" "/tmp/$log.log" 2>/dev/null | tail -15
    done
}
wait_for() { # FILE WORD: 60 s
    i=0
    while ! grep -q "$2" "$1" 2>/dev/null; do
        i=$((i + 1))
        [ $i -lt 600 ] || return 1
        sleep 0.1
    done
}

bus_of() { # SIDE
    if [ "$1" = a ] && [ "${daemon_a:-}" = service ]; then
        echo unix:path=/run/dbus/system_bus_socket
    else
        echo "unix:path=/run/bus-$1"
    fi
}
for side in a b; do
    cat > /tmp/bus-$side.conf <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=/run/bus-$side</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>
END
    dbus-daemon --config-file=/tmp/bus-$side.conf --fork --nopidfile || { case=bus; fail "no bus"; exit 1; }
done
on() { # SIDE COMMAND...
    side=$1
    shift
    env MIGD_BUS_ADDRESS="$(bus_of "$side")" "$@"
}

# Side b lives in a network namespace of its own.
unshare -n sh -c 'ip link set lo up; echo $$ > /tmp/b.pid; exec sleep 1000' &
i=0
while [ ! -s /tmp/b.pid ] && [ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done
ip link add side-a type veth # the kernel names the other end
peer=veth0
ip link set "$peer" netns "$(cat /tmp/b.pid)"
ip addr add 10.9.0.1/24 dev side-a
ip link set side-a up
in_b() { nsenter -n -t "$(cat /tmp/b.pid)" "$@"; }
in_b ip addr add 10.9.0.2/24 dev "$peer"
in_b ip link set "$peer" up

if [ "${security:=plain}" = tls ]; then
    make-test-ca /tmp/ca a,10.9.0.1 b,10.9.0.2 > /dev/null || { case=certificates; fail "they could not be made"; exit 1; }
fi
for side in a b; do
    printf '[Peer]\nSecurity=%s\nCertificateFolder=%s\n' "$security" /tmp/ca/$side > /tmp/migd-$side.conf
done
if [ "${daemon_a:-}" = service ]; then
    for folder in /etc/migd /usr/local/etc/migd; do
        [ -e $folder/migd.conf ] || continue
        mkdir -p $folder/migd.conf.d
        printf '[Peer]\nListen=10.9.0.1:7000\nSecurity=plain\n' > $folder/migd.conf.d/lab.conf
    done
    systemctl restart migd.service
    journalctl -q -f -u migd.service > /tmp/migd-a.log 2>&1 &
else
    on a migd --config /tmp/migd-a.conf --listen 10.9.0.1:7000 --runtime-dir /run/migd-a > /tmp/migd-a.log 2>&1 &
fi
in_b env MIGD_BUS_ADDRESS=unix:path=/run/bus-b migd --config /tmp/migd-b.conf --listen 10.9.0.2:7000 --runtime-dir /run/migd-b > /tmp/migd-b.log 2>&1 &
i=0
until on a migctl list > /dev/null 2>&1 && on b migctl list > /dev/null 2>&1; do
    i=$((i + 1))
    [ $i -lt 100 ] || { case=daemons; fail "they do not answer"; exit 1; }
    sleep 0.1
done

# begin NAME DOMAIN KIND [WORD [WORD OF THE DESTINATION]]: holders on both sides.
begin() {
    case=$1
    MIGD_BUS_ADDRESS=$(bus_of a) /usr/bin/holder "$2" "$3" $4 > /tmp/holder-a.log 2>&1 &
    holder_a=$!
    wait_for /tmp/holder-a.log "HOLDER ready" || { fail "the source did not come up"; return 1; }
    MIGD_BUS_ADDRESS=unix:path=/run/bus-b /usr/bin/holder "$2" "$3" incoming $4 $5 > /tmp/holder-b.log 2>&1 &
    holder_b=$!
    wait_for /tmp/holder-b.log "HOLDER ready" || { fail "the destination did not come up"; return 1; }
    sleep 1 # some DMA before
}
end() {
    on a migctl release "$1" --force > /dev/null 2>&1
    on b migctl release "$1" --force > /dev/null 2>&1
    kill $holder_a $holder_b 2>/dev/null
    wait $holder_a $holder_b 2>/dev/null
    for m in /sys/bus/mdev/devices/*; do # the kernel has room for 24 ports
        [ ! -e "$m/remove" ] || echo 1 > "$m/remove"
    done
    rm -f /tmp/holder-?.log
}
# patient OPTION...: however slow the emulated machine is, it is not the downtime that stops a migration here, unless that is said
patient() { case " $* " in *" --max-downtime"*) ;; *) echo "--max-downtime=10s" ;; esac; }
start() { # DOMAIN OPTION...
    domain=$1
    shift
    on a migctl start "$domain" 10.9.0.2:7000 --verify=strict $(patient "$@") "$@" > /tmp/start.log 2>&1
}
started() { on a migctl --json show "$1" | tr -d ' \n' | grep -o '"started":true'; }
# proved DOMAIN [GATE]: verify has proved it and the gate is clean, by the bits of the trackers or, where GATE says so, "by digests"
proved() {
    on a migctl status "$1" > /tmp/end.log 2>&1
    if ! grep -q "^Verify: *proved: all [1-9]" /tmp/end.log || ! grep -q "^Gate: *clean${2:+ $2}:" /tmp/end.log; then
        fail "migd's own proof: $(grep -E '^(State|Gate|Verify)' /tmp/end.log | tr -s ' ' | tr '\n' ';')"
        return 1
    fi
}
# arrived DOMAIN [GATE]: everything that a migration that went well has left behind
arrived() {
    wait_for /tmp/holder-b.log "HOLDER arrived" || { fail "the destination does not run: $(grep LAB /tmp/holder-b.log)"; return; }
    if grep -q "LAB fail" /tmp/holder-[ab].log; then
        fail "$(grep -h 'LAB fail' /tmp/holder-[ab].log)"
    elif [ -n "$(started "$1")" ]; then
        fail "tracking is still on at the source"
    elif proved "$@"; then
        say note "$(grep -h 'LAB note' /tmp/holder-b.log | sed 's/.* - //')"
        say note "$(grep -hiE 'downtime|gate|verif' /tmp/end.log | tr -s ' ' | tr '\n' ';' | cut -c1-400)"
        say pass "migrated"
    fi
}
# given SIDE WORD: a number that the holder of that side printed
given() { sed -n "s/^HOLDER ready.* $2=\([0-9]*\).*/\1/p" "/tmp/holder-$1.log"; }
