/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What there is to know of a VFIO-capable device and of its host. Filled by the files of this folder, read
 * by whoever shows it. "" and FACT_UNKNOWN: the kernel does not say, or was not asked.
 */
#pragma once
#include "base/finding.h"
#include <sys/types.h>

#define HOST_NAME_MAX_BYTES 64u /* of addresses, drivers, groups */

enum fact { FACT_UNKNOWN, FACT_NO, FACT_YES };

enum host_kind { HOST_PCI, HOST_MDEV };

enum host_verdict {
    HOST_NOT_KNOWN,
    HOST_CAN_MIGRATE,
    HOST_CANNOT_CONVERGE, /* it can migrate, but every page is sent in the blackout */
    HOST_CANNOT_MIGRATE,
};

/* Why the kernel was not asked about a device, or how it was. */
enum host_probe {
    HOST_PROBE_SKIPPED,    /* nobody wanted it */
    HOST_PROBE_IMPOSSIBLE, /* not bound to VFIO, or its group is not viable */
    HOST_PROBE_HELD,       /* somebody has it */
    HOST_PROBE_LATE,       /* the call had taken long enough already */
    HOST_PROBE_FAILED,     /* see probe_error */
    HOST_PROBE_CDEV,
    HOST_PROBE_GROUP,
    HOST_PROBE_DOMAIN, /* by the descriptor that a domain of this daemon has */
};

/* A device of the same IOMMU group, itself included. */
struct host_member {
    char address[HOST_NAME_MAX_BYTES], driver[HOST_NAME_MAX_BYTES];
    bool bridge; /* may stay with its driver */
    bool viable;
};

struct host_holder {
    pid_t pid;
    char command[32];
    const char *by; /* "group", "cdev", "device" */
};

struct host_device {
    enum host_kind kind;
    char address[HOST_NAME_MAX_BYTES]; /* 0000:17:00.1, or the UUID of an mdev */
    /* PCI; 0 for an mdev that was not asked. class: 24 bits. */
    uint16_t vendor, device, subvendor, subdevice;
    uint32_t class;
    char vendor_name[96], device_name[96], class_name[96];
    char modalias[128];
    /* mdev */
    char type[96], parent[HOST_NAME_MAX_BYTES];

    char driver[HOST_NAME_MAX_BYTES];
    bool on_vfio;                       /* bound to a driver that speaks VFIO */
    char variant[HOST_NAME_MAX_BYTES];  /* module that the kernel has for it */
    char cdev[HOST_NAME_MAX_BYTES];     /* "vfio3" */
    int numa_node;                      /* -1: none */
    char physical[HOST_NAME_MAX_BYTES]; /* the PF of a VF */
    unsigned vfs, vfs_max;
    char vf_variant[HOST_NAME_MAX_BYTES]; /* what the kernel has for the VFs of this PF */
    char unit[HOST_NAME_MAX_BYTES];       /* its IOMMU: "dmar0" */
    enum fact dirty_bits;                 /* of that IOMMU, whatever the kernel makes of them */

    char group[HOST_NAME_MAX_BYTES];
    bool no_iommu; /* a group in the kernel's unsafe mode without IOMMU */
    struct host_member *members;
    size_t nmembers;
    enum fact viable;

    struct host_holder *holders;
    size_t nholders;
    char domain[HOST_NAME_MAX_BYTES], domain_device[HOST_NAME_MAX_BYTES]; /* of this daemon that has it */

    enum host_probe probe;
    char probe_error[200];
    enum fact migration, device_log;
    bool log_unserved;        /* the driver has a log, the kernel does not hand it out */
    uint32_t migration_flags; /* DEVICE_MIGRATION_*; with migration FACT_YES */
    bool has_state_bytes;
    uint64_t state_bytes; /* in STOP_COPY, as the device says now */
    /* Whether an address space of the kernel says exactly what it writes: an iommufd on an IOMMU with dirty
     * bits; for an mdev a type1 container. */
    enum fact container_log;

    struct findings findings;
    enum host_verdict verdict;
    char reason[480]; /* of the verdict, a sentence */
};

struct host_facts {
    char kernel[96]; /* release */
    bool has_groups; /* IOMMU groups */
    bool has_vfio, has_type1, has_iommufd, has_cdevs;
    bool knows_variants;       /* the list of the kernel's modules could be read */
    bool has_vfio_pci;         /* among them, or loaded */
    size_t hidden_processes;   /* whose descriptors could not be looked at */
    size_t functions, devices; /* PCI functions of any kind; devices in this inventory */
};

static inline bool host_is_asked(const struct host_device *d)
{
    return d->probe == HOST_PROBE_CDEV || d->probe == HOST_PROBE_GROUP || d->probe == HOST_PROBE_DOMAIN;
}
