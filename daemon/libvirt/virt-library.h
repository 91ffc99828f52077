/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's client library, loaded when the first domain of libvirt's is asked for: a host whose workloads
 * are none of libvirt's needs neither the library nor what comes with it. Built against its headers.
 */
#pragma once
#include "base/error.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* clang-format off */
#define VIRT_LIBRARY_TABLE(X)                                                                                \
    X(virInitialize) X(virGetLastError) X(virSetErrorFunc) X(virEventRegisterImpl) X(virConnectOpen)         \
    X(virConnectClose) X(virConnectIsAlive) X(virConnectSetKeepAlive) X(virConnectGetCapabilities)           \
    X(virConnectGetDomainCapabilities) X(virConnectCompareCPU) X(virConnectGetVersion)                       \
    X(virConnectListAllDomains) X(virConnectDomainEventRegisterAny) X(virConnectDomainEventDeregisterAny)    \
    X(virNodeGetFreeMemory) X(virDomainLookupByName) X(virDomainLookupByUUIDString) X(virDomainFree)         \
    X(virDomainGetName) X(virDomainGetUUIDString) X(virDomainGetXMLDesc) X(virDomainGetState)                \
    X(virDomainGetInfo) X(virDomainIsPersistent) X(virDomainIsActive) X(virDomainMemoryStats)                \
    X(virDomainMigrateToURI3) X(virDomainMigrateSetMaxSpeed) X(virDomainMigrateSetMaxDowntime)               \
    X(virDomainGetJobStats) X(virDomainAbortJob) X(virDomainResume) X(virDomainDestroy) X(virDomainUndefineFlags) X(virTypedParamsAddString) X(virTypedParamsAddULLong)       \
    X(virTypedParamsAddInt) X(virTypedParamsFree) X(virTypedParamsGetULLong)
/* clang-format on */

struct virt_library {
#define X(name) __typeof__(&name) name;
    VIRT_LIBRARY_TABLE(X)
#undef X
};

/* Any thread. 0, and from then on the functions can be called; a sentence that names the package when it is
 * not installed. */
int virt_library_load(struct mig_error *err);
extern struct virt_library virt;

/* What libvirt said last on this thread, as an error: "FORMAT: its message". Its code where it says more than
 * `code`. Returns -errno. */
int virt_error(struct mig_error *err, enum mig_error_code code, const char *format, ...) _printf_(3, 4);
/* The code of libvirt's last error on this thread (VIR_ERR_*); 0: none. */
int virt_last_code(void);
