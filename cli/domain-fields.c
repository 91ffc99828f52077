/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-fields.h"
#include "base/parse.h"
#include "json-util.h"
#include "suggest.h"
#include <stdio.h>
#include <string.h>

static const struct field memory_keys[] = {
    {"name", FORM_TEXT, offsetof(struct spec_memory, name)},
    {"path", FORM_TEXT, offsetof(struct spec_memory, path)},
    {"make", FORM_BOOL, offsetof(struct spec_memory, make)},
    {"offset", FORM_SIZE, offsetof(struct spec_memory, offset)},
    {"size", FORM_SIZE, offsetof(struct spec_memory, size_bytes)},
    {"iova", FORM_IOVAS, offsetof(struct spec_memory, iova)},
    {"read-only", FORM_BOOL, offsetof(struct spec_memory, read_only)},
    {"hugepages", FORM_SIZE, offsetof(struct spec_memory, hugepages_bytes)},
    {"numa-node", FORM_NUMBER, offsetof(struct spec_memory, numa_node)},
    {"pid", FORM_NUMBER, offsetof(struct spec_memory, pid)},
    {"fd", FORM_NUMBER, offsetof(struct spec_memory, fd)},
};
static const struct field device_keys[] = {
    {"name", FORM_TEXT, offsetof(struct spec_device, name)},
    {"type", FORM_TEXT, offsetof(struct spec_device, type)},
    {"socket", FORM_TEXT, offsetof(struct spec_device, socket)},
    {"listen", FORM_TEXT, offsetof(struct spec_device, listen)},
    {"timeout", FORM_USEC, offsetof(struct spec_device, timeout_usec)},
    {"tracker", FORM_TEXT, offsetof(struct spec_device, tracker)},
    {"log-page-size", FORM_SIZE, offsetof(struct spec_device, log_page_size)},
    {"precopy", FORM_BOOL, offsetof(struct spec_device, precopy)},
    {"map", FORM_BOOL, offsetof(struct spec_device, map)},
    {"pid", FORM_NUMBER, offsetof(struct spec_device, pid)},
    {"fd", FORM_NUMBER, offsetof(struct spec_device, fd)},
    {"address", FORM_TEXT, offsetof(struct spec_device, address)},
    {"interface", FORM_TEXT, offsetof(struct spec_device, interface)},
    {"container", FORM_TEXT, offsetof(struct spec_device, container)},
    {"dirty-tracking", FORM_BOOL, offsetof(struct spec_device, dirty_tracking)},
    {"split", FORM_BOOL, offsetof(struct spec_device, split)},
    {"own-hwpt", FORM_BOOL, offsetof(struct spec_device, own_hwpt)},
    {"map-memory", FORM_BOOL, offsetof(struct spec_device, map_memory)},
    {"state", FORM_BOOL, offsetof(struct spec_device, state)},
};
static const struct field container_keys[] = {
    {"name", FORM_TEXT, offsetof(struct spec_container, name)},
    {"pid", FORM_NUMBER, offsetof(struct spec_container, pid)},
    {"fd", FORM_NUMBER, offsetof(struct spec_container, fd)},
    {"ioas", FORM_NUMBER, offsetof(struct spec_container, ioas)},
    {"hwpt", FORM_NUMBER, offsetof(struct spec_container, hwpt)},
    {"map", FORM_BOOL, offsetof(struct spec_container, map)},
};
static const struct field tracker_keys[] = {
    {"name", FORM_TEXT, offsetof(struct spec_tracker, name)},
    {"type", FORM_TEXT, offsetof(struct spec_tracker, type)},
    {"memory", FORM_TEXT, offsetof(struct spec_tracker, memory)},
    {"path", FORM_TEXT, offsetof(struct spec_tracker, path)},
    {"offset", FORM_SIZE, offsetof(struct spec_tracker, offset)},
    {"page-size", FORM_SIZE, offsetof(struct spec_tracker, page_size)},
    {"pid", FORM_NUMBER, offsetof(struct spec_tracker, pid)},
    {"fd", FORM_NUMBER, offsetof(struct spec_tracker, fd)},
    {"address", FORM_ADDRESS, offsetof(struct spec_tracker, address)},
};
static const struct field controller_keys[] = {
    {"type", FORM_TEXT, offsetof(struct spec_controller, type)},
    {"bus-name", FORM_TEXT, offsetof(struct spec_controller, bus_name)},
    {"path", FORM_TEXT, offsetof(struct spec_controller, path)},
    {"timeout", FORM_USEC, offsetof(struct spec_controller, timeout_usec)},
};
const struct field_table memory_fields = {"memory", memory_keys, ELEMENTS(memory_keys),
                                          offsetof(struct spec_memory, has),
                                          offsetof(struct spec_memory, n_iova)};
