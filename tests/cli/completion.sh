#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion for bash, against a fake migd: verbs and options from the help, names from the list.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake
PATH="$top:$PATH"
. "$TOP_SRCDIR/contrib/completions/migctl"
run 0 register demo
run 0 register other --incoming
run 0 start demo forever:1 --detach
id=$(cat "$dir/out")

complete_line() { # WORD... : fills $dir/out with what the last word may become
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _migctl
    printf '%s\n' "${COMPREPLY[@]}" >"$dir/out"
}
offers() { # WANTED WORD...: just these words, in one line
    local want=$1 got
    shift
    complete_line "$@"
    got=$(paste -sd' ' "$dir/out")
    [ "$got" = "$want" ] || bad "completing \"$*\" offers \"$got\", not \"$want\""
}

offers "devices register open list show check link-test evacuate start monitor status set cancel resolve release explain libvirt config" migctl ""
offers "start status" migctl sta
offers "demo other" migctl start ""
offers "other" migctl release o
offers "" migctl start demo ""
offers "$id" migctl monitor "${id:0:6}"
offers "$id demo other" migctl --json status ""
offers "--max-downtime --max-rounds" migctl start demo --max
offers "--wait" migctl cancel demo --w
offers "--run" migctl resolve --r
offers "strict resend off" migctl start demo --gate ""
offers "resend" migctl start demo --gate = r
offers "post" migctl start demo --verify = p
offers "demo other" migctl start --gate resend ""
offers "" migctl start --bandwidth ""
offers "max-downtime= max-rounds=" migctl set demo max
offers "device-no-p2p" migctl start --allow device-no
offers "domains" migctl list d
offers "0000:17:00.1 0000:17:00.2 0000:17:00.3 0000:17:00.4" migctl devices 0000:17
# As bash hands it over: split at the colons.
COMP_LINE='migctl devices 0000:17:00.' COMP_POINT=26
offers "00.1 00.2 00.3 00.4" migctl devices 0000 : 17 : 00.
unset COMP_LINE COMP_POINT
offers "--no-probe" migctl devices --no
offers "container-blind" migctl explain container-b
offers "" migctl register demo --name ""
offers "" migctl register demo --skip ""
# --pid: who holds something of VFIO. Here that is a process with a file of that name, in a mount namespace.
namespace=(unshare -m)
[ "$(id -u)" = 0 ] || namespace=(unshare -rm)
if "${namespace[@]}" sh -c 'mount -t tmpfs none /dev' 2>/dev/null; then
    "${namespace[@]}" sh -c 'mount -t tmpfs none /dev && mkdir /dev/vfio && touch /dev/vfio/vfio && exec 7</dev/vfio/vfio && exec sleep 60' &
    holder=$!
    held() { [ "$(readlink /proc/$holder/fd/7)" = /dev/vfio/vfio ]; }
    wait_until "the holder" held
    offers "$holder" migctl register demo --pid $holder
    offers "" migctl register demo --pid $$x
    kill $holder
else
    echo "no mount namespaces here: completion of --pid is not tried"
fi
finish
