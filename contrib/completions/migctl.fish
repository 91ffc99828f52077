# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of migctl for fish. Verbs and options come from migctl's own help, names from `migctl --json list`.

# The options of every verb whose argument is the word that follows.
function __migctl_with_argument
    migctl --help 2>/dev/null | sed -n 's/^  \(\(-[a-zA-Z]\), \)\{0,1\}\(--[a-z0-9-]*\) [A-Z[].*/\2\n\3/p'
end

function __migctl_verb
    set -l with_argument (__migctl_with_argument)
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word $with_argument
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
            return 0
        end
    end
    return 1
end

function __migctl_verbs
    migctl --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]\{3,9\}\) *\([A-Z[].\{19\}\) \(.*\)/\1\t\3/p'
end

function __migctl_options
    migctl (__migctl_verb) --help 2>/dev/null | sed -n 's/^  \(-[a-zA-Z], \)\{0,1\}\(--[a-z0-9-]*\)[^ ]*\( [A-Z]*\)\{0,1\}  *\(.*\)/\2\t\4/p'
end

function __migctl_names
    migctl --json list 2>/dev/null | sed -n 's/^ *"\(Name\|Id\)": *"\(.*\)",\{0,1\}$/\2/p'
end

function __migctl_holders
    find /proc/[0-9]*/fd -maxdepth 1 \( -lname '/dev/vfio/*' -o -lname /dev/iommu -o -lname 'anon_inode:\[vfio-device\]' \) 2>/dev/null | cut -d/ -f3 | sort -un
end

function __migctl_devices
    migctl --json devices --no-probe 2>/dev/null | sed -n 's/^ *"address": *"\(.*\)",\{0,1\}$/\1/p' | sort -u
end

complete -c migctl -x -s H -l host -a '(__fish_print_hostnames)'
complete -c migctl -f -n 'not __migctl_verb >/dev/null' -a '(__migctl_verbs)'
complete -c migctl -f -n 'contains -- (__migctl_verb) start check release open show monitor status cancel resolve set' -a '(__migctl_names)'
complete -c migctl -f -n 'contains -- (__migctl_verb) start check' -a '(virsh -q list --name 2>/dev/null)'
complete -c migctl -f -n 'contains -- (__migctl_verb) evacuate' -a '(__fish_print_hostnames)'
complete -c migctl -f -n 'contains -- (__migctl_verb) explain' -a '(migctl explain 2>/dev/null | string replace -r " .*" "")'
complete -c migctl -f -n 'contains -- (__migctl_verb) devices open' -a '(__migctl_devices)'
complete -c migctl -f -n 'contains -- (__migctl_verb) libvirt' -a 'enable-hook disable-hook prepare (virsh -q list --all --name 2>/dev/null)'
complete -c migctl -f -n 'contains -- (__migctl_verb) list' -a 'domains migrations'
complete -c migctl -f -n 'contains -- (__migctl_verb) set' -a 'bandwidth= max-downtime= timeout= on-stall= gate= gate-resends= max-rounds= reconnect-timeout= blackout-limit='
complete -c migctl -n 'string match -q -- "-*" (commandline -ct)' -a '(__migctl_options)'
complete -c migctl -f -n 'contains -- (__migctl_verb) link-test'
complete -c migctl -x -n 'contains -- (__migctl_verb) link-test' -l domain -a '(__migctl_names)'
complete -c migctl -x -n 'contains -- (__migctl_verb) register' -l pid -a '(__migctl_holders)'
