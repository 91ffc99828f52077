/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress.h"
#include "base/format.h"
#include "json-util.h"
#include "output.h"
#include "table.h"
#include <string.h>
#include <sys/ioctl.h>

#define PAGE_BYTES     4096u
#define LINE_MAX_BYTES 1024

void progress_init(struct progress *p, enum progress_mode mode)
{
    *p = (struct progress){.mode = mode, .f = stdout};
}

enum progress_mode progress_mode_for_stdout(void)
{
    const char *term = getenv("TERM");
    if (arg_json)
        return PROGRESS_JSON;
    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 ? PROGRESS_TERMINAL : PROGRESS_LINES;
}

/* Cuts UTF-8 text to width columns, between characters. */
static void clip(char *text, size_t width)
{
    size_t n = 0;
    for (char *p = text; *p; p++)
        if (((unsigned char)*p & 0xc0) != 0x80 && n++ == width) {
            *p = '\0';
            return;
        }
}

void progress_format(struct json_object *status, size_t width, char *figures, char *verdict, size_t size)
{
    /* The most wanted first: what does not fit any more is left out. */
    char part[8][96];
    size_t n = 0;
    const char *phase = json_str(status, "phase");
    uint64_t expected = json_u64(status, "expected-downtime"), left = json_u64(status, "time-remaining");
    snprintf(part[n++], sizeof part[0], "%s, round %llu", phase,
             (unsigned long long)json_u64(status, "round"));
    snprintf(part[n++], sizeof part[0], "%s done", FORMAT_BYTES(json_u64(status, "memory-processed")));
    snprintf(part[n++], sizeof part[0], "%s left", FORMAT_BYTES(json_u64(status, "memory-remaining")));
    snprintf(part[n++], sizeof part[0], "dirty %s", FORMAT_RATE(json_u64(status, "memory-dirty-rate")));
    snprintf(part[n++], sizeof part[0], "sent %s", FORMAT_RATE(json_u64(status, "memory-bandwidth")));
    if (expected)
        snprintf(part[n++], sizeof part[0], "downtime %s", FORMAT_USEC(expected));
    if (left)
        snprintf(part[n++], sizeof part[0], "%s to go", FORMAT_USEC(left));
    size_t used = 0;
    figures[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(part[i]) + (i ? 3 : 0);
        if (used + length > width || used + length >= size)
            continue;
        used += (size_t)snprintf(figures + used, size - used, "%s%s", i ? " | " : "", part[i]);
    }
    cell_text(verdict, size, json_get(status, "verdict"), UNIT_TEXT);
    clip(verdict, width);
}

void progress_clear(struct progress *p)
{
    if (p->shown_lines == 0)
        return;
    fputs("\r\033[J", p->f); /* the cursor stands on the first of the lines */
    p->shown_lines = 0;
    fflush(p->f);
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

/* One line if figures and verdict fit into it, two if not. */
static void show(struct progress *p, struct json_object *status)
{
    char figures[LINE_MAX_BYTES], verdict[LINE_MAX_BYTES];
    size_t width = MAX(terminal_width(), (size_t)20) - 1; /* the last column would wrap on some terminals */
    progress_format(status, width, figures, verdict, sizeof figures);
    progress_clear(p);
    fputs(figures, p->f);
    if (strcmp(verdict, "-") == 0) {
        p->shown_lines = 1;
    } else if (strlen(figures) + 3 + strlen(verdict) <= width) {
        fprintf(p->f, " | %s", verdict);
        p->shown_lines = 1;
    } else {
        fprintf(p->f, "\n%s\033[A", verdict);
        p->shown_lines = 2;
    }
    fputc('\r', p->f);
    fflush(p->f);
}

static void event_line(const char *event, struct json_object *values)
{
    _cleanup_json_ struct json_object *line = json_object_new_object();
    if (!line)
        return;
    json_object_object_add(line, "event", json_object_new_string(event));
    json_object_object_foreach(values, key, value) json_object_object_add(line, key, json_object_get(value));
    output_json_line(line);
}

void progress_update(struct progress *p, struct json_object *status)
{
    if (p->mode == PROGRESS_TERMINAL)
        show(p, status);
    else if (p->mode == PROGRESS_JSON)
        event_line("progress", status);
}

static void round_line(FILE *f, struct json_object *round)
{
    char verdict[LINE_MAX_BYTES];
    uint64_t expected = json_u64(round, "expected-downtime");
    fprintf(f, "round %llu: %s in %s (%s), dirty %s (%s)", (unsigned long long)json_u64(round, "round"),
            FORMAT_BYTES(json_u64(round, "bytes")), FORMAT_USEC(json_u64(round, "duration")),
            FORMAT_RATE(json_u64(round, "bandwidth")),
            FORMAT_BYTES(json_u64(round, "dirty-pages") * PAGE_BYTES),
            FORMAT_RATE(json_u64(round, "dirty-rate")));
    if (expected)
        fprintf(f, ", expected downtime %s", FORMAT_USEC(expected));
    cell_text(verdict, sizeof verdict, json_get(round, "verdict"), UNIT_TEXT);
    if (strcmp(verdict, "-") != 0)
        fprintf(f, ": %s", verdict);
    fputc('\n', f);
    fflush(f);
}

void progress_round(struct progress *p, struct json_object *round)
{
    if (p->mode == PROGRESS_JSON)
        event_line("round", round);
    else if (p->mode == PROGRESS_LINES)
        round_line(p->f, round);
}
