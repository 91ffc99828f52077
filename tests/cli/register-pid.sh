#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# register --pid: what is found in a process, what is asked for, what is handed to migd, and what is refused.
. "$TOP_SRCDIR/tests/cli/lib.sh"
command -v python3 >/dev/null || { echo "no python3 here"; exit 77; }
start_bus
start_fake
cd "$dir" || exit 1
holder=$TOP_SRCDIR/tests/cli/holder.py
inode() { stat -L -c %i "/proc/$1/fd/$2"; }

# ---- a process that has shared memory and nothing else
python3 "$holder" "$dir/plain.pid" &
plain=$!
wait_until "the holder" test -e "$dir/plain.pid"
run 3 register demo --pid $plain
says err "process $plain (python3) holds no VFIO container, no iommufd and no VFIO device"
run 0 register demo --pid $plain --dry-run
says out "Process $plain (python3)"
says out "It holds no VFIO container"
says out "/memfd:guest ram (deleted)"
says out "/dev/zero (deleted)"
says_not out "small"
run 0 --json register demo --pid $plain --dry-run
json pid $plain
json memory.0.path "/memfd:guest ram (deleted)"
json memory.0.fd 30
json memory.0.size $((8 << 20))
json memory.0.page-size 4096
json memory.1.path "/dev/zero (deleted)"
json memory.1.fd MISSING 2>/dev/null
json memory.2.offset $((1 << 20))
json memory.2.size $((2 << 20))
json found '[ ]'

# Beside a vfio-user device its memory is all that is wanted; without a word about IOVAs that is asked for.
run 2 register demo --pid $plain --device name=nic0,socket=/run/nic0.sock
says out "migctl register demo --pid $plain \\"
says out "    --device name=nic0,socket=/run/nic0.sock \\"
says out "    --memory 'name=ram0,fd=30,size=8M,iova=?' \\"
says out "map_files/"
says out "    --memory 'name=ram2,fd=31,offset=1M,size=2M,iova=?'"
says err "where the devices of process $plain see its memory is not known"
run 2 --json register demo --pid $plain --device name=nic0,socket=/run/nic0.sock
json error InvalidArgument
json memory.0.fd 30
run 2 register demo --pid $plain --device name=nic0,socket=/x --memory 'name=ram0,fd=30,size=8M,iova=?'
says err '--memory.iova: "?" is not an address'
: >log
run 0 register demo --pid $plain --device name=nic0,socket=/run/nic0.sock --memory name=ram0,fd=30,iova=0x0 --memory name=ram1,fd=32,iova=0x10000000
says log "AddMemory [\"ram0\",null,0,0,{\"origin\":\"/proc/$plain/fd/30\",\"iova\":[0]}]"
says log "descriptor of ram0: inode $(inode $plain 30)"
says log "descriptor of ram1: inode $(inode $plain 32)"
says err "2.0 MiB of /memfd:more (deleted) are mapped by process $plain too, and are not registered"
says_not err "guest ram"

# What the process does not share is refused.
run 2 register x --pid $plain --device name=nic0,socket=/x --memory name=ram0,fd=0,iova=0
says err "memory ram0: process $plain has descriptor 0 (/dev/null) not mapped as memory that it shares and writes"
run 2 register x --pid $plain --device name=nic0,socket=/x --memory name=ram0,fd=999,iova=0
says err "memory ram0: process $plain has no descriptor 999"
truncate -s 4M elsewhere
run 2 register x --pid $plain --device name=nic0,socket=/x --memory name=ram0,path=elsewhere,iova=0
says err "has elsewhere not mapped"
run 0 register y --pid $plain --device name=nic0,socket=/x --memory "name=ram0,path=/proc/$plain/fd/30,iova=0"
run 0 release y
# Memory by a descriptor, without --pid.
: >log
run 0 register y --memory "name=ram0,pid=$plain,fd=30,iova=0"
says log "descriptor of ram0: inode $(inode $plain 30)"
run 2 register z --memory name=ram0,fd=30,iova=0
says err 'memory "ram0": pid is missing'
run 2 register z --memory "name=ram0,pid=$plain,iova=0"
says err 'memory "ram0": '
run 2 register z --memory "name=ram0,path=elsewhere,fd=3,pid=1,iova=0"
says err 'memory "ram0": path and fd exclude each other'

# ---- QEMU: how its monitor is asked
ln -s "$(python3 -c 'import sys; print(sys.executable)')" qemu-system-x86_64
./qemu-system-x86_64 "$holder" "$dir/qemu.pid" -name guest=web1,debug-threads=on &
qemu=$!
wait_until "a process called QEMU" test -e "$dir/qemu.pid"
run 2 register demo3 --pid $qemu --device name=nic0,socket=/x
says out "This is QEMU."
says out "virsh qemu-monitor-command --hmp web1 'info mtree -f'"
says out "offset=2G,size=2G,iova=0x100000000"
says err "where the devices of process $qemu see its memory is not known"
kill $qemu

