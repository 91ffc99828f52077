/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One simulated device: all its parts, and who owns what. Each part's header says which thread touches it. */
#pragma once
#include "conn.h"
#include "dirty.h"
#include "engine.h"
#include "irq.h"
#include "migration.h"

struct device {
    const struct options *options;
    struct misbehave misbehave; /* the one that counts; server thread */
    struct dma_table dma;
    struct dirty_log log;
    struct journal journal;
    struct engine engine;
    struct migration migration;
    struct pci pci;
    struct irqs irqs;
    struct conn *conn; /* of the client that is there, or NULL */
};

int device_start(struct device *d, const struct options *o, struct mig_error *err);
void device_stop(struct device *d);
/* Serves the client on fd (consumed) until it goes, -ECANCELED when the program shall end. */
int device_serve(struct device *d, int fd, int stop_fd);
