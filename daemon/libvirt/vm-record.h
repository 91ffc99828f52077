/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a restarted daemon must know of a migration that libvirt makes for migd: libvirt goes on by itself
 * when migd dies. One small file each in RUNTIME_DIR/vm-migrations, written before the migration is asked for
 * and removed when its outcome has been told.
 */
#pragma once
#include "libvirt/vm-plan.h"

struct vm_record {
    char id[40];
    struct vm_plan plan;
};

int vm_record_write(const char *runtime_dir, const struct vm_record *r, struct mig_error *err);
void vm_record_remove(const char *runtime_dir, const char *id);
/* All of them; malloc'ed array. Files that are no records are skipped with a warning. */
int vm_record_list(const char *runtime_dir, struct vm_record **ret, size_t *ret_count);
