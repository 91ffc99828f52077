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

offers "register list show start monitor status set cancel resolve release explain config" migctl ""
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
offers "container-blind" migctl explain container-b
finish
