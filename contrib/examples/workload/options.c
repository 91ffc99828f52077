/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"
#include "record.h"
#include "../common/size.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "migd-example-vmm [OPTIONS]\n"
    "The smallest VMM that migd can move: memory, threads that write it, a log of what they wrote, and the "
    "interface\n"
    "org.migd.Migd1.Vmm. Prints one line of JSON with what is needed to register it, then a line per "
    "event.\n\n"
    "Memory:\n"
    "  --size SIZE            how much (64M)\n"
    "  --memory PATH          a file on tmpfs or hugetlbfs; without it a memfd\n"
    "  --hugepages SIZE       the memfd is on huge pages of this size (2M, 1G)\n"
    "  --open DOMAIN/MEMORY   memory that migd has for a registered domain\n"
    "  --fill-from DIR        fill it with the files below DIR (the source does this)\n"
    "CPU threads:\n"
    "  --threads N            1 to 16 (2)\n"
    "  --rate N               pages written per second, all threads together (20000)\n"
    "  --span SIZE            they write the first SIZE of the memory only (all)\n"
    "  --seed N               of the choice of pages\n"
    "  --track KIND           how their writes are known: cpu-log (default), uffd, none\n"
    "  --log PATH             file of the cpu-log; without it a memfd\n"
    "  --incoming             wait paused for a migration: LoadState and Resume\n"
    "  --journal PATH         keep a journal of what was written, for --check\n"
    "Registration (without it, do it with `migctl register`):\n"
    "  --register NAME        register the domain NAME with migd\n"
    "  --device name=N,socket=PATH[,tracker=device|all][,log-page-size=SIZE][,precopy=no]\n"
    "  --iova ADDRESS         where devices see the memory (0)\n"
    "  --make                 with --incoming: let migd make the memory\n"
    "  --bus-name NAME        also own this name on the bus ($MIGD_BUS_ADDRESS, or the system bus)\n"
    "Afterwards:\n"
    "  --check --memory PATH [--offset N] [--size SIZE] --journal PATH [--source-journal PATH]\n"
    "                         judge the memory by the journals; exit 0 when every write is there\n";

/* "name=a,socket=b,..."; text is cut into pieces. */
static int device(struct device_option *d, char *text)
{
    char *save = NULL;
    *d = (struct device_option){.tracker = "device", .log_page_bytes = 4096, .precopy = true};
    for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        char *value = strchr(item, '=');
        if (!value)
            return -EINVAL;
        *value++ = 0;
        if (!strcmp(item, "name"))
            d->name = value;
        else if (!strcmp(item, "socket"))
            d->socket = value;
        else if (!strcmp(item, "tracker"))
            d->tracker = value;
        else if (!strcmp(item, "precopy"))
            d->precopy = strcmp(value, "no") != 0;
        else if (strcmp(item, "log-page-size") || size_parse(value, &d->log_page_bytes) < 0)
            return -EINVAL;
    }
    return d->name && d->socket ? 0 : -EINVAL;
}

enum {
    OPT_SIZE = 256,
    OPT_MEMORY,
    OPT_HUGE,
    OPT_OPEN,
    OPT_FILL,
    OPT_THREADS,
    OPT_RATE,
    OPT_SPAN,
    OPT_SEED,
    OPT_TRACK,
    OPT_LOG,
    OPT_INCOMING,
    OPT_JOURNAL,
    OPT_REGISTER,
    OPT_DEVICE,
    OPT_IOVA,
    OPT_MAKE,
    OPT_BUS_NAME,
    OPT_CHECK,
    OPT_OFFSET,
    OPT_SOURCE_JOURNAL,
    OPT_HELP,
};

static int track(struct options *o, const char *word)
{
    static const char *const words[] = {"none", "cpu-log", "uffd"};
    for (unsigned i = 0; i < 3; i++)
        if (!strcmp(word, words[i])) {
            o->track = (enum track_kind)i;
            return 0;
        }
    return -EINVAL;
}

