/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "table.h"
#include "base/format.h"
#include "json-util.h"
#include "output.h"
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define CELL_MAX          512
#define FIELD_TITLE_WIDTH 20

/* Columns that UTF-8 text takes on a terminal, near enough: one for each code point. */
static size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void one_address(char *buf, size_t size, struct json_object *v)
{
    if (json_object_is_type(v, json_type_int))
        snprintf(buf, size, "0x%" PRIx64, json_object_get_uint64(v));
    else
        snprintf(buf, size, "%s", json_object_get_string(v));
}

static void join(char *buf, size_t size, struct json_object *array, char unit)
{
    size_t used = 0;
    for (size_t i = 0; i < json_length(array) && used < size; i++) {
        char one[128];
        if (unit == UNIT_ADDRESS)
            one_address(one, sizeof one, json_object_array_get_idx(array, i));
        else
            snprintf(one, sizeof one, "%s", json_object_get_string(json_object_array_get_idx(array, i)));
        used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? " " : "", one);
    }
}

static void realtime(char *buf, size_t size, uint64_t usec)
{
    time_t seconds = (time_t)(usec / 1000000);
    struct tm tm;
    if (!usec || !localtime_r(&seconds, &tm) || !strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm))
        snprintf(buf, size, "-");
}

static void number(char *buf, size_t size, uint64_t v, char unit)
{
    switch (unit) {
    case MIGD_UNIT_BYTES:
        snprintf(buf, size, "%s", FORMAT_BYTES(v));
        break;
    case MIGD_UNIT_USEC:
        snprintf(buf, size, "%s", FORMAT_USEC(v));
        break;
    case MIGD_UNIT_RATE:
        snprintf(buf, size, "%s", FORMAT_RATE(v));
        break;
    case MIGD_UNIT_MILLI:
        snprintf(buf, size, "%" PRIu64 ".%02" PRIu64, v / 1000, v % 1000 / 10);
        break;
    case UNIT_ADDRESS:
        snprintf(buf, size, "0x%" PRIx64, v);
        break;
    case UNIT_REALTIME:
        realtime(buf, size, v);
        break;
    default:
        snprintf(buf, size, "%" PRIu64, v);
    }
}

char *cell_text(char *buf, size_t size, struct json_object *value, char unit)
{
    buf[0] = '\0';
    switch (json_object_get_type(value)) {
    case json_type_int:
        if (json_object_get_int64(value) < 0)
            snprintf(buf, size, "%" PRId64, json_object_get_int64(value));
        else
            number(buf, size, json_object_get_uint64(value), unit);
        break;
    case json_type_boolean:
        snprintf(buf, size, "%s", json_object_get_boolean(value) ? "yes" : "no");
        break;
    case json_type_string:
        snprintf(buf, size, "%s", json_object_get_string(value));
        break;
    case json_type_array:
        join(buf, size, value, unit);
        break;
    default:
        break;
    }
    output_make_safe(buf);
    if (!buf[0])
        snprintf(buf, size, "-");
    return buf;
}

static bool align_right(char unit)
{
    return unit == MIGD_UNIT_BYTES || unit == MIGD_UNIT_USEC || unit == MIGD_UNIT_RATE ||
           unit == MIGD_UNIT_PAGES || unit == MIGD_UNIT_COUNT || unit == MIGD_UNIT_MILLI;
}

static void put_cell(FILE *f, const char *text, size_t width, bool right, bool last)
{
    size_t have = text_width(text), pad = have < width ? width - have : 0;
    if (right)
        fprintf(f, "%*s%s%s", (int)pad, "", text, last ? "" : "  ");
    else
        fprintf(f, "%s%*s", text, last ? 0 : (int)pad + 2, "");
}

void table_print(FILE *f, unsigned indent, const struct column *columns, size_t n, struct json_object *rows)
{
    size_t width[32];
    char text[CELL_MAX];
    n = MIN(n, ELEMENTS(width));
    for (size_t c = 0; c < n; c++) {
        width[c] = text_width(columns[c].title);
        for (size_t i = 0; i < json_length(rows); i++) {
            struct json_object *row = json_object_array_get_idx(rows, i);
            cell_text(text, sizeof text, json_get(row, columns[c].key), columns[c].unit);
            width[c] = MAX(width[c], text_width(text));
        }
    }
    fprintf(f, "%*s", (int)indent, "");
    for (size_t c = 0; c < n; c++)
        put_cell(f, columns[c].title, width[c], align_right(columns[c].unit), c + 1 == n);
    fputc('\n', f);
    for (size_t i = 0; i < json_length(rows); i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        fprintf(f, "%*s", (int)indent, "");
        for (size_t c = 0; c < n; c++) {
            cell_text(text, sizeof text, json_get(row, columns[c].key), columns[c].unit);
            put_cell(f, text, width[c], align_right(columns[c].unit), c + 1 == n);
        }
        fputc('\n', f);
    }
}

void fields_print(FILE *f, unsigned indent, const struct column *fields, size_t n, struct json_object *object)
{
    for (size_t i = 0; i < n; i++) {
        struct json_object *value = json_get(object, fields[i].key);
        char text[CELL_MAX], title[64];
        if (strcmp(cell_text(text, sizeof text, value, fields[i].unit), "-") == 0)
            continue;
        snprintf(title, sizeof title, "%s:", fields[i].title);
        fprintf(f, "%*s%-*s %s\n", (int)indent, "", FIELD_TITLE_WIDTH, title, text);
    }
}
