#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What register hands to migd, from options and from a domain file; what it does when a step fails; show, list, release.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake
cd "$dir" || exit 1
truncate -s 2M ram
truncate -s 4K log0

run 0 register demo --memory name=ram0,path=ram,size=1M,iova=0x0,iova=0x100000000 \
    --memory name=ram1,make,size=2M,hugepages=2M,numa-node=0,iova=0x40000000 \
    --device name=nic0,socket=/run/nic0.sock,listen=v.sock,timeout=2s,tracker=device,log-page-size=64K,no-precopy,no-map \
    --tracker type=cpu-log,memory=ram0,path=log0 --tracker type=all --controller dbus:org.example.Vmm:/org/example/Vmm
says out "Domain demo is registered"
says log 'RegisterDomain ["demo",{"incoming":false}]'
says log "AddMemory [\"ram0\",null,0,1048576,{\"origin\":\"$dir/ram\",\"iova\":[0,4294967296]}]"
says log "descriptor of ram0: inode $(stat -c %i ram)"
says log 'MakeMemory ["ram1",2097152,{"iova":[1073741824],"hugepages":2097152,"numa-node":0}]'
says log "AddUserDevice [\"nic0\",\"/run/nic0.sock\",{\"listen\":\"$dir/v.sock\",\"timeout\":2000000,\"tracker\":\"device\",\"log-page-size\":65536,\"precopy\":false,\"map\":false}]"
says log "AddDirtyLog [\"cpu-log-ram0\",\"cpu-log\",[null],{\"memory\":\"ram0\",\"origin\":\"$dir/log0\"}]"
says log "descriptor of cpu-log-ram0: inode $(stat -c %i log0)"
says log 'AddDirtyLog ["all","all",[],{}]'
says log 'SetController ["dbus",{"bus-name":"org.example.Vmm","path":"/org/example/Vmm"}]'
run 1 register demo
says err "registering demo: domain \"demo\" is registered already"
says err "  Release it first"
run 4 register forbidden
says err "registering is not allowed"

# A step that fails takes the domain back.
: >log
run 1 register half --memory name=ram0,path=ram --device name=bad0,socket=/x
says err "adding device bad0: AddUserDevice of bad0 broke"
says err "  Mend bad0"
says log 'Release [{"force":true}]'
run 3 show half
run 2 register half --memory name=ram0,path=missing
says err "adding memory ram0: cannot open missing"
run 3 show half
run 1 --json register half --memory name=bad1,path=ram
json error DeviceFailed
json hint "Mend bad1"

# Interrupted in the middle of a step: the step is finished, then the domain is taken back.
: >log
(trap - INT; exec "$top/migctl" register half --device name=slow0,socket=/x --device name=nic1,socket=/y) >out 2>err &
pid=$!
wait_until "the slow step" grep -q AddUserDevice log
kill -INT $pid
wait $pid
[ $? = 5 ] || bad "register, interrupted: exit code is not 5"
says err "interrupted; nothing was registered"
says_not log nic1
says log 'Release [{"force":true}]'
run 3 show half

# Devices that migd opens: by a verb, and by the address in KEYS or a domain file.
: >log
run 0 open demo 0000:17:00.1 --name nic5 --interface legacy --into dma-nic --tracked-by container --split --own-hwpt --map-memory \
    --without-state --dirty-tracking no
says log 'OpenDevice ["nic5","0000:17:00.1",{"interface":"legacy","container":"dma-nic","tracker":"container","dirty-tracking":false,"split":true,"own-hwpt":true,"map-memory":true,"state":false}]'
says out "Opened:"
says out "HWPT:"
run 0 --json open demo /sys/bus/mdev/devices/6d696764-0000-4000-8888-000000000001
says log 'OpenDevice ["6d696764-0000-4000-8888-000000000001","/sys/bus/mdev/devices/6d696764-0000-4000-8888-000000000001",{}]'
json interface iommufd
json again false
run 0 open demo 0000:17:00.1 --name again0
says out "It is open already:"
run 1 open demo 0000:17:00.1 --name bad5
says err "bound to no driver"
says err "  driverctl (migctl explain device-not-vfio)"
run 2 open demo 0000:17:00.1 --dirty-tracking perhaps
run 2 open demo
run 3 open nobody 0000:17:00.1
run 0 register opener --device name=nic7,type=vfio,address=0000:18:00.0,split,no-state,timeout=3s
says log 'OpenDevice ["nic7","0000:18:00.0",{"split":true,"state":false,"timeout":3000000}]'

