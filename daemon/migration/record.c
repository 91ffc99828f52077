/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/record.h"
#include "base/fds.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/log.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_MAX_BYTES 8192
#define RECORD_ID_LEN    32

static const char *const words[RECORD_STATE_MAX] = {
    [RECORD_STARTED] = "started",   [RECORD_INTENT] = "intent",     [RECORD_COMMITTED] = "committed",
    [RECORD_ABORTED] = "aborted",   [RECORD_RETURNED] = "returned", [RECORD_PREPARED] = "prepared",
    [RECORD_ACCEPTED] = "accepted", [RECORD_ACTIVE] = "active",
};

const char *record_state_to_string(enum record_state s)
{
    return s < RECORD_STATE_MAX ? words[s] : "unknown";
}

/* Both sides of a migration may live in one daemon (a rehearsal on one host), hence the direction in the
 * name. */
static int record_path(char *buf, size_t size, const char *runtime_dir, const char *id, bool incoming)
{
    if (!hex_is_valid(id, RECORD_ID_LEN))
        return -EINVAL;
    return (size_t)snprintf(buf, size, "%s/migrations/%s.%s", runtime_dir, id, incoming ? "in" : "out") < size
               ? 0
               : -ENAMETOOLONG;
}

int record_write(const char *runtime_dir, const struct record *r, struct mig_error *err)
{
    char path[4096];
    int error = record_path(path, sizeof path, runtime_dir, r->id, r->incoming);
    if (error == 0) {
        _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
        if (!o || json_add_string(o, "id", r->id) < 0 || json_add_string(o, "domain", r->domain) < 0 ||
            json_add_string(o, "state", words[r->state]) < 0 || json_add_string(o, "peer", r->peer) < 0 ||
            json_add_string(o, "peer-name", r->peer_name) < 0 || json_add_string(o, "token", r->token) < 0)
            return mig_error_oom(err);
        const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
        error = text ? write_file_atomic(path, text, strlen(text)) : -ENOMEM;
    }
    if (error < 0) {
        mig_error_set(err, MIG_ERR_FAILED, -error,
                      "Cannot write the record %s of migration %s in %s/migrations: %s", words[r->state],
                      r->id, runtime_dir, strerror(-error));
        mig_error_hint(err, "Check space and permissions of the runtime directory");
    }
    return error;
}

int record_read(const char *runtime_dir, const char *id, bool incoming, struct record *ret)
{
    char path[4096];
    int r = record_path(path, sizeof path, runtime_dir, id, incoming);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = NULL;
    r = read_file(path, RECORD_MAX_BYTES, &text, NULL);
    if (r < 0)
        return r;
    _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(text);
    struct record rec = {.incoming = incoming, .state = RECORD_STATE_MAX};
    char state[32];
    if (!o || json_copy_string(o, "id", rec.id, sizeof rec.id) < 0 ||
        json_copy_string(o, "domain", rec.domain, sizeof rec.domain) < 0 ||
        json_copy_string(o, "state", state, sizeof state) < 0 ||
        json_copy_string(o, "peer", rec.peer, sizeof rec.peer) < 0 ||
        json_copy_string(o, "token", rec.token, sizeof rec.token) < 0 || strcmp(rec.id, id) != 0)
        return -EPROTO;
    /* An older migd did not write it. */
    if (json_copy_string(o, "peer-name", rec.peer_name, sizeof rec.peer_name) < 0)
        rec.peer_name[0] = '\0';
    for (int i = 0; i < RECORD_STATE_MAX; i++)
        if (strcmp(words[i], state) == 0)
            rec.state = (enum record_state)i;
    if (rec.state == RECORD_STATE_MAX)
        return -EPROTO;
    *ret = rec;
    return 0;
}

void record_remove(const char *runtime_dir, const char *id, bool incoming)
{
    char path[4096];
    if (record_path(path, sizeof path, runtime_dir, id, incoming) == 0)
        unlink(path);
}

int record_list(const char *runtime_dir, struct record **ret, size_t *ret_count)
{
    char dir[4096];
    if ((size_t)snprintf(dir, sizeof dir, "%s/migrations", runtime_dir) >= sizeof dir)
        return -ENAMETOOLONG;
    *ret = NULL;
    *ret_count = 0;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    struct record *list = NULL;
    size_t n = 0, room = 0;
    int r = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char id[RECORD_ID_LEN + 1];
        size_t len = strlen(e->d_name);
        bool incoming = len == RECORD_ID_LEN + 3 && strcmp(e->d_name + RECORD_ID_LEN, ".in") == 0;
        bool outgoing = len == RECORD_ID_LEN + 4 && strcmp(e->d_name + RECORD_ID_LEN, ".out") == 0;
        if (!incoming && !outgoing)
            continue;
        memcpy(id, e->d_name, RECORD_ID_LEN);
        id[RECORD_ID_LEN] = '\0';
        struct record rec;
        int error = record_read(runtime_dir, id, incoming, &rec);
        if (error < 0) {
            log_warning("%s/%s is no record of a migration (%s); it is left alone", dir, e->d_name,
                        strerror(-error));
            continue;
        }
        if (n == room) {
            room = room ? 2 * room : 16;
            struct record *more = realloc(list, room * sizeof *list);
            if (!more) {
                r = -ENOMEM;
                break;
            }
            list = more;
        }
        list[n++] = rec;
    }
    closedir(d);
    if (r < 0) {
        free(list);
        return r;
    }
    *ret = list;
    *ret_count = n;
    return 0;
}

void record_forget(const char *runtime_dir, const char *domain)
{
    _cleanup_free_ struct record *list = NULL;
    size_t n;
    if (record_list(runtime_dir, &list, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (list[i].incoming && list[i].state != RECORD_RETURNED && strcmp(list[i].domain, domain) == 0)
            record_remove(runtime_dir, list[i].id, true);
}

void record_trim(const char *runtime_dir, size_t keep)
{
    _cleanup_free_ struct record *list = NULL;
    size_t n;
    if (record_list(runtime_dir, &list, &n) < 0 || n <= keep)
        return;
    for (;;) {
        size_t ended = 0;
        const struct record *oldest = NULL;
        struct timespec oldest_time = {0};
        for (size_t i = 0; i < n; i++) {
            char path[4096];
            struct stat st;
            if ((list[i].state != RECORD_ABORTED && list[i].state != RECORD_RETURNED) || !list[i].id[0] ||
                record_path(path, sizeof path, runtime_dir, list[i].id, list[i].incoming) < 0 ||
                stat(path, &st) < 0)
                continue;
            ended++;
            if (!oldest || st.st_mtim.tv_sec < oldest_time.tv_sec ||
                (st.st_mtim.tv_sec == oldest_time.tv_sec && st.st_mtim.tv_nsec < oldest_time.tv_nsec)) {
                oldest = &list[i];
                oldest_time = st.st_mtim;
            }
        }
        if (ended <= keep)
            return;
        record_remove(runtime_dir, oldest->id, oldest->incoming);
        list[oldest - list].id[0] = '\0';
    }
}
