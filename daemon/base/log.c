/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "base/error.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

static atomic_int max_level = LOG_INFO;
static const char *const level_names[] = {"emerg",   "alert",  "crit", "err",
                                          "warning", "notice", "info", "debug"};

void log_set_max_level(int level)
{
    atomic_store(&max_level, level);
}

int log_get_max_level(void)
{
    return atomic_load(&max_level);
}

int log_level_from_string(const char *text)
{
    for (size_t i = 0; i < ELEMENTS(level_names); i++)
        if (strcmp(text, level_names[i]) == 0)
            return (int)i;
    if (text[0] >= '0' && text[0] <= '7' && !text[1])
        return text[0] - '0';
    return -EINVAL;
}

const char *log_level_to_string(int level)
{
    return level >= 0 && level < (int)ELEMENTS(level_names) ? level_names[level] : "unknown";
}

/* systemd sets JOURNAL_STREAM to the device and inode of the journal's socket: it is ours only if stderr
 * still is it. */
static bool stderr_is_journal(void)
{
    static atomic_int cached = -1;
    int c = atomic_load(&cached);
    if (c >= 0)
        return c;
    const char *env = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    bool is = env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
              st.st_dev == dev && st.st_ino == ino;
    atomic_store(&cached, is);
    return is;
}

static const char *const message_ids[] = {
#define X(symbol, id, title, story, remedy) [symbol] = id,
    MIGD_MESSAGE_TABLE(X)
#undef X
};

#define FIELD_MAX        14
#define FIELD_TEXT_BYTES 512 /* a reason is as long as an error's message */
static void add_field(struct iovec *iov, int *n, char (*text)[FIELD_TEXT_BYTES], const char *name,
                      const char *value)
{
    if (!value)
        return;
    int len = snprintf(text[*n], sizeof text[*n], "%s=%s", name, value);
    iov[*n] = (struct iovec){text[*n], MIN((size_t)len, sizeof text[*n] - 1)};
    (*n)++;
}

void log_write(int level, const struct log_fields *fields, const char *format, ...)
{
    if (level > log_get_max_level())
        return;
    int saved = errno;
    char line[1100] = "MESSAGE=";
    va_list ap;
    va_start(ap, format);
    vsnprintf(line + 8, sizeof line - 8, format, ap);
    va_end(ap);
    if (stderr_is_journal()) {
        struct iovec iov[FIELD_MAX];
        char text[FIELD_MAX][FIELD_TEXT_BYTES], priority[4], number[12];
        int n = 0;
        snprintf(priority, sizeof priority, "%d", level & 7);
        add_field(iov, &n, text, "PRIORITY", priority);
        if (fields) {
            snprintf(number, sizeof number, "%d", fields->error_number);
            add_field(iov, &n, text, "MESSAGE_ID", message_ids[fields->message]);
            add_field(iov, &n, text, "MIGD_DOMAIN", fields->domain);
            add_field(iov, &n, text, "MIGD_MIGRATION", fields->migration);
            add_field(iov, &n, text, "MIGD_PHASE", fields->phase);
            add_field(iov, &n, text, "MIGD_DEVICE", fields->device);
            add_field(iov, &n, text, "MIGD_PEER", fields->peer);
            add_field(iov, &n, text, "MIGD_ERROR", fields->error);
            add_field(iov, &n, text, "ERRNO", fields->error_number > 0 ? number : NULL);
            add_field(iov, &n, text, "MIGD_ACTION", fields->action);
            add_field(iov, &n, text, "MIGD_METHOD", fields->method);
            add_field(iov, &n, text, "MIGD_CALLER_UID", fields->caller_uid);
            add_field(iov, &n, text, "MIGD_REASON", fields->reason);
        }
        iov[n++] = (struct iovec){line, strlen(line)};
        sd_journal_sendv(iov, n);
    } else {
        const char *what = fields && fields->migration ? fields->migration : fields ? fields->domain : NULL;
        dprintf(STDERR_FILENO, "%s %-7s %s%s%s\n", program_invocation_short_name, log_level_to_string(level),
                what ? what : "", what ? ": " : "", line + 8);
    }
    errno = saved;
}

void log_mig_error(int level, const struct log_fields *fields, const struct mig_error *e, const char *prefix)
{
    struct log_fields all = fields ? *fields : (struct log_fields){0};
    all.error = mig_error_word(e->code);
    all.error_number = e->err;
    log_write(level, &all, "%s: %s%s%s%s", prefix, e->message, e->hint[0] ? " (" : "", e->hint,
              e->hint[0] ? ")" : "");
}
