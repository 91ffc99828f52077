/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The saved form of a domain: RUNTIME_DIR/domains/NAME.json, with the keys of the domain file that migctl
 * reads, plus "state", "problem" and, for devices, "mappings" that were made one by one. Written anew,
 * atomically, whenever something changes; it survives the daemon, not the host.
 *
 * A file, although the descriptors that it names lie in the service manager's store: it is replaced in one
 * step, where the store takes two messages, and a daemon killed between them would leave two forms or none.
 * It lies beside the records of migrations, without which it could make a workload run twice, so the two are
 * kept or lost together; and it outlives a stop of the service, which empties the store: memory with a path
 * and vfio-user devices are found again then. Hence RuntimeDirectoryPreserve=yes, not restart.
 */
#pragma once
#include "domain/domain.h"

/* Main thread: from now on d has a saved form there. Makes the folder. */
int domain_keep_saved(struct domain *d, const char *runtime_dir, struct mig_error *err);
/* Writes it now; a failure is logged, since what it belongs to has happened already. */
void domain_save(struct domain *d);
/* Removes it. */
void domain_forget_saved(struct domain *d);
/* The whole domain; NULL when out of memory. */
struct json_object *domain_to_json(struct domain *d);
