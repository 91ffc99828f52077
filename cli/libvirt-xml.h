/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the XML of a libvirt domain lacks for migd: memory in shared files, a monitor of migd's own, and notes
 * of what its host devices are. Works on the text, knows no libvirt. The form of the notes is told in
 * daemon/libvirt/hook-xml.h.
 */
#pragma once
#include "base/error.h"

struct json_object;
struct libvirt_xml;

int libvirt_xml_parse(struct libvirt_xml **ret, const char *text, struct mig_error *err);
struct libvirt_xml *libvirt_xml_free(struct libvirt_xml *x);
DEFINE_CLEANUP(struct libvirt_xml *, libvirt_xml_free)

/* Addresses of its host devices, with blanks between them. */
const char *libvirt_xml_addresses(const struct libvirt_xml *x);

/* Each makes its change and appends to changes what it was, {"part", "change", "xml"}; nothing when all is as
 * it should be. */
int libvirt_xml_share_memory(struct libvirt_xml *x, struct json_object *changes, struct mig_error *err);
int libvirt_xml_add_monitor(struct libvirt_xml *x, struct json_object *changes, struct mig_error *err);
/* devices: as Manager.ListDevices tells. */
int libvirt_xml_note_devices(struct libvirt_xml *x, struct json_object *devices, struct json_object *changes,
                             struct mig_error *err);
/* The caller frees *ret. */
int libvirt_xml_write(const struct libvirt_xml *x, char **ret, struct mig_error *err);
