/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"
#include "pci.h"
#include "record.h"
#include "sizes.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define STATE_SIZE_MAX_BYTES (1ull << 40)

static const char help_text[] =
    "Usage: simdev --socket PATH --id N [OPTION]...\n"
    "\n"
    "A PCI device in a process. It listens on a vfio-user socket, writes into the memory that its client "
    "maps,\n"
    "logs what it wrote, and migrates like real hardware. Use it to rehearse a migration on your hosts and "
    "your\n"
    "link before you own the device: choose --rate, --pattern, --range and --state-size like those of the "
    "device\n"
    "that you expect, start one simdev on each host (the receiving one with --incoming), and migrate. "
    "Afterwards\n"
    "simdev-check proves page by page, from the journals of both, that no write was lost.\n"
    "\n"
    "  --socket PATH             listen here; one client at a time, the next may come when it has gone\n"
    "  --id N                    number of the device, 1 to 2^32-1; devices that share memory need different "
    "N mod 32\n"
    "  --ready-fd N              write READY=1 to descriptor N when listening, and close it\n"
    "  --notify                  tell the service manager when listening (NOTIFY_SOCKET)\n"
    "  --journal FILE            keep the newest sequence number of every page in FILE; survives kill -9\n"
    "  --verbose                 say what goes on, every command included\n"
    "  --help, --version\n"
    "\n"
    "What it writes: a 64-byte record with device, sequence number, address and checksum, into page after "
    "page\n"
    "  --pattern WHICH           ring (default; one page after the other, like a NIC's receive queue), "
    "uniform,\n"
    "                            zipf (few pages often), burst (5 bursts a second), oscillate (a working set "
    "that\n"
    "                            grows and shrinks)\n"
    "  --rate N                  pages of 4 KiB per second (default 1000); 0: as fast as it can\n"
    "  --range IOVA:SIZE         write here only; may be repeated (default: all that is mapped writable)\n"
    "  --seed N                  for the random patterns (default: the id)\n"
    "  --by-message              write through DMA_WRITE messages even where it got a descriptor; every 16th "
    "page is\n"
    "                            read back through DMA_READ\n"
    "  --idle                    write only when told through BAR0\n"
    "  --incoming                write only when a state was loaded and RUNNING set\n"
    "\n"
    "How it migrates\n"
    "  --state-size SIZE         bytes of state in STOP_COPY (default 64K); sizes take K, M, G, T\n"
    "  --precopy-size SIZE       initial bytes in PRE_COPY (default 16K)\n"
    "  --no-p2p, --no-precopy    without the P2P or the PRE_COPY states\n"
    "  --no-log                  without DMA logging\n"
    "  --no-migration            without all of it\n"
    "  --pci-device ID           PCI device id (default 0x51da), to play another model\n"
    "  --log-page-size SIZE      the page size of the log that it insists on (default: what the client asks "
    "for)\n"
    "\n"
    "What it does wrong, on request: --misbehave WHAT, may be repeated\n"
    "  write-after-stop[=RATE]   goes on writing in STOP and STOP_COPY (100 pages per second), and logs it\n"
    "  late-dirty[=N]            every Nth (1st) write shows in the log one report late\n"
    "  lose-bit[=N]              every Nth (1000th) write never shows in the log\n"
    "  lie-length=WHERE[:HOW]    wrong lengths in the replies of version, report, data or region; HOW: short "
    "(default,\n"
    "                            less payload than the length fields promise), long (more than asked for), "
    "huge\n"
    "                            (an absurd message size)\n"
    "  error-payload             error replies carry a payload\n"
    "  split                     replies come in pieces with short pauses\n"
    "  merge                     replies and DMA messages come glued together in one write\n"
    "  fragile                   drops the connection when a message does not arrive in one piece, as "
    "libvfio-user does\n"
    "  stall=COMMAND:SECONDS[:N] waits before it handles the command (only the Nth)\n"
    "  no-reply=COMMAND[:N]      handles it, and says nothing\n"
    "  die=COMMAND[:N]           exits at the Nth (1st) such command\n"
    "  refuse=FROM:TO[:N]        EIO for a state transition, one step or the whole way; stays in FROM\n"
    "  break=FROM:TO[:N]         the same, and the device is in ERROR until it is reset\n"
    "  wrong-state-reply         replies name another state than the true one\n"
    "  stray-precopy             the data of PRE_COPY is not part of the stream: STOP_COPY starts it over\n"
    "COMMAND: version dma-map dma-unmap get-info region-info irq-info set-irqs region-read region-write "
    "reset\n"
    "         feature get-state set-state log-start log-stop report data-read data-write\n"
    "FROM, TO: running stop stop-copy resuming running-p2p pre-copy pre-copy-p2p\n"
    "\n"
    "Registers in BAR0 (32 bits each): 0 magic, 4 id, 8 control (1 writes, 0 idle), 12 rate, 16 pattern (0 "
    "ring,\n"
    "1 uniform, 2 zipf, 3 burst, 4 oscillate), 20 doorbell (write N: N pages at once), 24/28 sequence "
    "number,\n"
    "32/36 pages written, 40 DMA errors, 44 migration state. BAR2 is plain memory, its first half can be "
    "mapped.\n";

