/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/virt-library.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libvirt.so.0"

struct virt_library virt;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[200];

/* Without one libvirt writes every error to standard error by itself. */
static void on_error(void *userdata, virErrorPtr error)
{
}

/* For the life of the process. */
static void load(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const char *lacks = NULL;
    if (!handle) {
        snprintf(problem, sizeof problem, "%s", dlerror());
        return;
    }
#define X(name)                                                                                              \
    if (!(virt.name = (__typeof__(&name))dlsym(handle, #name)))                                              \
        lacks = #name;
    VIRT_LIBRARY_TABLE(X)
#undef X
    if (lacks)
        snprintf(problem, sizeof problem, "%s lacks %s", LIBRARY, lacks);
    else if (virt.virInitialize() < 0)
        snprintf(problem, sizeof problem, "%s cannot be initialized", LIBRARY);
    else
        virt.virSetErrorFunc(NULL, on_error);
}

int virt_library_load(struct mig_error *err)
{
    pthread_once(&once, load);
    if (!problem[0])
        return 0;
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "libvirt cannot be asked: %s", problem);
    mig_error_hint(err, "install libvirt's client library (package libvirt0 or libvirt-libs)");
    return r;
}

int virt_last_code(void)
{
    const virError *e = virt.virGetLastError();
    return e ? e->code : 0;
}

static enum mig_error_code code_of(const virError *e, enum mig_error_code otherwise)
{
    switch (e->code) {
    case VIR_ERR_NO_DOMAIN:
        return MIG_ERR_NO_SUCH_DOMAIN;
    case VIR_ERR_OPERATION_ABORTED:
        return MIG_ERR_CANCELLED;
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
        return MIG_ERR_NOT_ALLOWED;
    case VIR_ERR_OPERATION_TIMEOUT:
        return MIG_ERR_BUSY;
    default:
        return otherwise;
    }
}

int virt_error(struct mig_error *err, enum mig_error_code code, const char *format, ...)
{
    const virError *e = virt.virGetLastError();
    char what[200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    const char *said = e && e->message && *e->message ? e->message : "libvirt does not say why";
    int length = (int)strcspn(said, "\n");
    return mig_error_set(err, e ? code_of(e, code) : code, 0, "%s: %.*s", what, length, said);
}
