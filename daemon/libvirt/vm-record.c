/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-record.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/log.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define FOLDER     "vm-migrations"
#define RECORD_MAX 8192u

static void path_of(char *ret, size_t size, const char *runtime_dir, const char *id)
{
    snprintf(ret, size, "%s/" FOLDER "/%s", runtime_dir, id);
}

static int add_all(struct json_object *o, const struct vm_plan *p)
{
    const struct {
        const char *key, *value;
    } texts[] = {{"uuid", p->uuid},
                 {"name", p->name},
                 {"peer-name", p->peer_name},
                 {"host", p->host},
                 {"engine", p->engine},
                 {"uri", p->uri},
                 {"destination-uri", p->destination_uri},
                 {"on-stall", stall_policy_to_string(p->options.on_stall)}};
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"flags", p->flags},
                   {"memory", p->memory_bytes},
                   {"bandwidth", p->options.bandwidth_bytes_per_sec},
                   {"max-downtime", p->options.max_downtime_usec},
                   {"timeout", p->options.timeout_usec},
                   {"max-rounds", p->options.max_rounds},
                   {"total-bandwidth", p->total_bytes_per_sec},
                   {"native", p->native},
                   {"resume", p->resume},
                   {"defined-there", p->defined_there}};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(texts); i++)
        r = json_add_string(o, texts[i].key, texts[i].value);
    for (size_t i = 0; r == 0 && i < ELEMENTS(numbers); i++)
        r = json_add_u64(o, numbers[i].key, numbers[i].value);
    return r;
}

int vm_record_write(const char *runtime_dir, const struct vm_record *record, struct mig_error *err)
{
    char path[400];
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    path_of(path, sizeof path, runtime_dir, "");
    int r = o ? mkdir_parents(path) : -ENOMEM;
    if (r == 0)
        r = add_all(o, &record->plan);
    const char *text = r == 0 ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN) : NULL;
    path_of(path, sizeof path, runtime_dir, record->id);
    if (text)
        r = write_file_atomic(path, text, strlen(text));
    return r < 0
               ? mig_error_set(err, MIG_ERR_FAILED, -r, "cannot write the record %s: %s", path, strerror(-r))
               : 0;
}

void vm_record_remove(const char *runtime_dir, const char *id)
{
    char path[400];
    path_of(path, sizeof path, runtime_dir, id);
    unlink(path);
}

static int parse(const char *text, struct vm_record *ret)
{
    struct vm_plan *p = &ret->plan;
    struct migration_options *o = &p->options;
    _cleanup_(json_object_putp) struct json_object *j = json_tokener_parse(text);
    const char *stall = j ? json_text_or_null(j, "on-stall") : NULL;
    if (!stall || stall_policy_from_string(stall, &o->on_stall, NULL) < 0)
        return -EPROTO;
    const struct {
        const char *key;
        char *to;
        size_t size;
    } texts[] = {{"uuid", p->uuid, sizeof p->uuid},
                 {"name", p->name, sizeof p->name},
                 {"peer-name", p->peer_name, sizeof p->peer_name},
                 {"host", p->host, sizeof p->host},
                 {"engine", p->engine, sizeof p->engine},
                 {"uri", p->uri, sizeof p->uri},
                 {"destination-uri", p->destination_uri, sizeof p->destination_uri}};
    for (size_t i = 0; i < ELEMENTS(texts); i++)
        if (json_copy_string(j, texts[i].key, texts[i].to, texts[i].size) < 0)
            return -EPROTO;
    p->flags = (unsigned)json_u64_or(j, "flags", 0);
    p->native = json_u64_or(j, "native", 0);
    p->resume = json_u64_or(j, "resume", 0);
    p->defined_there = json_u64_or(j, "defined-there", 0);
    p->memory_bytes = json_u64_or(j, "memory", 0);
    o->bandwidth_bytes_per_sec = json_u64_or(j, "bandwidth", 0);
    p->total_bytes_per_sec = json_u64_or(j, "total-bandwidth", 0);
    p->bandwidth_mib = vm_plan_cap_mib(p, o);
    o->max_downtime_usec = json_u64_or(j, "max-downtime", o->max_downtime_usec);
    o->timeout_usec = json_u64_or(j, "timeout", 0);
    o->max_rounds = (unsigned)json_u64_or(j, "max-rounds", 0);
    return 0;
}

static int read_one(const char *runtime_dir, const char *id, struct vm_record *ret)
{
    char path[400];
    _cleanup_free_ char *text = NULL;
    path_of(path, sizeof path, runtime_dir, id);
    int r = read_file(path, RECORD_MAX, &text, NULL);
    if (r < 0)
        return r;
    *ret = (struct vm_record){0};
    migration_options_init(&ret->plan.options);
    snprintf(ret->id, sizeof ret->id, "%.32s", id);
    return parse(text, ret);
}

int vm_record_list(const char *runtime_dir, struct vm_record **ret, size_t *ret_count)
{
    char path[400];
    path_of(path, sizeof path, runtime_dir, "");
    *ret = NULL;
    *ret_count = 0;
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        if (strspn(e->d_name, "0123456789abcdef") != 32 || e->d_name[32])
            continue;
        struct vm_record *list = reallocarray(*ret, *ret_count + 1, sizeof *list);
        if (!list) {
            r = -ENOMEM;
            break;
        }
        *ret = list;
        if (read_one(runtime_dir, e->d_name, &list[*ret_count]) == 0)
            ++*ret_count;
        else
            log_warning("%s%s is no record of a migration", path, e->d_name);
    }
    closedir(d);
    return r;
}