static int take(struct options *o, int option, char *value)
{
    uint64_t n = 0;
    switch (option) {
    case OPT_SIZE:
        return size_parse(value, &o->size);
    case OPT_MEMORY:
        o->memory_path = value;
        return 0;
    case OPT_HUGE:
        return size_parse(value, &o->huge_bytes);
    case OPT_OPEN:
        o->open_memory = strchr(value, '/');
        if (!o->open_memory)
            return -EINVAL;
        *o->open_memory++ = 0;
        o->open_domain = value;
        return 0;
    case OPT_FILL:
        o->fill_dir = value;
        return 0;
    case OPT_THREADS:
        if (size_parse(value, &n) < 0 || n < 1 || n > RECORD_SLOTS)
            return -EINVAL;
        o->threads = (unsigned)n;
        return 0;
    case OPT_RATE:
        return size_parse(value, &o->rate);
    case OPT_SPAN:
        return size_parse(value, &o->span);
    case OPT_SEED:
        return size_parse(value, &o->seed);
    case OPT_TRACK:
        return track(o, value);
    case OPT_LOG:
        o->log_path = value;
        return 0;
    case OPT_INCOMING:
        o->incoming = true;
        return 0;
    case OPT_JOURNAL:
        o->journal = value;
        return 0;
    case OPT_REGISTER:
        o->register_name = value;
        return 0;
    case OPT_DEVICE:
        return o->n_devices < DEVICES_MAX ? device(&o->devices[o->n_devices++], value) : -EINVAL;
    case OPT_IOVA:
        return size_parse(value, &o->iova);
    case OPT_MAKE:
        o->make = true;
        return 0;
    case OPT_BUS_NAME:
        o->bus_name = value;
        return 0;
    case OPT_CHECK:
        o->check = true;
        return 0;
    case OPT_OFFSET:
        return size_parse(value, &o->offset);
    case OPT_SOURCE_JOURNAL:
        o->source_journal = value;
        return 0;
    default:
        return -EINVAL;
    }
}

int options_parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"size", 1, NULL, OPT_SIZE},
        {"memory", 1, NULL, OPT_MEMORY},
        {"hugepages", 1, NULL, OPT_HUGE},
        {"open", 1, NULL, OPT_OPEN},
        {"fill-from", 1, NULL, OPT_FILL},
        {"threads", 1, NULL, OPT_THREADS},
        {"rate", 1, NULL, OPT_RATE},
        {"span", 1, NULL, OPT_SPAN},
        {"seed", 1, NULL, OPT_SEED},
        {"track", 1, NULL, OPT_TRACK},
        {"log", 1, NULL, OPT_LOG},
        {"incoming", 0, NULL, OPT_INCOMING},
        {"journal", 1, NULL, OPT_JOURNAL},
        {"register", 1, NULL, OPT_REGISTER},
        {"device", 1, NULL, OPT_DEVICE},
        {"iova", 1, NULL, OPT_IOVA},
        {"make", 0, NULL, OPT_MAKE},
        {"bus-name", 1, NULL, OPT_BUS_NAME},
        {"check", 0, NULL, OPT_CHECK},
        {"offset", 1, NULL, OPT_OFFSET},
        {"source-journal", 1, NULL, OPT_SOURCE_JOURNAL},
        {"help", 0, NULL, OPT_HELP},
        {0},
    };
    int option, index;

    *o = (struct options){.threads = 2, .rate = 20000, .track = TRACK_CPU_LOG, .seed = 1};
    while ((option = getopt_long(argc, argv, "", table, &index)) != -1) {
        if (option == OPT_HELP) {
            fputs(help, stdout);
            return 1;
        }
        if (option == '?')
            return -EINVAL;
        if (take(o, option, optarg) < 0) {
            fprintf(stderr, "--%s: \"%s\" will not do; see --help.\n", table[index].name,
                    optarg ? optarg : "");
            return -EINVAL;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "What is \"%s\"? See --help.\n", argv[optind]);
        return -EINVAL;
    }
    if (o->check) {
        if (o->memory_path && o->journal)
            return 0;
        fprintf(stderr, "--check needs --memory and --journal.\n");
        return -EINVAL;
    }
    if (!o->size)
        o->size = 64ull << 20;
    if (o->size % GUEST_PAGE_BYTES || (o->huge_bytes && o->size % o->huge_bytes)) {
        fprintf(stderr, "--size must be a whole number of pages.\n");
        return -EINVAL;
    }
    if (o->make && !(o->incoming && o->register_name)) {
        fprintf(stderr, "--make goes with --incoming and --register.\n");
        return -EINVAL;
    }
    if (o->incoming && o->fill_dir) {
        fprintf(stderr, "--fill-from is for the source; the destination's memory comes from there.\n");
        return -EINVAL;
    }
    return 0;
}
