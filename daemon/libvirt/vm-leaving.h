/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain that somebody has libvirt move away, and that another host asks for (libvirt/fetch.h). Nobody gets
 * a guest's memory for the asking: libvirt itself must be moving it.
 */
#pragma once
#include "libvirt/vm-xml.h"

/* BLOCKS. Its name here. NoSuchDomain; WrongState when libvirt does not move it, or it does not run;
 * NotSupported when QEMU must do more than move memory. */
int vm_leaving(const char *uri, const char *uuid, char ret_name[VM_NAME_MAX + 1], struct mig_error *err);