static const char *const pattern_names[PATTERN_MAX] = {
    [PATTERN_RING] = "ring",   [PATTERN_UNIFORM] = "uniform",     [PATTERN_ZIPF] = "zipf",
    [PATTERN_BURST] = "burst", [PATTERN_OSCILLATE] = "oscillate",
};

const char *pattern_name(uint32_t kind)
{
    return kind < PATTERN_MAX ? pattern_names[kind] : "unknown";
}

enum {
    OPT_SOCKET = 256,
    OPT_ID,
    OPT_JOURNAL,
    OPT_PATTERN,
    OPT_RATE,
    OPT_RANGE,
    OPT_STATE_SIZE,
    OPT_PRECOPY_SIZE,
    OPT_NO_P2P,
    OPT_NO_PRECOPY,
    OPT_NO_LOG,
    OPT_NO_MIGRATION,
    OPT_PCI_DEVICE,
    OPT_LOG_PAGE_SIZE,
    OPT_BY_MESSAGE,
    OPT_INCOMING,
    OPT_IDLE,
    OPT_SEED,
    OPT_MISBEHAVE,
    OPT_READY_FD,
    OPT_NOTIFY,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"id", required_argument, NULL, OPT_ID},
    {"journal", required_argument, NULL, OPT_JOURNAL},
    {"pattern", required_argument, NULL, OPT_PATTERN},
    {"rate", required_argument, NULL, OPT_RATE},
    {"range", required_argument, NULL, OPT_RANGE},
    {"state-size", required_argument, NULL, OPT_STATE_SIZE},
    {"precopy-size", required_argument, NULL, OPT_PRECOPY_SIZE},
    {"no-p2p", no_argument, NULL, OPT_NO_P2P},
    {"no-precopy", no_argument, NULL, OPT_NO_PRECOPY},
    {"no-log", no_argument, NULL, OPT_NO_LOG},
    {"no-migration", no_argument, NULL, OPT_NO_MIGRATION},
    {"pci-device", required_argument, NULL, OPT_PCI_DEVICE},
    {"log-page-size", required_argument, NULL, OPT_LOG_PAGE_SIZE},
    {"by-message", no_argument, NULL, OPT_BY_MESSAGE},
    {"incoming", no_argument, NULL, OPT_INCOMING},
    {"idle", no_argument, NULL, OPT_IDLE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"misbehave", required_argument, NULL, OPT_MISBEHAVE},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"notify", no_argument, NULL, OPT_NOTIFY},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {},
};

static int bad(const char *option, const char *value, const char *wanted)
{
    fprintf(stderr, "simdev: --%s %s: %s\n", option, value, wanted);
    return -EINVAL;
}

static int parse_limited(const char *name, const char *value, bool size, uint64_t min, uint64_t max,
                         uint64_t *ret)
{
    int r = size ? parse_size(value, ret) : parse_number(value, ret);
    if (r < 0 || *ret < min || *ret > max) {
        fprintf(stderr, "simdev: --%s %s: must be a %s from %llu to %llu\n", name, value,
                size ? "size" : "number", (unsigned long long)min, (unsigned long long)max);
        return -EINVAL;
    }
    return 0;
}

static int add_range(struct options *o, const char *value)
{
    struct vfu_log_range range;
    if (parse_range(value, &range.iova, &range.length) < 0)
        return bad("range", value, "must be IOVA:SIZE");
    struct vfu_log_range *more = reallocarray(o->ranges, o->n_ranges + 1, sizeof range);
    if (!more)
        return -ENOMEM;
    o->ranges = more;
    o->ranges[o->n_ranges++] = range;
    return 0;
}

static int set_pattern(struct options *o, const char *value)
{
    for (unsigned i = 0; i < PATTERN_MAX; i++) {
        if (strcmp(value, pattern_names[i]) == 0) {
            o->pattern = i;
            return 0;
        }
    }
    return bad("pattern", value, "must be ring, uniform, zipf, burst or oscillate");
}

