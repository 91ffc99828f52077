/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-spec.h"
#include "domain-items.h"
#include <stdio.h>
#include <string.h>

static int grow(void **list, size_t *n, size_t item_size, const char *what, void **ret, struct mig_error *err)
{
    if (*n >= SPEC_ITEMS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "%s: more than %u", what, SPEC_ITEMS_MAX);
    void *p = realloc(*list, (*n + 1) * item_size);
    if (!p)
        return mig_error_oom(err);
    *list = p;
    *ret = (char *)p + *n * item_size;
    memset(*ret, 0, item_size);
    (*n)++;
    return 0;
}

int domain_spec_new_item(struct domain_spec *spec, const struct field_table *table, void **ret,
                         struct mig_error *err)
{
    int r;
    if (table == &memory_fields)
        return grow((void **)&spec->memory, &spec->n_memory, sizeof *spec->memory, table->what, ret, err);
    if (table == &tracker_fields)
        return grow((void **)&spec->trackers, &spec->n_trackers, sizeof *spec->trackers, table->what, ret,
                    err);
    if (table == &container_fields) {
        r = grow((void **)&spec->containers, &spec->n_containers, sizeof *spec->containers, table->what, ret,
                 err);
        if (r == 0)
            ((struct spec_container *)*ret)->map = true;
        return r;
    }
    r = grow((void **)&spec->devices, &spec->n_devices, sizeof *spec->devices, table->what, ret, err);
    if (r == 0)
        ((struct spec_device *)*ret)->precopy = ((struct spec_device *)*ret)->map =
            ((struct spec_device *)*ret)->state = true;
    return r;
}

/* Cuts the next "key=value" or "flag" off *at, with ,, as a comma. NULL at the end, or when memory is short.
 */
static char *next_part(const char **at)
{
    const char *p = *at;
    if (!p)
        return NULL;
    char *part = malloc(strlen(p) + 1), *to = part;
    if (!part)
        return NULL;
    while (*p && (p[0] != ',' || p[1] == ',')) {
        if (p[0] == ',')
            p++;
        *to++ = *p++;
    }
    *to = '\0';
    *at = *p ? p + 1 : NULL;
    return part;
}

static int read_keys(const struct field_table *table, void *item, const char *place, const char *text,
                     struct mig_error *err)
{
    const char *at = text;
    while (at) {
        _cleanup_free_ char *part = next_part(&at);
        if (!part)
            return mig_error_oom(err);
        char *equals = strchr(part, '=');
        int r;
        if (equals) {
            *equals = '\0';
            r = field_set_text(table, item, place, part, equals + 1, err);
        } else {
            r = field_set_flag(table, item, place, part, err);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_item(struct domain_spec *spec, const struct field_table *table, const char *text,
                    struct mig_error *err)
{
    char place[32];
    void *item;
    snprintf(place, sizeof place, "--%s", table->what);
    int r = domain_spec_new_item(spec, table, &item, err);
    return r < 0 ? r : read_keys(table, item, place, text, err);
}

int domain_spec_add_memory(struct domain_spec *spec, const char *text, struct mig_error *err)
{
    return add_item(spec, &memory_fields, text, err);
}

int domain_spec_add_container(struct domain_spec *spec, const char *text, struct mig_error *err)
{
    return add_item(spec, &container_fields, text, err);
}

int domain_spec_add_device(struct domain_spec *spec, const char *text, struct mig_error *err)
{
    return add_item(spec, &device_fields, text, err);
}

int domain_spec_add_tracker(struct domain_spec *spec, const char *text, struct mig_error *err)
{
    return add_item(spec, &tracker_fields, text, err);
}

int domain_spec_set_controller(struct domain_spec *spec, const char *text, struct mig_error *err)
{
    struct spec_controller *c = &spec->controller;
    if (c->type)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "--controller: the domain file has a controller already");
    /* The path follows the last colon, since a unique name has one itself (:1.42). */
    const char *colon = strncmp(text, "dbus:", 5) == 0 ? strrchr(text + 5, ':') : NULL;
    if (colon && colon > text + 5 && colon[1] == '/') {
        c->type = strdup("dbus");
        c->bus_name = strndup(text + 5, (size_t)(colon - text) - 5);
        c->path = strdup(colon + 1);
        return c->type && c->bus_name && c->path ? 0 : mig_error_oom(err);
    }
    if (strcmp(text, "none") == 0) {
        c->type = strdup("none");
        return c->type ? 0 : mig_error_oom(err);
    }
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                         "--controller: \"%.64s\" is neither none nor dbus:BUSNAME:PATH", text);
}

void domain_spec_done(struct domain_spec *spec)
{
    for (size_t i = 0; i < spec->n_memory; i++) {
        free(spec->memory[i].name);
        free(spec->memory[i].path);
        free(spec->memory[i].seen);
    }
    for (size_t i = 0; i < spec->n_containers; i++) {
        free(spec->containers[i].name);
        free(spec->containers[i].seen);
    }
    free(spec->containers);
    for (size_t i = 0; i < spec->n_devices; i++) {
        struct spec_device *d = &spec->devices[i];
        char *texts[] = {d->name, d->type,    d->socket,    d->listen,   d->tracker,
                         d->seen, d->address, d->interface, d->container};
        for (size_t k = 0; k < ELEMENTS(texts); k++)
            free(texts[k]);
    }
    for (size_t i = 0; i < spec->n_trackers; i++) {
        struct spec_tracker *t = &spec->trackers[i];
        char *texts[] = {t->name, t->type, t->memory, t->path};
        for (size_t k = 0; k < ELEMENTS(texts); k++)
            free(texts[k]);
    }
    free(spec->qmp);
    free(spec->cpu_tracker);
    free(spec->controller.type);
    free(spec->controller.bus_name);
    free(spec->controller.path);
    free(spec->name);
    free(spec->memory);
    free(spec->devices);
    free(spec->trackers);
    *spec = (struct domain_spec){0};
}
