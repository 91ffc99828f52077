/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the check of a libvirt domain share. */
#pragma once
#include "libvirt/virt-link.h"
#include "libvirt/vm-check.h"

struct vm_look {
    const struct vm_request *request;
    struct vm_plan *plan;
    struct findings *findings;
    struct virt_link *here, *there; /* there NULL: not reached */
    virDomainPtr domain;
    char *text; /* its XML */
    struct vm_xml xml;
    bool persistent, out_of_memory;
    bool at_destination; /* of the finding that is told next */
};

/* remedy NULL: the table's. */
#define vm_tell(look, code, subject, remedy, ...)                                                            \
    ((look)->out_of_memory |= vm_tell_finding((look), (code), (subject), (remedy), __VA_ARGS__) < 0)
int vm_tell_finding(struct vm_look *l, enum finding_code code, const char *subject, const char *remedy,
                    const char *format, ...) _printf_(5, 6);

/* vm-check-disks.c */
void vm_look_at_disks(struct vm_look *l);
/* A file that the guest writes, on a file system that hosts do not share. */
bool vm_disk_is_local(const struct vm_disk *d);
/* vm-check-there.c: opens the destination's libvirt. */
void vm_look_at_destination(struct vm_look *l);
/* "running", "paused", "shut-off", ... */
const char *vm_state_word(int state);
