/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What follows `migctl libvirt`. Each returns the exit code. */
#pragma once
#include "args.h"

int libvirt_enable_hook(const struct args *args);
int libvirt_disable_hook(const struct args *args);
int libvirt_prepare(const struct args *args);