const struct field_table container_fields = {"container", container_keys, ELEMENTS(container_keys),
                                             offsetof(struct spec_container, has), 0};
const struct field_table device_fields = {"device", device_keys, ELEMENTS(device_keys),
                                          offsetof(struct spec_device, has), 0};
const struct field_table tracker_fields = {"tracker", tracker_keys, ELEMENTS(tracker_keys),
                                           offsetof(struct spec_tracker, has), 0};
const struct field_table controller_fields = {"controller", controller_keys, ELEMENTS(controller_keys),
                                              offsetof(struct spec_controller, has), 0};

static const char *const form_wanted[] = {
    [FORM_TEXT] = "a text",
    [FORM_BOOL] = "true or false",
    [FORM_SIZE] = "a size: bytes, or a text like \"1G\"",
    [FORM_USEC] = "a time: microseconds, or a text like \"5s\" or \"300ms\"",
    [FORM_ADDRESS] = "an address: a number, or a text like \"0x100000\"",
    [FORM_NUMBER] = "a whole number",
    [FORM_IOVAS] = "a list of addresses like [\"0x0\", \"0x100000000\"]",
};

static const struct field *find_key(const struct field_table *table, const char *key)
{
    for (size_t i = 0; i < table->n; i++)
        if (strcmp(table->fields[i].key, key) == 0)
            return &table->fields[i];
    return NULL;
}

static int unknown_key(const struct field_table *table, const char *place, const char *key,
                       struct mig_error *err)
{
    const char *near = suggest_nearest(key, table->fields, sizeof table->fields[0], table->n);
    if (near)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s.%.64s: unknown key, did you mean \"%s\"?",
                             place, key, near);
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s.%.64s: unknown key", place, key);
    char list[200] = "";
    for (size_t i = 0, n = 0; i < table->n && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", table->fields[i].key);
    mig_error_hint(err, "The keys of a %s are: %s", table->what, list);
    return r;
}

static int bad_value(const char *place, const struct field *field, int r, struct mig_error *err)
{
    if (r == -ERANGE)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ERANGE, "%s.%s: the value is too large", place,
                             field->key);
    if (r == -ENOMEM)
        return mig_error_oom(err);
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s.%s: must be %s", place, field->key,
                         form_wanted[field->form]);
}

bool field_given(const struct field_table *table, const void *item, const char *key)
{
    const struct field *field = find_key(table, key);
    const uint64_t *has = (const uint64_t *)((const char *)item + table->has_offset);
    return field && (*has & (UINT64_C(1) << (field - table->fields)));
}

/* The key's field, marked as given. */
static int claim(const struct field_table *table, void *item, const char *place, const char *key, bool again,
                 const struct field **ret, struct mig_error *err)
{
    const struct field *field = find_key(table, key);
    if (!field)
        return unknown_key(table, place, key, err);
    uint64_t *has = (uint64_t *)((char *)item + table->has_offset), bit = UINT64_C(1)
                                                                          << (field - table->fields);
    if ((*has & bit) && !again)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s.%s: given twice", place, key);
    *has |= bit;
    *ret = field;
    return 0;
}

static int number_from_text(enum field_form form, const char *text, uint64_t *ret)
{
    switch (form) {
    case FORM_SIZE:
        return parse_size(text, ret);
    case FORM_USEC:
        return parse_usec(text, ret);
    case FORM_NUMBER:
        return parse_unsigned(text, INT32_MAX, ret);
    default:
        return parse_address(text, ret);
    }
}

