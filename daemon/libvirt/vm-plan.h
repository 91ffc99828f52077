/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a domain of libvirt's is to be moved: which engine, which flags and parameters, between which
 * addresses. Made of what the operator asked for and what the domain is; nothing is asked of anybody here, so
 * that it can be shown (--dry-run) before it is done. A plain value.
 */
#pragma once
#include "libvirt/vm-xml.h"
#include "migration/options.h"

enum vm_engine { VM_ENGINE_AUTO, VM_ENGINE_LIBVIRT, VM_ENGINE_NATIVE };

struct vm_request { /* what was asked for, and what is configured */
    char name[VM_NAME_MAX + 1];
    char host[256]; /* as of a migration: HOST, HOST:PORT or [V6]:PORT; the port is migd's and not used */
    enum vm_engine engine;
    bool native_ready;    /* both migds can: the guest is registered here, and one that arrives there waits */
    char not_native[200]; /* else why not */
    bool paused;          /* it stands still, and is to do so at the destination */
    struct migration_options options, defaults;
    bool persistent;      /* define it at the destination */
    bool undefine_source; /* and no longer here */
    bool auto_converge;
    bool tls;                     /* memory and device state by TLS; by Security= */
    uint64_t total_bytes_per_sec; /* that all migrations together may take; 0: no cap */
    char uri[256], destination_uri[256];
};

struct vm_plan {
    char uuid[40], name[64], peer_name[64]; /* peer_name "": the same there */
    char host[256];
    char engine[12], why[240];
    char uri[256], destination_uri[300], data_uri[300];
    unsigned flags;         /* VIR_MIGRATE_* */
    uint64_t bandwidth_mib; /* per second; 0: no cap */
    uint64_t total_bytes_per_sec;
    uint64_t max_downtime_msec;
    unsigned connections;
    uint64_t memory_bytes;
    bool persistent;    /* here */
    bool native;        /* migd moves the memory, and libvirt the rest */
    bool resume;        /* it arrives standing still (VIR_MIGRATE_PAUSED), and migd lets it run there */
    bool defined_there; /* before this migration; vm_check says so */
    struct migration_options options;
};

/* InvalidArgument for a destination that is none, NotSupported for an engine that is not there. */
int vm_plan_make(struct vm_plan *ret, const struct vm_request *q, const struct vm_xml *x, bool persistent,
                 struct mig_error *err);
/* What these options and the cap over all migrations leave: bytes per second, 0: no cap. */
uint64_t vm_plan_cap(const struct vm_plan *p, const struct migration_options *o);
/* The same in libvirt's unit, of which less than one cannot be said. */
uint64_t vm_plan_cap_mib(const struct vm_plan *p, const struct migration_options *o);
const char *vm_plan_name_there(const struct vm_plan *p);
/* "live", "p2p", ...: the i-th flag as virsh migrate calls it, NULL after the last. */
const char *vm_plan_flag(const struct vm_plan *p, size_t i);
/* What virsh would be told to do the same. */
void vm_plan_command(const struct vm_plan *p, char *ret, size_t size);

int vm_engine_from_string(const char *s, enum vm_engine *ret, struct mig_error *err);
