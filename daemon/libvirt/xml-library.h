/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxml2, loaded when the first XML comes: it and what it wants (ICU, the C++ library) are a third of the
 * memory of a daemon at rest, and most daemons never see XML.
 */
#pragma once
#include "base/error.h"
#include <libxml/parser.h>
#include <libxml/xmlsave.h>

/* clang-format off */
#define XML_LIBRARY_TABLE(X)                                                                                 \
    X(xmlInitParser) X(xmlNewParserCtxt) X(xmlFreeParserCtxt) X(xmlCtxtReadMemory) X(xmlCtxtGetLastError)    \
    X(xmlDocGetRootElement) X(xmlFreeDoc) X(xmlGetNoNsProp) X(xmlSetProp) X(xmlNodeGetContent)               \
    X(xmlBufferCreate) X(xmlBufferContent) X(xmlBufferFree) X(xmlSaveToBuffer) X(xmlSaveDoc) X(xmlSaveClose)
/* clang-format on */

struct xml_library {
#define X(name) __typeof__(&name) name;
    XML_LIBRARY_TABLE(X)
#undef X
    xmlFreeFunc *xmlFree; /* a variable of the library's */
};

/* Any thread. 0, and from then on the functions can be called; a sentence that names the package when it is
 * not installed. */
int xml_library_load(struct mig_error *err);
extern struct xml_library xml_library;
