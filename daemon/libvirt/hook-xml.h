/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domain XML that libvirt gives its hooks: which host devices it names, what is noted of each, and the
 * same XML with other devices in their place. What is not swapped stays as it was; of the text only quotes
 * and blanks inside of tags may change, and nothing at all when nothing is swapped. No DTD, no entities from
 * elsewhere, no network. A value of its own; any thread.
 *
 * An address says nothing of a device to another host. What a device is, its domain's metadata tells, which
 * travels with the domain (`migctl libvirt prepare NAME --apply` writes it):
 *
 *   <metadata><migd:devices xmlns:migd="https://migd.org/libvirt/1">
 *     <migd:device address="0000:17:00.1" vendor="0x15b3" device="0x101e" driver="mlx5_vfio_pci"
 * numa-node="0" label="blue"/> <migd:device address="83b8f4f2-509f-382f-3c1e-e6bfe0fa1001" type="nvidia-35"/>
 *   </migd:devices></metadata>
 */
#pragma once
#include "libvirt/match.h"

#define HOOK_XML_DEVICES_MAX 256u

struct hook_xml;

/* InvalidArgument for what is not a domain. */
int hook_xml_parse(struct hook_xml **ret, const char *text, struct mig_error *err);
struct hook_xml *hook_xml_free(struct hook_xml *x);
DEFINE_CLEANUP(struct hook_xml *, hook_xml_free)

/* "": it has none. Borrowed. */
const char *hook_xml_name(const struct hook_xml *x);
const char *hook_xml_uuid(const struct hook_xml *x);

/* The path of a QMP monitor on a UNIX socket, one that libvirt does not use itself; "": there is none.
 * Borrowed. */
const char *hook_xml_monitor(const struct hook_xml *x);

size_t hook_xml_count(const struct hook_xml *x);
/* Address and whether libvirt binds it (managed) as in the XML, the rest from the metadata. Borrowed. */
const struct match_device *hook_xml_device(const struct hook_xml *x, size_t i);

/* Puts another device of this kind in its place, in the metadata too. */
int hook_xml_swap(struct hook_xml *x, size_t i, const char *address, struct mig_error *err);
/* "" when nothing was swapped. The caller frees *ret. */
int hook_xml_write(const struct hook_xml *x, char **ret, struct mig_error *err);
