/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From facts to findings and one verdict per device. Pure: nothing is asked or opened here, so that every
 * case can be tested.
 *
 * An error among the findings: the device cannot migrate. None, and nothing tells what it writes: it cannot
 * converge. What was not asked is not guessed: the verdict is "not known" then.
 */
#pragma once
#include "host/facts.h"

/* Fills findings, verdict and reason. 0 or -ENOMEM. */
int verdict_reach(struct host_device *d, const struct host_facts *h);
/* What is to be said of the host itself. */
int verdict_of_host(const struct host_facts *h, struct findings *f);
/* "can-migrate", "cannot-converge", "cannot-migrate", "not-known" */
const char *verdict_to_string(enum host_verdict v);
