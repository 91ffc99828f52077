/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* simdev-check: was every write of the device kept? */
#include "check.h"
#include "sizes.h"
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char help_text[] =
    "Usage: simdev-check --memory FILE[@OFFSET]:IOVA:SIZE... --journal FILE... [--json]\n"
    "\n"
    "Judges every page of memory that simdev wrote to, by the journals of all simdev processes that wrote "
    "there.\n"
    "The writers must have ended or stand still.\n"
    "\n"
    "  --memory FILE[@OFFSET]:IOVA:SIZE  memory that was mapped at IOVA: a file, or /proc/PID/fd/N for a "
    "memfd; may be\n"
    "                           repeated, also for memory that was mapped at several addresses\n"
    "  --journal FILE           what --journal of simdev made: source first, then destination; several "
    "devices may\n"
    "                           be mixed, each is judged alone\n"
    "  --killed                 a writer was killed: accept one write that is ahead of its journal\n"
    "  --by-offset              addresses were mapped to other memory meanwhile: a write counts for the "
    "memory that was\n"
    "                           mapped at the same offset of its file, at the source and at the destination\n"
    "  --silent-ok              a process that wrote nothing at all is no fault\n"
    "  --json                   print an object\n"
    "  --help, --version\n"
    "\n"
    "Right is: every page holds the newest record that any journal names for it, with the right device, "
    "address and\n"
    "checksum; and the sequence numbers go on from one process to the next without gap or repeat.\n"
    "Exit code: 0 all is right, 1 it is not, 2 wrong usage.\n";

enum {
    OPT_MEMORY = 256,
    OPT_JOURNAL,
    OPT_KILLED,
    OPT_BY_OFFSET,
    OPT_SILENT_OK,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"journal", required_argument, NULL, OPT_JOURNAL},
    {"killed", no_argument, NULL, OPT_KILLED},
    {"by-offset", no_argument, NULL, OPT_BY_OFFSET},
    {"silent-ok", no_argument, NULL, OPT_SILENT_OK},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {},
};

static bool arg_json;

/* Cuts FILE[@OFFSET]:IOVA:SIZE, from the right, for a path may contain anything. */
static int add_memory(struct check *c, char *text, struct mig_error *err)
{
    struct check_memory m = {.path = text, .fd = -1};
    char *size_colon = strrchr(text, ':');
    if (size_colon)
        *size_colon = '\0';
    char *iova_colon = size_colon ? strrchr(text, ':') : NULL;
    if (iova_colon)
        *iova_colon = '\0';
    if (!iova_colon || parse_size(iova_colon + 1, &m.iova) < 0 || parse_size(size_colon + 1, &m.size) < 0 ||
        !m.size)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "--memory must be FILE[@OFFSET]:IOVA:SIZE");
    char *at = strrchr(text, '@');
    if (at && parse_size(at + 1, &m.offset) == 0)
        *at = '\0';
    struct stat st;
    m.fd = open(text, O_RDONLY | O_CLOEXEC);
    if (m.fd < 0 || fstat(m.fd, &st) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot open %s: %m", text);
    m.dev = st.st_dev;
    m.ino = st.st_ino;
    struct check_memory *more = reallocarray(c->memories, c->n_memories + 1, sizeof m);
    if (!more)
        return mig_error_oom(err);
    c->memories = more;
    c->memories[c->n_memories++] = m;
    return 0;
}

static int add_journal(struct check *c, const char *path, struct mig_error *err)
{
    struct check_journal j = {.path = path};
    int r = journal_view_open(&j.view, path, err);
    if (r < 0)
        return r;
    struct check_journal *more = reallocarray(c->journals, c->n_journals + 1, sizeof j);
    if (!more)
        return mig_error_oom(err);
    c->journals = more;
    c->journals[c->n_journals++] = j;
    return 0;
}

