/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every finding of a check, in one table: what `migctl check` and `migctl devices` print, what makes
 * Domain.Migrate refuse, what `migctl explain CODE` tells, and the page doc/findings.md are all made from it.
 *
 *   X(symbol, code, severity, waivable, title, story, remedy)
 *
 * code: stable for ever, what scripts and operators match on: subject first, then what is wrong.
 * severity: ERROR: a migration would be refused; WARNING: it can be begun, at a price that the sentence
 *   names; NOTE: worth knowing.
 * waivable: an ERROR that the operator may overrule with --allow CODE; it counts as a WARNING then.
 * title: one line, without the names of this case. story: what it means, why migd says so, where the fact
 *   comes from. remedy: what to do in general; the finding itself carries the remedy for its case.
 *
 * Kept in the order of the codes.
 */
#pragma once

/* clang-format off */
#define MIGD_FINDING_TABLE(X)                                                                                \
    X(FINDING_DEVICE_NO_MIGRATION, "device-no-migration", ERROR, false,                                      \
      "The device or its driver does not support migration",                                                 \
      "The kernel's VFIO driver of this device answers no to the feature VFIO_DEVICE_FEATURE_MIGRATION. "    \
      "Without it the state inside the device cannot be saved, and a migration would start the destination " \
      "with a blank device.",                                                                                \
      "Bind the vendor's variant driver where the kernel has one (migctl devices names it), or move the "    \
      "workload without this device.")                                                                       \
    X(FINDING_DEVICE_NO_P2P, "device-no-p2p", ERROR, true,                                                   \
      "One of several devices cannot be made quiet towards the others",                                      \
      "With several devices each one must stop writing to the others before any of them stops, or what one " \
      "writes into a stopped one is lost. That is what the P2P states are for; this device has none.",       \
      "Where the devices do not talk to each other: --allow device-no-p2p.")
/* clang-format on */

enum finding_severity { FINDING_NOTE, FINDING_WARNING, FINDING_ERROR };

enum finding_code {
#define X(symbol, code, severity, waivable, title, story, remedy) symbol,
    MIGD_FINDING_TABLE(X)
#undef X
        FINDING_CODE_MAX,
};
