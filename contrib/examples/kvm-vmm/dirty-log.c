/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-log.h"
#include "guest.h"
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static size_t words_of(const struct dirty_log *log)
{
    return (log->pages + 63) / 64;
}

int dirty_log_init(struct dirty_log *log, const struct vm *vm, struct cpu_log *to,
                   const struct guest_memory *memory)
{
    *log = (struct dirty_log){.vm = vm, .to = to, .memory = memory, .pages = memory->size / GUEST_PAGE_BYTES};
    log->words = calloc(words_of(log), sizeof *log->words);
    return log->words ? 0 : -ENOMEM;
}

static int turn(struct dirty_log *log, bool on)
{
    if (log->on == on)
        return 0;
    int r = vm_log(log->vm, log->memory, on);
    if (r == 0)
        log->on = on;
    return r;
}

int dirty_log_start(struct dirty_log *log)
{
    return turn(log, true);
}

int dirty_log_stop(struct dirty_log *log)
{
    return turn(log, false);
}

static int complain(const char *what)
{
    int error = errno;
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    return -error;
}

int dirty_log_pull(struct dirty_log *log)
{
    struct kvm_dirty_log get = {.slot = VM_MEMORY_SLOT, .dirty_bitmap = log->words};
    struct kvm_clear_dirty_log clear = {
        .slot = VM_MEMORY_SLOT, .num_pages = (uint32_t)log->pages, .dirty_bitmap = log->words};
    uint64_t any = 0;

    if (!log->on)
        return 0;
    if (ioctl(log->vm->fd, KVM_GET_DIRTY_LOG, &get) < 0)
        return complain("KVM_GET_DIRTY_LOG");
    for (size_t i = 0; i < words_of(log); i++)
        any |= log->words[i];
    /* Cleared, which protects the pages anew, before migd is told. The other way round migd could take a bit
     * and read the page, the guest could write it once more, and the clearing would throw that mark away. */
    if (any && log->vm->manual_clear && ioctl(log->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
        return complain("KVM_CLEAR_DIRTY_LOG");
    for (size_t i = 0; i < words_of(log); i++) {
        log->reported += (uint64_t)__builtin_popcountll(log->words[i]);
        if (!log->lose)
            cpu_log_mark_word(log->to, i, log->words[i]);
    }
    return 0;
}

void dirty_log_close(struct dirty_log *log)
{
    free(log->words);
    log->words = NULL;
}
