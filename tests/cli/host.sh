#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# --host: by an ssh of our own that knows three hosts. The case with a real sshd is in tests/hosts.
. "$TOP_SRCDIR/tests/cli/lib.sh"

# Before anything is done: no ssh is there.
mkdir "$dir/empty" "$dir/bin"
real_path=$PATH
ln -s "$(command -v timeout)" "$(command -v cat)" "$dir/empty/"
PATH=$dir/empty run 1 -H there list
says err "needs ssh, which is not here"
run 2 list -H
says err "-H needs an argument"
run 2 list --host
says err "--host needs an argument"
run 2 list -H -oProxyCommand=x
says err "is not a host"
run 2 list --host=
says err "is not a host"
run 2 -H there register demo --pid 1
says err "register works on its own host only"
says err "ssh there migctl register"
run 2 -H there open demo 0000:17:00.1
says err "open works on its own host only"
run 2 -H there explain
says err "explain works on its own host only"

cat >"$dir/bin/ssh" <<END
#!/bin/sh
echo "\$*" >>$dir/ssh.log
while [ "\$1" != -- ] && [ \$# -gt 0 ]; do shift; done
shift
case \$1 in
*there) shift; exec "\$@" --bus-path=unix:path=$dir/bus ;;
deaf) echo "ssh: no route to deaf" >&2; exit 255 ;;
bare) exit 127 ;;
busless) exit 1 ;;
esac
exit 99
END
chmod +x "$dir/bin/ssh"
export PATH=$dir/bin:$real_path
start=$SECONDS
run 1 -H deaf list
says err "ssh: no route to deaf"
says err "ssh could not reach deaf"
run 1 --json -H bare list
says err "there is no systemd-stdio-bridge on bare"
json error NotSupported
run 1 -H busless list
says err "the system bus of busless did not answer"
[ $((SECONDS - start)) -lt 10 ] || bad "it took $((SECONDS - start)) s to see that a host is not there"

command -v systemd-stdio-bridge >/dev/null || { echo "no systemd-stdio-bridge here: the way through it is not tried"; finish; }
start_bus
run 1 -H there show demo
says err "migd does not run on this bus"
says err "systemctl -H there start migd"
start_fake
run 0 register demo
# The option wins over the environment.
export MIGD_BUS_ADDRESS=unix:path=$dir/nothing-here
run 1 list
run 0 -H there list
says out demo
run 0 --host=root@there --json show demo
json Name demo
run 0 start demo forever:1 --detach -Hthere
run 0 --host there status demo
run 0 -H there cancel demo
grep -q -- "root@there systemd-stdio-bridge" "$dir/ssh.log" || bad "ssh was not called as expected: $(cat "$dir/ssh.log")"
finish
