/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading libvirt's domain XML: parsing it with what it may not contain refused, and the few steps that
 * walking it takes. After xml_parse_domain() libxml2 is loaded. Any thread. */
#pragma once
#include "libvirt/xml-library.h"

#define XML_DOMAIN_MAX ((size_t)4 << 20)

/* No DTD, no entities from elsewhere, no network; the root is <domain>. InvalidArgument for anything else.
 * The caller frees *ret with xmlFreeDoc. */
int xml_parse_domain(const char *text, xmlDoc **ret, struct mig_error *err);

bool xml_is(const xmlNode *node, const char *name);
/* The first child element of this name without a namespace, or NULL; node may be NULL. */
xmlNode *xml_child(const xmlNode *node, const char *name);
/* Of an attribute without a namespace; false when it is missing or too long. node may be NULL. */
bool xml_attribute(const xmlNode *node, const char *name, char *ret, size_t size);
bool xml_has(const xmlNode *node, const char *name, const char *wanted);
/* Its text, or "" when it is missing or too long. */
void xml_text(const xmlNode *node, char *ret, size_t size);
/* Sockets of QMP monitors beside libvirt's own: -qmp unix:PATH,... among the arguments that libvirt passes
 * on. How many, at most max. */
#define XML_MONITOR_MAX 108u
size_t xml_monitors(const xmlNode *root, char (*ret)[XML_MONITOR_MAX], size_t max);
/* libvirt writes 0x1c, and takes 28 and 034 as well. */
bool xml_number(const xmlNode *node, const char *name, unsigned long max, unsigned *ret);
