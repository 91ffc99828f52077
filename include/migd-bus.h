/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every bus name, path, interface, option key and property key, in one place. Shapes, units and errors of the
 * members stand in org.migd.Migd1.xml beside this file, which is installed and held against the running
 * daemon by a test.
 */
#pragma once

#define MIGD_BUS_NAME             "org.migd.Migd1"
#define MIGD_BUS_ROOT             "/org/migd/Migd1"
#define MIGD_BUS_DOMAIN_PREFIX    MIGD_BUS_ROOT "/domain"
#define MIGD_BUS_MIGRATION_PREFIX MIGD_BUS_ROOT "/migration"
#define MIGD_IFACE_MANAGER        "org.migd.Migd1.Manager"
#define MIGD_IFACE_DOMAIN         "org.migd.Migd1.Domain"
#define MIGD_IFACE_MIGRATION      "org.migd.Migd1.Migration"
#define MIGD_IFACE_VMM            "org.migd.Migd1.Vmm"

/* Environment: MIGD_BUS_ADDRESS names a bus other than the system bus, for both programs (tests, rehearsals,
 * the quickstart). */
#define MIGD_ENV_BUS_ADDRESS "MIGD_BUS_ADDRESS"

/* Of what migd notes in the metadata of libvirt's domains. */
#define MIGD_XML_NAMESPACE "https://migd.org/libvirt/1"

/* Default port of the peer listener. */
#define MIGD_DEFAULT_PORT 16509
