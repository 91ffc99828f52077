/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/ended.h"
#include "base/fds.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/log.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define FOLDER          "ended"
#define ENDED_MAX_BYTES 8192

static int add_all(struct json_object *o, const struct migration_status *s)
{
    const struct {
        const char *key, *value;
    } texts[] = {
        {"id", s->id},
        {"domain", s->domain},
        {"peer", s->peer},
        {"direction", migration_direction_to_string(s->direction)},
        {"engine", s->engine},
        {"state", mig_state_to_string(s->state)},
        {"verdict", s->verdict},
        {"error", mig_error_is_set(&s->error) ? mig_error_word(s->error.code) : NULL},
        {"message", s->error.message},
        {"hint", s->error.hint},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(texts); i++)
        r = json_add_string(o, texts[i].key, texts[i].value);
    return r < 0 ? r : json_add_u64(o, "started", s->counters.started_usec);
}

int ended_write(const char *runtime_dir, struct migration *m, struct mig_error *err)
{
    char path[400];
    struct migration_status s;
    migration_get_status(m, &s);
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    int r = o ? add_all(o, &s) : -ENOMEM;
    const char *text = r == 0 ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN) : NULL;
    snprintf(path, sizeof path, "%s/" FOLDER, runtime_dir);
    if (r == 0)
        r = mkdir_parents(path);
    /* Both directions of one migration may be in one daemon. */
    snprintf(path, sizeof path, "%s/" FOLDER "/%s.%s", runtime_dir, s.id,
             s.direction == MIGRATION_OUTGOING ? "out" : "in");
    if (r == 0)
        r = text ? write_file_atomic(path, text, strlen(text)) : -ENOMEM;
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int parse_state(const char *word, enum mig_state *ret)
{
    static const enum mig_state ends[] = {MIG_STATE_COMPLETED, MIG_STATE_FAILED, MIG_STATE_CANCELLED};
    for (size_t i = 0; i < ELEMENTS(ends); i++)
        if (strcmp(mig_state_to_string(ends[i]), word) == 0) {
            *ret = ends[i];
            return 0;
        }
    return -EPROTO;
}

static int parse(const char *text, struct migration_status *ret)
{
    _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(text);
    char direction[16] = "", state[16] = "";
    const struct {
        const char *key;
        char *to;
        size_t size;
    } texts[] = {
        {"id", ret->id, sizeof ret->id},
        {"domain", ret->domain, sizeof ret->domain},
        {"peer", ret->peer, sizeof ret->peer},
        {"direction", direction, sizeof direction},
        {"engine", ret->engine, sizeof ret->engine},
        {"state", state, sizeof state},
        {"verdict", ret->verdict, sizeof ret->verdict},
        {"message", ret->error.message, sizeof ret->error.message},
        {"hint", ret->error.hint, sizeof ret->error.hint},
    };
    for (size_t i = 0; i < ELEMENTS(texts); i++)
        if (!o || json_copy_string(o, texts[i].key, texts[i].to, texts[i].size) < 0)
            return -EPROTO;
    const char *error = json_text_or_null(o, "error");
    if (error)
        ret->error.code = mig_error_from_word(error);
    ret->direction = strcmp(direction, migration_direction_to_string(MIGRATION_OUTGOING)) == 0
                         ? MIGRATION_OUTGOING
                         : MIGRATION_INCOMING;
    ret->counters.started_usec = json_u64_or(o, "started", 0);
    return hex_is_valid(ret->id, MIGRATION_ID_LEN) ? parse_state(state, &ret->state) : -EPROTO;
}

static void set_started(struct migration_counters *c, void *userdata)
{
    c->started_usec = *(const uint64_t *)userdata;
}

static int show(const char *text, struct loop *loop, void (*add)(struct migration *m, void *userdata),
                void *userdata)
{
    struct migration_status s = {.error = MIG_ERROR_INIT};
    struct migration_options options;
    struct migration *m;
    migration_options_init(&options);
    int r = parse(text, &s);
    if (r == 0)
        r = migration_new(&m, loop, s.id, s.direction, s.domain, s.peer, &options);
    if (r < 0)
        return r;
    migration_set_engine_word(m, s.engine);
    migration_set_verdict(m, "%s", s.verdict);
    migration_update(m, set_started, &s.counters.started_usec);
    add(m, userdata);
    migration_end(m, s.state, mig_error_is_set(&s.error) ? &s.error : NULL);
    migration_unref(m);
    return 0;
}

void ended_show(const char *runtime_dir, struct loop *loop, void (*add)(struct migration *m, void *userdata),
                void *userdata)
{
    char path[700];
    snprintf(path, sizeof path, "%s/" FOLDER, runtime_dir);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        _cleanup_free_ char *text = NULL;
        snprintf(path, sizeof path, "%s/" FOLDER "/%s", runtime_dir, e->d_name);
        int r = read_file(path, ENDED_MAX_BYTES, &text, NULL);
        if (r == 0)
            r = show(text, loop, add, userdata);
        if (r < 0)
            log_warning("%s is not the end of a migration (%s); it is removed", path, strerror(-r));
        unlink(path);
    }
    closedir(d);
}