static int number_from_json(enum field_form form, struct json_object *value, uint64_t *ret)
{
    if (json_object_is_type(value, json_type_string))
        return form == FORM_NUMBER ? -EINVAL : number_from_text(form, json_object_get_string(value), ret);
    /* json-c keeps a negative number as int64 and answers 0 for it as uint64. */
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return -EINVAL;
    uint64_t number = json_object_get_uint64(value);
    /* json-c answers UINT64_MAX for everything larger. */
    if (number == UINT64_MAX || (form == FORM_NUMBER && number > INT32_MAX))
        return -ERANGE;
    *ret = number;
    return 0;
}

static int set_text(char **slot, const char *text)
{
    char *copy = text[0] ? strdup(text) : NULL;
    if (!copy)
        return text[0] ? -ENOMEM : -EINVAL;
    free(*slot);
    *slot = copy;
    return 0;
}

static int add_iova(const struct field_table *table, void *item, const struct field *field, uint64_t iova)
{
    uint64_t *list = (uint64_t *)((char *)item + field->offset);
    size_t *n = (size_t *)((char *)item + table->n_iova_offset);
    if (*n >= SPEC_IOVAS_MAX)
        return -ERANGE;
    list[(*n)++] = iova;
    return 0;
}

int field_set_json(const struct field_table *table, void *item, const char *place, const char *key,
                   struct json_object *value, struct mig_error *err)
{
    const struct field *field;
    int r = claim(table, item, place, key, false, &field, err);
    if (r < 0)
        return r;
    void *slot = (char *)item + field->offset;
    switch (field->form) {
    case FORM_TEXT:
        r = json_object_is_type(value, json_type_string) ? set_text(slot, json_object_get_string(value))
                                                         : -EINVAL;
        break;
    case FORM_BOOL:
        r = json_object_is_type(value, json_type_boolean) ? 0 : -EINVAL;
        if (r == 0)
            *(bool *)slot = json_object_get_boolean(value);
        break;
    case FORM_IOVAS:
        r = json_object_is_type(value, json_type_array) ? 0 : -EINVAL;
        for (size_t i = 0; r == 0 && i < json_length(value); i++) {
            uint64_t iova;
            r = number_from_json(FORM_ADDRESS, json_object_array_get_idx(value, i), &iova);
            if (r == 0)
                r = add_iova(table, item, field, iova);
        }
        break;
    default:
        r = number_from_json(field->form, value, slot);
    }
    return r < 0 ? bad_value(place, field, r, err) : 0;
}

int field_set_text(const struct field_table *table, void *item, const char *place, const char *key,
                   const char *value, struct mig_error *err)
{
    const struct field *field = find_key(table, key);
    int r = claim(table, item, place, key, field && field->form == FORM_IOVAS, &field, err);
    if (r < 0)
        return r;
    void *slot = (char *)item + field->offset;
    uint64_t iova;
    switch (field->form) {
    case FORM_TEXT:
        r = set_text(slot, value);
        break;
    case FORM_BOOL:
        r = parse_bool(value, slot);
        break;
    case FORM_IOVAS:
        r = parse_address(value, &iova);
        if (r == 0)
            r = add_iova(table, item, field, iova);
        break;
    default:
        r = number_from_text(field->form, value, slot);
    }
    if (r == -EINVAL)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s.%s: \"%.64s\" is not %s", place, key,
                             value,
                             field->form == FORM_TEXT     ? "a name"
                             : field->form == FORM_BOOL   ? "yes or no"
                             : field->form == FORM_SIZE   ? "a size like 4096, 64K or 1G"
                             : field->form == FORM_USEC   ? "a time like 300ms or 5s"
                             : field->form == FORM_NUMBER ? "a whole number"
                                                          : "an address like 0x100000");
    return r < 0 ? bad_value(place, field, r, err) : 0;
}

int field_set_flag(const struct field_table *table, void *item, const char *place, const char *flag,
                   struct mig_error *err)
{
    bool no = strncmp(flag, "no-", 3) == 0;
    const char *key = no ? flag + 3 : flag;
    const struct field *field = find_key(table, key);
    if (!field)
        return unknown_key(table, place, flag, err);
    if (field->form != FORM_BOOL)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s.%s: needs a value: %s=...", place, key,
                             key);
    int r = claim(table, item, place, key, false, &field, err);
    if (r < 0)
        return r;
    *(bool *)((char *)item + field->offset) = !no;
    return 0;
}