static int take(struct options *o, int option, const char *name, const char *value, bool *have_seed)
{
    uint64_t n;
    int r;
    switch (option) {
    case OPT_SOCKET:
        o->socket_path = value;
        return 0;
    case OPT_ID:
        r = parse_limited(name, value, false, 1, UINT32_MAX, &n);
        o->id = r == 0 ? (uint32_t)n : 0;
        return r;
    case OPT_JOURNAL:
        o->journal_path = value;
        return 0;
    case OPT_PATTERN:
        return set_pattern(o, value);
    case OPT_RATE:
        return parse_limited(name, value, false, 0, UINT32_MAX, &o->rate);
    case OPT_RANGE:
        return add_range(o, value);
    case OPT_STATE_SIZE:
        return parse_limited(name, value, true, 0, STATE_SIZE_MAX_BYTES, &o->state_size_bytes);
    case OPT_PRECOPY_SIZE:
        return parse_limited(name, value, true, 0, STATE_SIZE_MAX_BYTES, &o->precopy_size_bytes);
    case OPT_NO_P2P:
        o->migration_flags &= ~(uint64_t)VFU_MIGRATION_P2P;
        return 0;
    case OPT_NO_PRECOPY:
        o->migration_flags &= ~(uint64_t)VFU_MIGRATION_PRE_COPY;
        return 0;
    case OPT_NO_MIGRATION:
        o->migration_flags = 0;
        return 0;
    case OPT_PCI_DEVICE:
        r = parse_limited(name, value, false, 1, UINT16_MAX, &n);
        o->pci_device = r == 0 ? (uint16_t)n : 0;
        return r;
    case OPT_NO_LOG:
        o->no_log = true;
        return 0;
    case OPT_LOG_PAGE_SIZE:
        r = parse_limited(name, value, true, DEVICE_PAGE_BYTES, 1ull << 40, &o->log_page_size);
        return r < 0 || is_power_of_two(o->log_page_size) ? r : bad(name, value, "must be a power of two");
    case OPT_BY_MESSAGE:
        o->by_message = true;
        return 0;
    case OPT_INCOMING:
        o->incoming = true;
        return 0;
    case OPT_IDLE:
        o->idle = true;
        return 0;
    case OPT_SEED:
        *have_seed = true;
        return parse_limited(name, value, false, 0, UINT64_MAX, &o->seed);
    case OPT_READY_FD:
        r = parse_limited(name, value, false, 0, 1 << 20, &n);
        o->ready_fd = r == 0 ? (int)n : -1;
        return r;
    case OPT_NOTIFY:
        o->notify = true;
        return 0;
    default:
        return -EINVAL;
    }
}

int options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .pci_device = PCI_DEVICE_ID,
        .rate = 1000,
        .state_size_bytes = 64 << 10,
        .precopy_size_bytes = 16 << 10,
        .migration_flags = VFU_MIGRATION_STOP_COPY | VFU_MIGRATION_P2P | VFU_MIGRATION_PRE_COPY,
        .ready_fd = -1,
    };
    bool have_seed = false;
    int c, index = 0;
    while ((c = getopt_long(argc, argv, "", long_options, &index)) >= 0) {
        struct mig_error err = MIG_ERROR_INIT;
        switch (c) {
        case OPT_HELP:
            fputs(help_text, stdout);
            return 1;
        case OPT_VERSION:
            puts("simdev " VERSION);
            return 1;
        case OPT_VERBOSE:
            o->verbose = true;
            break;
        case OPT_MISBEHAVE:
            if (misbehave_parse(&o->misbehave, optarg, &err) < 0) {
                fprintf(stderr, "simdev: %s\n", err.message);
                return -EINVAL;
            }
            break;
        case '?':
            fputs("simdev: --help lists the options\n", stderr);
            return -EINVAL;
        default: {
            int r = take(o, c, long_options[index].name, optarg, &have_seed);
            if (r < 0)
                return r;
        }
        }
    }
    if (optind < argc) {
        fprintf(stderr, "simdev: %s is no option; --help lists them\n", argv[optind]);
        return -EINVAL;
    }
    if (!o->socket_path || !o->id) {
        fputs("simdev: --socket PATH and --id N are needed; --help tells more\n", stderr);
        return -EINVAL;
    }
    if (!have_seed)
        o->seed = o->id;
    return 0;
}

void options_free(struct options *o)
{
    free(o->ranges);
    o->ranges = NULL;
}
