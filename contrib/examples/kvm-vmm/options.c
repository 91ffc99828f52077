/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"
#include "../common/size.h"
#include "guest.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "migd-example-kvm-vmm [OPTIONS]\n"
    "A small VMM that migd can move: one vCPU under KVM, passthrough devices, a guest that checks its own\n"
    "memory. Prints a line per event. Exit status: 0 ended by SIGTERM or --seconds, 1 the guest, a device "
    "or\n"
    "the VMM found something wrong, 2 usage, 77 there is no KVM.\n\n"
    "  --name NAME            register the domain NAME with migd, at $MIGD_BUS_ADDRESS or on the system bus\n"
    "  --incoming             wait for a migration: LoadState and Resume\n"
    "  --memory SIZE          4M to 1G (16M)\n"
    "  --rate N               pages that the guest writes per second, 0: as fast as it can (2000)\n"
    "  --device PATH          sysfs folder of a device that is bound to VFIO; up to 4 times. edu and mtty "
    "are\n"
    "                         driven, others only held\n"
    "  --interface KIND       how devices are opened: iommufd (default) or legacy (group and container)\n"
    "  --kvm PATH             another file than /dev/kvm\n"
    "  --seconds N            end by itself, with status 0 if all memory is as it must be\n"
    "  --lose-dirty-bits      for tests: KVM's dirty log is not passed on, so pages get lost\n";

enum {
    OPT_NAME = 256,
    OPT_INCOMING,
    OPT_MEMORY,
    OPT_RATE,
    OPT_DEVICE,
    OPT_INTERFACE,
    OPT_KVM,
    OPT_SECONDS,
    OPT_LOSE,
    OPT_HELP,
};

static int interface(struct options *o, const char *word)
{
    o->interface = strcmp(word, "legacy") == 0 ? DMA_LEGACY : DMA_IOMMUFD;
    return o->interface == DMA_LEGACY || strcmp(word, "iommufd") == 0 ? 0 : -EINVAL;
}

static int memory(struct options *o, const char *word)
{
    if (size_parse(word, &o->memory) < 0 || o->memory % GUEST_PAGE_BYTES)
        return -EINVAL;
    return o->memory < GUEST_MEMORY_MIN || o->memory > GUEST_MEMORY_MAX ? -EINVAL : 0;
}

static int rate(struct options *o, const char *word)
{
    int r = size_parse(word, &o->rate);
    return r < 0 || o->rate > 1000000000 ? -EINVAL : 0;
}

static int device(struct options *o, const char *path)
{
    if (o->ndevices == DEVICES_MAX)
        return -EINVAL;
    o->devices[o->ndevices++] = path;
    return 0;
}

static int take(struct options *o, int option, const char *value)
{
    switch (option) {
    case OPT_NAME:
        o->name = value;
        return 0;
    case OPT_INCOMING:
        o->incoming = true;
        return 0;
    case OPT_MEMORY:
        return memory(o, value);
    case OPT_RATE:
        return rate(o, value);
    case OPT_DEVICE:
        return device(o, value);
    case OPT_INTERFACE:
        return interface(o, value);
    case OPT_KVM:
        o->kvm = value;
        return 0;
    case OPT_SECONDS:
        return size_parse(value, &o->seconds);
    case OPT_LOSE:
        o->lose_dirty_bits = true;
        return 0;
    default:
        return -EINVAL;
    }
}

int options_parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"name", 1, NULL, OPT_NAME},
        {"incoming", 0, NULL, OPT_INCOMING},
        {"memory", 1, NULL, OPT_MEMORY},
        {"rate", 1, NULL, OPT_RATE},
        {"device", 1, NULL, OPT_DEVICE},
        {"interface", 1, NULL, OPT_INTERFACE},
        {"kvm", 1, NULL, OPT_KVM},
        {"seconds", 1, NULL, OPT_SECONDS},
        {"lose-dirty-bits", 0, NULL, OPT_LOSE},
        {"help", 0, NULL, OPT_HELP},
        {0},
    };
    int option, index;

    *o = (struct options){.kvm = "/dev/kvm", .memory = 16u << 20, .rate = 2000};
    while ((option = getopt_long(argc, argv, "", table, &index)) != -1) {
        if (option == OPT_HELP) {
            fputs(help, stdout);
            return 1;
        }
        if (option == '?')
            return -EINVAL;
        if (take(o, option, optarg) < 0) {
            fprintf(stderr, "--%s: \"%s\" will not do; see --help.\n", table[index].name, optarg);
            return -EINVAL;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "What is \"%s\"? See --help.\n", argv[optind]);
        return -EINVAL;
    }
    if (o->incoming && !o->name) {
        fprintf(stderr, "--incoming goes with --name: nothing could arrive.\n");
        return -EINVAL;
    }
    return 0;
}
