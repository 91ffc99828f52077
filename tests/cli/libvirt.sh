#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# migctl libvirt: what it changes in the definition of a domain, told by a virsh that is played here.
. "$TOP_SRCDIR/tests/cli/lib.sh"
start_bus
start_fake

mkdir "$dir/bin"
cat >"$dir/bin/virsh" <<'END'
#!/bin/sh
printf '%s\n' "$*" >>"$PLAYED/virsh.log"
case $2 in
dumpxml) [ "$6" != nobody ] || { echo "error: failed to get domain 'nobody'" >&2; echo "error: Domain not found: no domain" >&2; exit 1; }
    cat "$PLAYED/domain.xml" ;;
define) cat "$4" >"$PLAYED/defined.xml"; cp "$PLAYED/defined.xml" "$PLAYED/domain.xml" ;;
esac
END
chmod +x "$dir/bin/virsh"
export PLAYED=$dir PATH="$dir/bin:$PATH"

cat >"$dir/domain.xml" <<'END'
<domain type='kvm'><name>vm</name><uuid>0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e</uuid>
<memoryBacking><source type='memfd'/></memoryBacking>
<devices><hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x17' slot='0x00' function='0x1'/></source></hostdev></devices></domain>
END
cp "$dir/domain.xml" "$dir/before.xml"

run 0 libvirt prepare vm
says out "its memory is in files"
says out '<source type="file"/>'
says out '<access mode="shared"/>'
says out 'unix:/var/lib/libvirt/qemu/migd-0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e.qmp,server=on,wait=off'
says out '<migd:device address="0000:17:00.1" vendor="0x15b3" device="0x101e"'
says out "Nothing was changed"
says log '"probe":false,"addresses":"0000:17:00.1"'
[ "$(grep -c '<migd:device ' "$dir/out")" = 1 ] || bad "devices that the domain has not are noted"
cmp -s "$dir/domain.xml" "$dir/before.xml" || bad "without --apply something was defined"

run 0 libvirt prepare vm --json
json applied false
json changes.0.part memory
json changes.2.part devices
run 0 libvirt prepare vm --apply --dry-run
[ ! -e "$dir/defined.xml" ] || bad "--dry-run defined something"

run 0 libvirt prepare vm --apply
says out "takes effect when the domain is started the next time"
[ -s "$dir/defined.xml" ] || bad "--apply defined nothing"
grep -q "name>vm</name" "$dir/defined.xml" || bad "what was defined is not the domain"
run 0 libvirt prepare vm --apply
says out "is as migd needs it"

# Huge pages are files already, and memory that a NUMA node has for itself is not shared.
cat >"$dir/domain.xml" <<'END'
<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>vm</name><uuid>0f0ba8a8-5a5e-4f5e-8d07-0d3f3b0f1b7e</uuid>
<memoryBacking><hugepages/><source type='memfd'/><access mode='shared'/></memoryBacking>
<cpu><numa><cell id='0' memAccess='private'/></numa></cpu>
<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg value='unix:/run/x.qmp,server=on,wait=off'/></qemu:commandline></domain>
END
run 0 libvirt prepare vm --apply --json
json changes.0.part memory
grep -q 'memAccess="shared"' "$dir/defined.xml" || bad "a NUMA node keeps its memory private"
grep -q '<source' "$dir/defined.xml" && bad "huge pages are to be a memfd still"
[ "$(grep -c 'value="-qmp"' "$dir/defined.xml")" = 1 ] || bad "a second monitor was there and another one was added"

run 3 libvirt prepare nobody
says err "virsh dumpxml failed"
says err "virsh list --all"
echo nonsense >"$dir/domain.xml"
run 1 libvirt prepare vm
says err "no domain XML"
mkdir "$dir/few"
ln -s "$(command -v timeout)" "$(command -v cat)" "$dir/few"
PATH=$dir/few run 1 libvirt prepare vm
says err "libvirt-clients"

run 2 libvirt dance
says err 'what is "dance"'
run 2 libvirt prepare
says err "something is missing"
run 2 libvirt enable-hook --without-migd=maybe
says err "neither pass nor refuse"
run 2 libvirt enable-hook -H other
finish
