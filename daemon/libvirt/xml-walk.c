/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/xml-walk.h"
#include <stdio.h>
#include <string.h>

static int check_document(const xmlDoc *doc, const xmlError *e, struct mig_error *err)
{
    const xmlNode *root = doc ? xml_library.xmlDocGetRootElement((xmlDoc *)doc) : NULL;
    if (!root)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "the domain XML is none: line %d: %.*s",
                             e ? e->line : 0, e && e->message ? (int)strcspn(e->message, "\n") : 0,
                             e && e->message ? e->message : "");
    if (doc->intSubset || doc->extSubset)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "the domain XML has a DTD, which libvirt's never has");
    if (!xml_is(root, "domain"))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "the XML is that of a %.40s, not of a domain",
                             (const char *)root->name);
    return 0;
}

int xml_parse_domain(const char *text, xmlDoc **ret, struct mig_error *err)
{
    size_t size = strlen(text);
    if (size > XML_DOMAIN_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "the domain XML has more than %zu bytes", XML_DOMAIN_MAX);
    int r = xml_library_load(err);
    if (r < 0)
        return r;
    xmlParserCtxt *context = xml_library.xmlNewParserCtxt();
    if (!context)
        return mig_error_oom(err);
    xmlDoc *doc = xml_library.xmlCtxtReadMemory(context, text, (int)size, NULL, NULL,
                                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    r = check_document(doc, xml_library.xmlCtxtGetLastError(context), err);
    xml_library.xmlFreeParserCtxt(context);
    if (r == 0)
        *ret = doc;
    else if (doc)
        xml_library.xmlFreeDoc(doc);
    return r;
}

bool xml_is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
    for (xmlNode *n = node ? node->children : NULL; n; n = n->next)
        if (xml_is(n, name) && !n->ns)
            return n;
    return NULL;
}

bool xml_attribute(const xmlNode *node, const char *name, char *ret, size_t size)
{
    xmlChar *value = node ? xml_library.xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
    bool fits = value && strlen((const char *)value) < size;
    snprintf(ret, size, "%s", fits ? (const char *)value : "");
    (*xml_library.xmlFree)(value);
    return fits;
}

bool xml_has(const xmlNode *node, const char *name, const char *wanted)
{
    char value[64];
    return xml_attribute(node, name, value, sizeof value) && strcmp(value, wanted) == 0;
}

void xml_text(const xmlNode *node, char *ret, size_t size)
{
    xmlChar *text = node ? xml_library.xmlNodeGetContent(node) : NULL;
    snprintf(ret, size, "%s", text && strlen((const char *)text) < size ? (const char *)text : "");
    (*xml_library.xmlFree)(text);
}

bool xml_number(const xmlNode *node, const char *name, unsigned long max, unsigned *ret)
{
    char text[24], *end;
    if (!xml_attribute(node, name, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 0);
    if (errno || *end || value > max)
        return false;
    *ret = (unsigned)value;
    return true;
}

size_t xml_monitors(const xmlNode *root, char (*ret)[XML_MONITOR_MAX], size_t max)
{
    char value[256];
    bool after_qmp = false;
    size_t found = 0;
    for (const xmlNode *n = root->children; n; n = n->next) {
        if (!xml_is(n, "commandline") || !n->ns)
            continue;
        for (const xmlNode *arg = n->children; arg; arg = arg->next) {
            if (!xml_is(arg, "arg") || !xml_attribute(arg, "value", value, sizeof value))
                continue;
            size_t length = after_qmp && strncmp(value, "unix:", 5) == 0 ? strcspn(value + 5, ",") : 0;
            if (length > 0 && length < XML_MONITOR_MAX && found < max)
                snprintf(ret[found++], XML_MONITOR_MAX, "%.*s", (int)length, value + 5);
            after_qmp = strcmp(value, "-qmp") == 0;
        }
    }
    return found;
}
