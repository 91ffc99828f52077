#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# check: what it asks for, what it prints, its verdicts and exit codes.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake
run 0 register demo

run 0 check demo nothing --bandwidth 100M --on-stall force --without-p2p --peer-domain twin
says log 'Check ["nothing",{"bandwidth":104857600,"on-stall":"force","without-p2p":true,"peer-domain":"twin"}]'
[ "$(cat "$dir/out")" = "demo: can migrate" ] || bad "with nothing found it says: $(cat "$dir/out")"

run 0 check demo
says log 'Check ["",{}]'
says out "note     memory-can-shrink  ram0"
says out "         It is not sealed"
says out "         Do something about it"
says out "demo: can migrate"
run 0 check demo fine
says out "demo: can migrate, with 1 warning"

run 1 check demo blind
[ "$(head -1 "$dir/out")" = "error    container-blind  dma" ] || bad "errors do not come first: $(cat "$dir/out")"
says out "demo: can migrate but will not converge, so start refuses without --on-stall"
says out "force: Container dma knows nothing"

run 1 check demo cannot
says out "error    memory-size-differs  ram0  (at the destination)"
says out "demo: cannot migrate: Memory ram0 has 1.0 GiB ?[2Jthere"
says_not out "$(printf '\033')"

run 1 --json check demo cannot
json domain demo
json destination cannot
json verdict cannot
json errors 2
json warnings 1
json findings.3.code memory-size-differs
json findings.3.side destination
run 1 --json check demo blind
json verdict does-not-converge
run 0 --json check demo
json verdict can
json destination ""

run 3 check nobody
says err "nobody"
run 2 check demo here --detach
says err "--detach is an option of start, not of check"
run 2 check demo here --on-stall=perhaps
says err "The words are: abort force wait"
run 2 check
says err "migctl check NAME [DESTINATION]"
finish
