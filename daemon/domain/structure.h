/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder share about the parts of a domain. */
#pragma once
#include "domain/domain.h"

/* Main thread, not borrowed: regions that came from a pass-through client and that nothing maps any more. */
void domain_drop_unused_memory(struct domain *d);
/* Main thread, not borrowed: a device that has died makes the domain broken. */
void domain_check_devices(struct domain *d);
/* With the lock held, any thread: adds an entry; the region is referenced. The caller has checked name and
 * limits. */
void domain_append_memory_locked(struct domain *d, struct region *region, const uint64_t *iovas,
                                 size_t niovas, bool from_client);
/* Main thread: trackers that say everything of a domain must know its memory of today. */
int domain_renew_all_trackers(struct domain *d, struct mig_error *err);

/* Any thread: the memory as it is now, with references; free() after dropping them. */
int domain_snapshot_memory(struct domain *d, struct domain_memory **ret, size_t *ret_count);

/* As domain_insert_memory and so on, for whoever builds the domain during a job of its own and tells nobody.
 */
int structure_insert_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                            struct mig_error *err);
int structure_insert_device(struct domain *d, const struct domain_device *device, struct mig_error *err);
int structure_insert_container(struct domain *d, const struct domain_container *c, struct mig_error *err);
int structure_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved,
                          struct mig_error *err);
void structure_set_controller(struct domain *d, struct controller *c, struct json_object *saved);

int structure_refuse_twice(const struct domain *d, const char *what, const char *name, struct mig_error *err);
int structure_refuse_more(const struct domain *d, const char *what, unsigned max, struct mig_error *err);
/* Takes the tracker over, unless it fails; one that says everything of the memory as it is now. */
int structure_append_tracker(struct domain *d, struct tracker *t, struct json_object *saved,
                             struct mig_error *err);
int structure_new_all_tracker(struct domain *d, const char *name, const char *device, struct tracker **ret,
                              struct mig_error *err);
void structure_free_device(struct domain_device *dd);
/* "" for a tracker that is not of kind all or has one region of its own; else who writes. */
const char *structure_all_tracker_of(const struct domain *d, size_t i);

/* For whoever adds several parts that belong together: takes back what came after the count. */
struct structure_counts {
    size_t ndevices, ntrackers, ncontainers;
};
struct structure_counts structure_count(const struct domain *d);
void structure_drop_newer(struct domain *d, struct structure_counts than);
