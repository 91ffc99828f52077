/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line: options with the set of verbs that each belongs to, and arguments. An option given to a
 * verb that does not know it is refused by name, so that nobody believes in an option that did nothing.
 * Points into argv; owns two arrays.
 */
#pragma once
#include "base/error.h"
#include <stdio.h>

/* X(symbol, name, argument, verbs, flags, help). In the order in which help shows them. argument NULL: none.
 */
#define OPTION_TABLE(X)                                                                                      \
    X(OPT_ALL, "all", NULL, VERB_DEVICES, 0, "every PCI function that has an IOMMU group")                   \
    X(OPT_NO_PROBE, "no-probe", NULL, VERB_DEVICES, 0, "open no device: show what sysfs says")               \
    X(OPT_DETAILS, "details", NULL, VERB_DEVICES, 0, "show everything of each device")                       \
    X(OPT_FILE, "file", "FILE", VERB_REGISTER, 0,                                                            \
      "read the domain from a domain file (JSON); - is standard input")                                      \
    X(OPT_INCOMING, "incoming", NULL, VERB_REGISTER, 0, "the domain waits for a migration to come in")       \
    X(OPT_PID, "pid", "PID", VERB_REGISTER, 0,                                                               \
      "take the containers and devices that this process holds; memory is given with --memory fd=,iova=")    \
    X(OPT_QMP, "qmp", "SOCKET", VERB_REGISTER, 0,                                                            \
      "a QEMU by its QMP socket: its RAM, what its CPUs and its devices write, and who pauses it")           \
    X(OPT_NO_CONTAINERS, "no-containers", NULL, VERB_REGISTER, 0,                                            \
      "with --qmp: do not read what devices write from QEMU's VFIO containers")                              \
    X(OPT_CPU_TRACKER, "cpu-tracker", "WHICH", VERB_REGISTER, 0,                                             \
      "with --qmp, what finds the writes of the CPUs: auto (default), uffd, soft-dirty, digests, none")      \
    X(OPT_DRY_RUN, "dry-run", NULL, VERB_REGISTER | VERB_LIBVIRT | VERB_START | VERB_EVACUATE, 0,            \
      "change nothing, only show what was found (with --pid) or what would be done")                         \
    X(OPT_APPLY, "apply", NULL, VERB_LIBVIRT, 0, "prepare: change the definition of the domain")             \
    X(OPT_WITHOUT_MIGD, "without-migd", "WHAT", VERB_LIBVIRT, 0,                                             \
      "enable-hook: a migration to this host while migd does not run: pass (default), refuse")               \
    X(OPT_NAME, "name", "[FOUND=]NAME", VERB_REGISTER | VERB_OPEN, OPTION_REPEATS,                           \
      "of the device (open); of what --pid found: FOUND is its name, address or descriptor")                 \
    X(OPT_SKIP, "skip", "FOUND", VERB_REGISTER, OPTION_REPEATS, "with --pid: leave it out")                  \
    X(OPT_MEMORY, "memory", "KEYS", VERB_REGISTER, OPTION_REPEATS,                                           \
      "name=,path=|fd=|make,pid=,offset=,size=,iova=,read-only,hugepages=,numa-node=")                       \
    X(OPT_CONTAINER, "container", "KEYS", VERB_REGISTER, OPTION_REPEATS,                                     \
      "name=,pid=,fd=,ioas=,hwpt=,no-map: a VFIO container or iommufd of a process")                         \
    X(OPT_DEVICE, "device", "KEYS", VERB_REGISTER, OPTION_REPEATS,                                           \
      "name=,type=vfio-user|vfio,socket=,listen=,pid=,fd=,timeout=,tracker=device|container|auto|all,"       \
      "log-page-size=,no-precopy,no-map")                                                                    \
    X(OPT_TRACKER, "tracker", "KEYS", VERB_REGISTER, OPTION_REPEATS,                                         \
      "type=cpu-log|uffd|soft-dirty|digests|all,name=,memory=,path=,offset=,page-size=,pid=,fd=,address=")   \
    X(OPT_CONTROLLER, "controller", "WHICH", VERB_REGISTER, 0,                                               \
      "none, or dbus:BUSNAME:PATH: who pauses and resumes the workload")                                     \
    X(OPT_INTERFACE, "interface", "WHICH", VERB_OPEN, 0,                                                     \
      "auto (default): iommufd where kernel and device have it; iommufd, legacy")                            \
    X(OPT_INTO, "into", "CONTAINER", VERB_OPEN, 0,                                                           \
      "the DMA address space that it shares with others of the domain (dma)")                                \
    X(OPT_TRACKED_BY, "tracked-by", "WHICH", VERB_OPEN, 0,                                                   \
      "auto (default): its own log, else the container; device, container, all")                             \
    X(OPT_DIRTY_TRACKING, "dirty-tracking", "YES|NO", VERB_OPEN, 0,                                          \
      "whether the IOMMU tracks; yes: refused where it cannot; else as it can")                              \
    X(OPT_SPLIT, "split", NULL, VERB_OPEN, 0, "map in entries of 4 KiB, for exact dirty bits on huge pages") \
    X(OPT_OWN_HWPT, "own-hwpt", NULL, VERB_OPEN, 0, "do not share an HWPT with another device")              \
    X(OPT_MAP_MEMORY, "map-memory", NULL, VERB_OPEN, 0,                                                      \
      "migd maps (and pins) the memory of the domain for it")                                                \
    X(OPT_WITHOUT_STATE, "without-state", NULL, VERB_OPEN, 0,                                                \
      "it has no state that migd should move; its writes are tracked all the same")                          \
    X(OPT_BANDWIDTH, "bandwidth", "RATE", VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                        \
      "send at most this per second, like 500M; 0: no cap")                                                  \
    X(OPT_MAX_DOWNTIME, "max-downtime", "TIME", VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                  \
      "switch over when the blackout fits into this, like 300ms")                                            \
    X(OPT_TIMEOUT, "timeout", "TIME", VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                            \
      "give rounds at most this long, like 10min; 0: no limit")                                              \
    X(OPT_ON_STALL, "on-stall", "POLICY", VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                        \
      "when it does not converge: abort (default), force, wait")                                             \
    X(OPT_GATE, "gate", "POLICY", VERB_START | VERB_CHECK, 0,                                                \
      "when a device wrote after it stopped: strict (default), resend, off")                                 \
    X(OPT_GATE_RESENDS, "gate-resends", "N", VERB_START | VERB_CHECK, 0,                                     \
      "how often --gate=resend sends again")                                                                 \
    X(OPT_MAX_ROUNDS, "max-rounds", "N", VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                         \
      "rounds before the stall policy applies; 0: no limit")                                                 \
    X(OPT_RECONNECT_TIMEOUT, "reconnect-timeout", "TIME", VERB_START | VERB_CHECK, 0,                        \
      "how long connections that broke before the blackout are tried again (30s); 0: not at all")            \
    X(OPT_BLACKOUT_LIMIT, "blackout-limit", "TIME", VERB_START | VERB_CHECK, 0,                              \
      "roll back when sending in the blackout takes longer; 0 (default): by bytes and bandwidth, 10s or "    \
      "more")                                                                                                \
    X(OPT_CONNECTIONS, "connections", "N", VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                       \
      "data connections; 0 (default): chosen by migd")                                                       \
    X(OPT_CHECKSUM, "checksum", NULL, VERB_START | VERB_CHECK, 0, "checksum every payload on the wire")      \
    X(OPT_VERIFY, "verify", "MODE", VERB_START | VERB_CHECK, OPTION_OPTIONAL,                                \
      "prove that no page was lost: strict (the default of a bare --verify), post, off")                     \
    X(OPT_COMPRESSION, "compression", "CODEC", VERB_START | VERB_CHECK, 0,                                   \
      "pack pages for the wire: off, lz4, zstd, adaptive")                                                   \
    X(OPT_ALLOW, "allow", "CODE", VERB_START | VERB_CHECK | VERB_EVACUATE, OPTION_REPEATS,                   \
      "overrule this finding of check (migctl explain lists codes)")                                         \
    X(OPT_WITHOUT_P2P, "without-p2p", NULL, VERB_START | VERB_CHECK, 0, "the same as --allow device-no-p2p") \
    X(OPT_PEER_DOMAIN, "peer-domain", "NAME", VERB_START | VERB_CHECK, 0,                                    \
      "name of the domain at the destination, if it differs")                                                \
    X(OPT_ENGINE, "engine", "WHICH", VERB_START | VERB_CHECK, 0,                                             \
      "of a libvirt domain: auto (default), libvirt: QEMU moves everything; native: migd moves its memory")  \
    X(OPT_PERSISTENT, "persistent", NULL, VERB_START | VERB_CHECK, 0,                                        \
      "of a libvirt domain: define it at the destination")                                                   \
    X(OPT_UNDEFINE_SOURCE, "undefine-source", NULL, VERB_START | VERB_CHECK, 0,                              \
      "of a libvirt domain: remove its definition here when it has left")                                    \
    X(OPT_AUTO_CONVERGE, "auto-converge", NULL, VERB_START | VERB_CHECK | VERB_EVACUATE, 0,                  \
      "of a libvirt domain: slow its CPUs until it converges; does nothing about a device's DMA")            \
    X(OPT_PARALLEL, "parallel", "N", VERB_EVACUATE, 0, "move so many at a time (1)")                         \
    X(OPT_DOMAIN, "domain", "NAME", VERB_LINK_TEST, 0, "say how long this domain would take")                \
    X(OPT_DETACH, "detach", NULL, VERB_START, 0, "do not follow: print the migration's id and return")       \
    X(OPT_WAIT, "wait", NULL, VERB_STATUS | VERB_CANCEL, 0, "wait until the migration has ended")            \
    X(OPT_RUN, "run", NULL, VERB_RESOLVE, 0, "the workload shall run here: no other side runs it")           \
    X(OPT_DROP, "drop", NULL, VERB_RESOLVE, 0, "the workload shall not run here: the other side runs it")    \
    X(OPT_FORCE, "force", NULL, VERB_RELEASE, 0,                                                             \
      "also a broken or departed domain, or one with a dead device")                                         \
    X(OPT_HOST, "host", "HOST", VERB_ALL, OPTION_GLOBAL, "ask the migd of [USER@]HOST, over ssh")            \
    X(OPT_JSON, "json", NULL, VERB_ALL, OPTION_GLOBAL, "print JSON")                                         \
    X(OPT_HELP, "help", NULL, VERB_ALL, OPTION_GLOBAL, "show this help, or that of a verb")                  \
    X(OPT_VERSION, "version", NULL, VERB_ALL, OPTION_GLOBAL, "show the version")