# A domain file, with an option on top.
cat >file.json <<END
{"name": "other", "incoming": true,
 "memory": [{"name": "ram0", "path": "$dir/ram", "offset": 4096, "size": "8K", "iova": ["0x0", 65536], "read-only": true}],
 "devices": [{"name": "nic0", "type": "vfio-user", "socket": "/s", "precopy": true}],
 "trackers": [{"name": "t", "type": "all", "memory": "ram0"}],
 "controller": {"type": "none"}}
END
: >log
run 0 --json register mine --file file.json --device name=nic1,socket=/t
json Name mine
says log 'RegisterDomain ["mine",{"incoming":true}]'
says log "AddMemory [\"ram0\",null,4096,8192,{\"origin\":\"$dir/ram\",\"iova\":[0,65536],\"read-only\":true}]"
says log 'AddUserDevice ["nic0","/s",{}]'
says log 'AddUserDevice ["nic1","/t",{}]'
says log 'SetController ["none",{}]'
timeout 10 "$top/migctl" register piped --file - <file.json >out 2>err || bad "a domain file on standard input"
run 2 register x --file missing.json
says err "cannot read missing.json"
echo '{"memory": [{"ofset": 1}]}' >wrong.json
run 2 register x --file wrong.json
says err 'wrong.json: memory[0].ofset: unknown key, did you mean "offset"?'
run 2 register x --memory name=ram0,path=ram,size=12Q
says err '--memory.size: "12Q" is not a size'
run 2 register x --memory name=ram0,path=ram --no-containers
says err '--no-containers goes with --qmp'
: >log
run 0 register vm --qmp qmp.sock
says log "AddQemu [\"$dir/qmp.sock\",{}]"
run 0 register vm2 --qmp qmp.sock --no-containers
says log "AddQemu [\"$dir/qmp.sock\",{\"containers\":false}]"
run 0 register vm3 --qmp qmp.sock --cpu-tracker=soft-dirty
says log "AddQemu [\"$dir/qmp.sock\",{\"cpu-tracker\":\"soft-dirty\"}]"
run 2 register x --memory name=ram0,path=ram --cpu-tracker digests
says err '--cpu-tracker goes with --qmp'
run 0 register whole --memory name=ram0,path=ram --tracker type=digests,memory=ram0 --tracker type=soft-dirty,memory=ram0,pid=$$,address=4096
says log 'AddDirtyLog ["digests-ram0","digests",[],{"memory":"ram0"}]'
says log "AddDirtyLog [\"soft-dirty-ram0\",\"soft-dirty\",[],{\"memory\":\"ram0\",\"pid\":$$,\"address\":4096}]"
run 2 register x --memory name=ram0,path=ram --tracker type=digests,memory=ram0,pid=$$
says err 'pid'

# uffd: a descriptor of another process.
sleep 60 7<"$dir/ram" &
other=$!
: >log
run 0 register faulty --memory name=ram0,path=ram --tracker "type=uffd,memory=ram0,pid=$other,fd=7,address=0x7f0000000000"
says log "AddDirtyLog [\"uffd-ram0\",\"uffd\",[null],{\"memory\":\"ram0\",\"pid\":$other,\"address\":139637976727552}]"
says log "descriptor of uffd-ram0: inode $(stat -c %i ram)"
run 2 register faulty2 --memory name=ram0,path=ram --tracker "type=uffd,memory=ram0,pid=$other,fd=99,address=0x0"
says err "adding tracker uffd-ram0: cannot take descriptor 99 of process $other"
kill $other

run 0 list
says out "demo"
says out "No migrations."
run 0 list domains
says_not out "igration"
run 0 --json list
json domains.0.Name demo
json migrations '[ ]'
run 0 show demo
says out "0x0 0x100000000"
says out "stop-copy p2p"
run 0 --json show demo
json State running
run 3 show nobody
says err 'there is no domain and no migration "nobody"'
run 0 release demo
run 3 release demo
says err 'there is no domain "demo"'
says err "  List them: migctl list"
run 0 --json release mine --force
json released mine
says log 'Release [{"force":true}]'
finish
