/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the administrator configured: defaults of the program < PKGLIBDIR/migd.conf < PKGSYSCONFDIR/migd.conf
 * < migd.conf.d/NAME.conf of both folders in the order of their names, where a file in PKGSYSCONFDIR hides
 * one of the same name in PKGLIBDIR < the command line. A key or section that nobody knows is an error that
 * names file and line: a typing error must not leave a host without the limit that its administrator wrote
 * down. A plain value; it remembers of each key what was written and where.
 */
#pragma once
#include "base/error.h"

#define CONFIG_KEYS_MAX 40u

/* A key as it was written. */
struct config_setting {
    char value[256];
    char origin[280]; /* "FILE:LINE", "--option", "default" */
};

struct config {
    char runtime_dir[256];    /* [Daemon] RuntimeDirectory */
    int log_level;            /* [Daemon] LogLevel */
    char listen[256];         /* [Peer] Listen; "": no listener */
    char metrics_listen[256]; /* [Metrics] Listen; "": nobody may scrape */
    bool accept_overrides;    /* [Peer] AcceptOverrides */
    uint64_t progress_usec;   /* [Peer] ProgressTimeout; 0: no limit */
    uint64_t receive_usec;    /* [Peer] ReceiveTimeout; 0: no limit */
    bool peer_tls;            /* [Peer] Security; else plain */
    /* [Peer] where certificates are; "": where they usually are. */
    char certificate_folder[256], ca_file[256], certificate_file[256], key_file[256];
    char allowed_peers[256]; /* [Peer] AllowedPeers; "": all with a certificate of the CA */
    /* [Migration]: what a migration gets when its options do not say otherwise. */
    uint64_t max_downtime_usec;       /* MaxDowntime */
    uint64_t bandwidth_bytes_per_sec; /* Bandwidth; 0: no cap */
    uint64_t total_bytes_per_sec;     /* TotalBandwidth: of all migrations together; 0: no cap */
    unsigned connections;             /* Connections; 0: chosen */
    unsigned max_connections;         /* MaxConnections: where they are chosen */
    uint64_t reconnect_usec;          /* ReconnectTimeout; 0: not at all */
    /* Words that a room above this one understands; "": not configured. */
    char on_stall[32];    /* OnStall */
    char gate[32];        /* Gate */
    char verify[32];      /* Verify */
    char compression[32]; /* Compression */
    /* [Libvirt]: what the hook of libvirt does when a guest arrives. */
    char match_devices[96];     /* MatchDevices: words of libvirt/match.h */
    char device_labels[256];    /* DeviceLabels */
    uint64_t reservation_usec;  /* ReservationTimeout */
    uint64_t arrival_wait_usec; /* ArrivalWait */
    char native_peers[256];     /* NativePeers: hosts, see libvirt/native-peers.h; "": none */
    char libvirt_uri[256];      /* Uri: of the libvirt of this host */
    char destination_uri[256];  /* DestinationUri: of another one; has one %h */
    struct config_setting settings[CONFIG_KEYS_MAX];
};

#define CONFIG_CONNECTIONS_MAX 16u /* what a migration can have: WIRE_CONNECTIONS_MAX */

void config_init(struct config *c);
/* file: only this one (it must exist); NULL: the search above. On failure *c is not touched. */
int config_load(struct config *c, const char *file, struct mig_error *err);
/* The search in other folders than the built-in ones. */
int config_load_from(struct config *c, const char *lib_dir, const char *sysconf_dir, struct mig_error *err);

/* Sets one key, as a line of a file would. origin comes first in the error's message. -ENOENT: the section or
 * key is unknown; -EINVAL: it does not take that value. */
int config_set(struct config *c, const char *section, const char *name, const char *value, const char *origin,
               struct mig_error *err);

/* For showing: the i-th key in the order of the sections; false after the last. */
struct config_view {
    const char *section, *name;
    const char *value, *origin; /* valid as long as the config */
    bool reloads;               /* takes effect by a reload; else by a restart */
};
bool config_nth(const struct config *c, size_t i, struct config_view *ret);
/* Where a key got its value. */
const char *config_origin(const struct config *c, const char *section, const char *name);
