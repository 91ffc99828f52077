/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks of a domain that is to be moved: whether the destination sees the same ones. What libvirt itself
 * refuses (qemuMigrationSrcIsSafe) is an error here. */
#include "libvirt/vm-check-parts.h"
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

/* File systems that several hosts share; numbers that linux/magic.h lacks are those of their sources. */
static bool is_shared(const char *path)
{
    static const unsigned shared[] = {NFS_SUPER_MAGIC,
                                      0x7461636f /* OCFS2 */,
                                      0x01161970 /* GFS2 */,
                                      0x00c36400 /* CephFS */,
                                      0xff534d42 /* CIFS */,
                                      0xfe534d42 /* SMB2 */,
                                      0x65735546 /* FUSE: GlusterFS and others */,
                                      0x47504653 /* GPFS */,
                                      0x0bd00bd0 /* Lustre */,
                                      AFS_SUPER_MAGIC};
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return false;
    for (size_t i = 0; i < ELEMENTS(shared); i++)
        if ((unsigned)fs.f_type == shared[i])
            return true;
    return false;
}

bool vm_disk_is_local(const struct vm_disk *d)
{
    return !d->readonly && d->source[0] && d->file && !is_shared(d->source);
}

void vm_look_at_disks(struct vm_look *l)
{
    for (size_t i = 0; i < l->xml.ndisks; i++) {
        const struct vm_disk *d = &l->xml.disks[i];
        if (d->readonly || !d->source[0])
            continue;
        if (vm_disk_is_local(d))
            vm_tell(l, FINDING_VM_DISK_LOCAL, d->target, NULL,
                    "disk %s of %s is the file %.200s, which is not on a file system that hosts share",
                    d->target, l->xml.name, d->source);
        else if (!d->shareable && strcmp(d->cache, "none") != 0 && strcmp(d->cache, "directsync") != 0)
            vm_tell(l, FINDING_VM_DISK_CACHE, d->target, NULL, "disk %s of %s has cache=%s", d->target,
                    l->xml.name, d->cache[0] ? d->cache : "default");
    }
}
