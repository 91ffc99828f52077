/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log lines: to the journal with structured fields when stderr is the journal, else to stderr as "<level>
 * text". Callable from any thread. Levels are syslog's (LOG_ERR..LOG_DEBUG).
 */
#pragma once
#include "base/util.h"
#include "migd-messages.h"
#include <syslog.h>

struct mig_error;

/* Journal field names, in one place. A NULL or zero value leaves the field out. */
struct log_fields {
    enum migd_message message; /* MESSAGE_ID: the entry of the catalog */
    const char *domain;        /* MIGD_DOMAIN */
    const char *migration;     /* MIGD_MIGRATION */
    const char *phase;         /* MIGD_PHASE */
    const char *device;        /* MIGD_DEVICE */
    const char *peer;          /* MIGD_PEER: host or address of the other daemon */
    const char *error;         /* MIGD_ERROR: a word of include/migd-errors.h; log_mig_error sets it */
    int error_number;          /* ERRNO: positive; log_mig_error sets it */
    const char *action;        /* MIGD_ACTION: of polkit */
    const char *method;        /* MIGD_METHOD: of the bus */
    const char *reason;        /* MIGD_REASON: why it was decided so */
    const char *caller_uid;    /* MIGD_CALLER_UID */
};

void log_set_max_level(int level);
int log_get_max_level(void);
/* "emerg".."debug" or a number -> level, or -EINVAL. */
int log_level_from_string(const char *text);
const char *log_level_to_string(int level);

void log_write(int level, const struct log_fields *fields, const char *format, ...) _printf_(3, 4);
/* "prefix: message (hint)" at LOG_ERR or the given level, with ERRNO and MIGD_ERROR of e. */
void log_mig_error(int level, const struct log_fields *fields, const struct mig_error *e, const char *prefix);

#define log_error(...)   log_write(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_DEBUG, NULL, __VA_ARGS__)