/* 0, 1 for help, or -errno with err. */
static int parse(struct check *c, int argc, char **argv, struct mig_error *err)
{
    int option, r = 0;
    while (r == 0 && (option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
        switch (option) {
        case OPT_MEMORY:
            r = add_memory(c, optarg, err);
            break;
        case OPT_JOURNAL:
            r = add_journal(c, optarg, err);
            break;
        case OPT_KILLED:
            c->killed = true;
            break;
        case OPT_BY_OFFSET:
            c->by_offset = true;
            break;
        case OPT_SILENT_OK:
            c->silent_ok = true;
            break;
        case OPT_JSON:
            arg_json = true;
            break;
        case OPT_HELP:
            fputs(help_text, stdout);
            return 1;
        case OPT_VERSION:
            puts("simdev-check " VERSION);
            return 1;
        default:
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "--help lists the options");
        }
    }
    if (r == 0 && (optind < argc || !c->n_memories || !c->n_journals))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "at least one --memory and one --journal, and nothing else");
    return r;
}

static json_object *json_number(uint64_t n)
{
    return json_object_new_uint64(n);
}

static void print_json(const struct check *c)
{
    json_object *o = json_object_new_object(), *bad = json_object_new_array(),
                *journals = json_object_new_array();
    json_object_object_add(o, "ok", json_object_new_boolean(check_passed(c)));
    json_object_object_add(o, "pages", json_number(c->pages));
    json_object_object_add(o, "judged", json_number(c->judged));
    json_object_object_add(o, "bad", json_number(c->n_bad));
    json_object_object_add(o, "ahead", json_number(c->ahead));
    for (uint64_t i = 0; i < MIN(c->n_bad, (uint64_t)CHECK_BAD_SHOWN); i++) {
        const struct check_bad *b = &c->bad[i];
        json_object *p = json_object_new_object();
        json_object_object_add(p, "iova", json_number(b->iova));
        json_object_object_add(p, "device", json_number(b->device_id));
        json_object_object_add(p, "expected", json_number(b->expected));
        json_object_object_add(p, "found", json_number(b->found));
        json_object_object_add(p, "why", json_object_new_string(b->why));
        json_object_array_add(bad, p);
    }
    json_object_object_add(o, "bad_pages", bad);
    for (size_t i = 0; i < c->n_journals; i++) {
        const struct journal_header *h = c->journals[i].view.header;
        json_object *p = json_object_new_object();
        json_object_object_add(p, "file", json_object_new_string(c->journals[i].path));
        json_object_object_add(p, "device", json_number(h->device_id));
        json_object_object_add(p, "first", json_number(h->first));
        json_object_object_add(p, "last", json_number(h->last));
        json_object_array_add(journals, p);
    }
    json_object_object_add(o, "journals", journals);
    json_object_object_add(o, "continues", json_object_new_boolean(c->chain_right));
    if (!c->chain_right)
        json_object_object_add(o, "why", json_object_new_string(c->chain_why));
    puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
    json_object_put(o);
}

static void print_text(const struct check *c)
{
    for (uint64_t i = 0; i < MIN(c->n_bad, (uint64_t)CHECK_BAD_SHOWN); i++) {
        const struct check_bad *b = &c->bad[i];
        printf("bad: iova 0x%llx device %u: %s (expected %llu, found %llu)\n", (unsigned long long)b->iova,
               b->device_id, b->why, (unsigned long long)b->expected, (unsigned long long)b->found);
    }
    if (!c->chain_right)
        printf("broken sequence: %s\n", c->chain_why);
    printf("%llu pages, %llu with records judged, %llu bad: %s\n", (unsigned long long)c->pages,
           (unsigned long long)c->judged, (unsigned long long)c->n_bad,
           check_passed(c) ? "all is right" : "NOT right");
}

static void free_all(struct check *c)
{
    for (size_t i = 0; i < c->n_memories; i++)
        close_fd(&c->memories[i].fd);
    for (size_t i = 0; i < c->n_journals; i++)
        journal_view_close(&c->journals[i].view);
    free(c->memories);
    free(c->journals);
}

int main(int argc, char **argv)
{
    struct check c = {};
    struct mig_error err = MIG_ERROR_INIT;
    int r = parse(&c, argc, argv, &err), code = MIGD_EXIT_DONE;
    bool usage = r < 0;
    if (r == 0)
        r = check_run(&c, &err);
    if (r < 0) {
        fprintf(stderr, "simdev-check: %s\n", err.message);
        code = usage ? MIGD_EXIT_USAGE : MIGD_EXIT_FAILED;
    } else if (r == 0) {
        if (arg_json)
            print_json(&c);
        else
            print_text(&c);
        code = check_passed(&c) ? MIGD_EXIT_DONE : MIGD_EXIT_FAILED;
    }
    free_all(&c);
    return code;
}