#define OPTION_REPEATS  1u /* may be given several times */
#define OPTION_OPTIONAL 2u /* its argument may be left out; given with = only */
#define OPTION_GLOBAL   4u

enum option_id {
#define X(symbol, name, argument, verbs, flags, help) symbol,
    OPTION_TABLE(X)
#undef X
        OPT_MAX,
};

struct given {
    enum option_id id;
    const char *value; /* NULL: none */
};

struct args {
    struct given *given; /* in the order of the command line */
    size_t n_given;
    const char **positional; /* the verb is not among them */
    int n_positional;
    const char *verb; /* NULL: none was given */
};

/* Splits the command line. InvalidArgument for an unknown option, a missing or surplus argument, or an option
 * given twice. What was understood until then is in *args either way, so that --json is known when the error
 * is printed. */
int args_parse(struct args *args, int argc, char *argv[], struct mig_error *err);
/* Refuses options of other verbs. */
int args_check_verb(const struct args *args, unsigned verb_bit, const char *verb, struct mig_error *err);
void args_done(struct args *args);

bool args_has(const struct args *args, enum option_id id);
/* NULL when it was not given, or given without a value. */
const char *args_value(const struct args *args, enum option_id id);
/* "memory" for OPT_MEMORY. */
const char *args_option_name(enum option_id id);
/* Lists the options of a verb (or the global ones, verb_bit 0) for help. */
void args_print_options(FILE *f, unsigned verb_bit);
