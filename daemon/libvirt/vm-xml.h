/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a domain of libvirt's consists of, as far as moving it is concerned: read from its XML. A plain value;
 * any thread. */
#pragma once
#include "libvirt/xml-walk.h"

#define VM_NAME_MAX     255
#define VM_DEVICES_MAX  64u
#define VM_DISKS_MAX    128u
#define VM_MONITORS_MAX 4u

struct vm_device { /* of the host's, given to the guest */
    char type[24]; /* pci, mdev, usb, scsi, scsi_host, ... as libvirt says; pci also for <interface
                      type='hostdev'> */
    char address[64];
};

struct vm_disk {
    char target[32], source[256];
    bool file, block; /* else over the network, or without a medium */
    bool readonly, shareable;
    char cache[16]; /* "": not said */
};

struct vm_xml {
    char name[VM_NAME_MAX + 1], uuid[40];
    char type[16]; /* kvm, qemu */
    char arch[16], machine[64], emulator[256], cpu_mode[24];
    uint64_t memory_bytes;
    unsigned vcpus;
    char memory_source[16]; /* anonymous, memfd, file; "": anonymous */
    bool memory_shared, hugepages;
    struct vm_device devices[VM_DEVICES_MAX];
    size_t ndevices;
    struct vm_disk disks[VM_DISKS_MAX];
    size_t ndisks;
    char monitors[VM_MONITORS_MAX][XML_MONITOR_MAX]; /* sockets of QMP monitors beside libvirt's own */
    size_t nmonitors;
};

/* InvalidArgument for what is no domain, LimitExceeded for more than fits. */
int vm_xml_parse(struct vm_xml *ret, const char *text, struct mig_error *err);
/* Whether its RAM lies in files that another process can map: what migd's own engine needs. */
bool vm_xml_memory_is_shared_file(const struct vm_xml *x);
