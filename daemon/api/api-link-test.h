/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manager.LinkTest. */
#pragma once
#include "api/api-context.h"

int api_method_link_test(sd_bus_message *m, void *userdata, sd_bus_error *error);
