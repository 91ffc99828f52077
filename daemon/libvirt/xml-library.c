/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/xml-library.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARY "libxml2.so.2"

struct xml_library xml_library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[200];

/* For the life of the process. */
static void load(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool all = handle;
    if (!handle) {
        snprintf(problem, sizeof problem, "%s", dlerror());
        return;
    }
#define X(name) all &= (xml_library.name = (__typeof__(&name))dlsym(handle, #name)) != NULL;
    XML_LIBRARY_TABLE(X)
#undef X
    all &= (xml_library.xmlFree = (xmlFreeFunc *)dlsym(handle, "xmlFree")) != NULL;
    if (all)
        xml_library.xmlInitParser();
    else
        snprintf(problem, sizeof problem, "%s lacks a function", LIBRARY);
}

int xml_library_load(struct mig_error *err)
{
    pthread_once(&once, load);
    if (!problem[0])
        return 0;
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "XML cannot be read: %s", problem);
    mig_error_hint(err, "install libxml2 (package libxml2)");
    return r;
}
