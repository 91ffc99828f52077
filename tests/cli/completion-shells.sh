#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion for fish and zsh, asked from the real shells, against a fake migd. completion.sh is the one for bash.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake
export PATH="$top:$PATH" HOME="$dir" XDG_CONFIG_HOME="$dir/config" XDG_DATA_HOME="$dir/data"
run 0 register demo
run 0 register other --incoming

offers() { # WANTED LINE: what fish offers for the last word, in one line, without descriptions
    local got
    got=$(timeout 30 fish --no-config -c "source '$TOP_SRCDIR/contrib/completions/migctl.fish'; complete -C '$2'" </dev/null | cut -f1 | paste -sd' ')
    [ "$got" = "$1" ] || bad "fish: completing \"$2\" offers \"$got\", not \"$1\""
}

if command -v fish >/dev/null; then
    offers "start status" "migctl sta"
    offers "release" "migctl rel"
    offers "demo other" "migctl start "
    offers "other" "migctl release o"
    offers "container-blind" "migctl explain container-b"
    offers "--max-downtime --max-rounds" "migctl start demo --max"
    offers "domains migrations" "migctl list "
    offers "start status" "migctl -H root@hostb sta"
    offers "demo other" "migctl --host hostb start "
    offers "--host" "migctl --ho"
else
    echo "no fish here: its completion is not tried"
fi

# What the line becomes when tab is pressed at its end, in a zsh on a terminal of its own.
cat >"$dir/ask.zsh" <<'END'
zmodload zsh/zpty zsh/zselect
ask() {
    rm -f $dir/line
    zpty -n -w z "$1"$'\t\C-x'
    for i in {1..300}; do
        [[ -e $dir/line ]] && break
        zselect -t 10
    done
    got="$(<$dir/line)" 2>/dev/null
    [[ $got == "$2" ]] || print -r -- "zsh: \"$1\" becomes \"$got\", not \"$2\""
}
export dir
zpty z zsh -f -i
zpty -w z "PS1= PS2= fpath=($completions \$fpath)"
zpty -w z 'unsetopt beep; autoload -U compinit; compinit -u -D; compdef _migctl migctl; autoload -U _migctl'
zpty -w z 'dump() { print -r -- "$BUFFER" >$dir/line.new; mv $dir/line.new $dir/line; BUFFER= }; zle -N dump; bindkey "^X" dump; touch $dir/ready'
for i in {1..300}; do
    [[ -e $dir/ready ]] && break
    zselect -t 10
done
ask 'migctl rel' 'migctl release '
ask 'migctl release o' 'migctl release other '
ask 'migctl explain container-b' 'migctl explain container-blind '
ask 'migctl start demo --max-d' 'migctl start demo --max-downtime '
ask 'migctl list d' 'migctl list domains '
ask 'migctl -H root@hostb rel' 'migctl -H root@hostb release '
ask 'migctl --host hostb release o' 'migctl --host hostb release other '
ask 'migctl set demo --host hostb max-d' 'migctl set demo --host hostb max-downtime='
ask 'migctl --ho' 'migctl --host '
zpty -d z
END
if command -v zsh >/dev/null; then
    dir=$dir completions=$TOP_SRCDIR/contrib/completions timeout 120 zsh -f "$dir/ask.zsh" >"$dir/zsh.out" 2>&1 </dev/null || bad "zsh: exit $?"
    [ ! -s "$dir/zsh.out" ] || bad "$(cat "$dir/zsh.out")"
else
    echo "no zsh here: its completion is not tried"
fi
finish
