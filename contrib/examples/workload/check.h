/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Judges memory by the journals of those who wrote it: for each page and thread the newest record must be
 * there, whole and in its place; what only the fill wrote must be as it was; and the destination's threads
 * went on where the source's stopped, without gap or repeat. The writers must stand still or be dead
 * meanwhile.
 */
#pragma once
#include "options.h"

/* 0: all is well. 1: it is not, and standard output says what is missing. Negative: it could not be judged.
 */
int check_run(const struct options *o);
