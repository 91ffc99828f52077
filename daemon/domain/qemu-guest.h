/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of a domain that is a stock QEMU: memory, trackers, VFIO containers and controller, from its
 * monitor and from what the kernel knows of its process. Two halves, as everywhere where something may block:
 * qemu_guest_take on a helper, during a job of the domain, then qemu_guest_insert on the main thread.
 */
#pragma once
#include "domain/domain.h"

struct qemu_guest_options {
    const char *path;      /* of a QMP socket that nobody else uses; absolute */
    uint64_t timeout_usec; /* of all that is asked at once, and of each call of the controller */
    const char *watch;     /* what finds CPU writes: auto, uffd, soft-dirty, digests, none */
    bool with_containers;  /* what passed-through devices write, by the containers that they are in */
    /* libvirt moves its CPU and device state: see vmm/controller-libvirt.h. */
    bool by_libvirt;
    void (*barrier)(const char *domain, void *userdata);
    void *userdata;
};

struct qemu_guest;
/* Takes a reference of the domain. InvalidArgument for a path that cannot be a socket's, or another word for
 * watch. */
int qemu_guest_new(struct qemu_guest **ret, struct domain *d, const struct qemu_guest_options *options,
                   struct mig_error *err);
struct qemu_guest *qemu_guest_free(struct qemu_guest *g);
DEFINE_CLEANUP(struct qemu_guest *, qemu_guest_free)
int qemu_guest_take(struct qemu_guest *g, struct mig_error *err);
int qemu_guest_insert(struct qemu_guest *g, struct mig_error *err);
