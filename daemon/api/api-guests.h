/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's guests come onto the bus and go, as libvirt's hook tells. */
#pragma once
#include "libvirt/guests.h"

struct api;
/* For guests_new; a is borrowed. */
struct guests_ops api_guests_ops(struct api *a);