# ---- who is no process
run 3 register x --pid 2147483647
says err "there is no process 2147483647 here"
says err "A process of a container has another number out here"
run 2 register x --pid 0
run 2 register x --pid me
says err '--pid: "me" is not the number of a process'
run 2 register x --dry-run
says err "--dry-run goes with --pid"
run 2 register x --skip container0
run 2 register x --name a=b
run 2 list --pid 1
says err "--pid is an option of register, not of list"
python3 -c 'import threading, time, sys
t = threading.Thread(target=time.sleep, args=(60,), daemon=True); t.start()
open(sys.argv[1], "w").write(str(t.native_id)); open(sys.argv[1] + ".ready", "w"); time.sleep(60)' "$dir/thread" &
threaded=$!
wait_until "a thread" test -e "$dir/thread.ready"
run 2 register x --pid "$(cat thread)" --dry-run
says err "is a thread, of process $threaded"
kill $threaded
kill $plain
wait $plain 2>/dev/null
run 3 register x --pid $plain --dry-run
says err "there is no process $plain here"

# ---- another user's process
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    # A copy, because the build folder may lie where another user cannot look.
    public=$(mktemp -d /tmp/migctl-XXXXXX)
    chmod 755 "$public"
    cp "$top/migctl" "$public/"
    setpriv --reuid=65534 --clear-groups timeout 20 "$public/migctl" register x --pid $$ --dry-run >out 2>err
    [ $? = 4 ] || { bad "another uid: exit code is not 4"; cat err; }
    says err "it belongs to uid 0, and migctl runs as uid 65534"
    says err "  Run migctl as root"
    rm -r "$public"
else
    echo "not root: a process of another user is not tried"
fi

# ---- a process with files that have the names of VFIO's devices, in a mount namespace of its own
namespace=(unshare -m)
[ "$(id -u)" = 0 ] || namespace=(unshare -rm)
if ! "${namespace[@]}" sh -c 'mount -t tmpfs none /dev' 2>/dev/null; then
    echo "no mount namespaces here: a process with VFIO's devices is not tried"
    finish
fi
"${namespace[@]}" sh -c 'mount -t tmpfs none /dev && mkdir -p /dev/vfio/devices &&
    touch /dev/vfio/vfio /dev/vfio/7 /dev/iommu /dev/vfio/devices/vfio12345 && exec python3 "$@"' sh "$holder" "$dir/vfio.pid" &
vfio=$!
wait_until "the holder" test -e "$dir/vfio.pid"
run 0 register demo2 --pid $vfio --dry-run
says out "container0  container  40  taken  /dev/vfio/vfio"
says out "-           group      41  -      group 7"
says out "container1  iommufd    42  taken  /dev/iommu"
says out "device0     cdev       43  taken  this kernel does not tell which"
says out "The kernel does not tell where the devices see the memory"
run 0 --json register demo2 --pid $vfio --dry-run
json found.2.name container1
json found.2.same-fds "[ 52 ]"
run 2 register demo2 --pid $vfio
says out "migctl register demo2 --pid $vfio \\"
says err "Give --memory name=,fd=,iova="
: >log
run 0 register demo2 --pid $vfio --memory name=ram0,fd=30,iova=0 --name container1=dma --name 43=nic0 --controller none
says log 'RegisterDomain ["demo2",{"incoming":false}]'
says log 'AddContainer ["container0",null,{"pidfd":null}]'
says log "descriptor of container0: inode $(inode $vfio 40)"
says log 'AddContainer ["dma",null,{"pidfd":null}]'
says log "descriptor of dma: inode $(inode $vfio 42)"
says log 'AddDevice ["nic0",null,{"pidfd":null,"tracker":"auto"}]'
says log "descriptor of nic0: inode $(inode $vfio 43)"
# In the order in which migd wants them.
[ "$(sed -n 's/^\(Add[A-Za-z]*\|SetController\) .*/\1/p' log | tr '\n' ' ')" = "AddMemory AddContainer AddContainer AddDevice SetController " ] ||
    { bad "the order of the calls"; cat log; }
run 0 release demo2

# Left out; given by hand beside; a container that cannot track.
: >log
run 0 register demo2 --pid $vfio --memory name=ram0,fd=30,iova=0 --skip container0 --device name=gpu0,type=vfio,fd=43,tracker=all
says_not log container0
says log 'AddDevice ["gpu0",null,{"pidfd":null,"tracker":"all"}]'
says_not log device0
run 0 release demo2
: >log
run 0 register demo2 --pid $vfio --memory name=ram0,fd=30,iova=0 --name container0=blind0
says err "blind0 is left out, devices must log their DMA themselves: blind0 cannot track"
says log 'AddDevice ["device0",null,{"pidfd":null,"tracker":"device"}]'
run 0 release demo2
run 1 register demo2 --memory "name=ram0,pid=$vfio,fd=30,iova=0" --container "name=blind0,pid=$vfio,fd=40"
says err "adding container blind0: blind0 cannot track"
run 2 register demo2 --pid $vfio --skip nic7 --dry-run
says err "--skip: process $vfio holds no container or device \"nic7\""
run 2 register demo2 --pid $vfio --name nic7 --dry-run
says err 'is not of the form FOUND=NAME'
run 2 register demo2 --pid $vfio --memory name=ram0,fd=30,iova=0 --name 40=x --name 52=x
says err 'two containers are named "x"'
kill $vfio
finish
