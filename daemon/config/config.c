/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keys: their names, values and defaults. Where they are read from is config-files.c. */
#include "config/config.h"
#include "base/log.h"
#include "base/parse.h"
#include "migd-wire.h"
#include <stdio.h>
#include <string.h>

struct key {
    const char *section, *name;
    /* -EINVAL for a value that is not one. */
    int (*set)(struct config *c, const char *value);
    const char *expected; /* completes "expected ..." */
    const char *preset;   /* what holds when nobody says otherwise */
    bool reloads;
};

static int set_text(char *to, size_t size, const char *value)
{
    return (size_t)snprintf(to, size, "%s", value) < size ? 0 : -EINVAL;
}

static int set_word(char *to, size_t size, const char *value)
{
    return *value ? set_text(to, size, value) : -EINVAL;
}

static int set_runtime_dir(struct config *c, const char *value)
{
    return *value == '/' ? set_text(c->runtime_dir, sizeof c->runtime_dir, value) : -EINVAL;
}

static int set_log_level(struct config *c, const char *value)
{
    int level = log_level_from_string(value);
    if (level < 0)
        return level;
    c->log_level = level;
    return 0;
}

static int set_listen(struct config *c, const char *value)
{
    return set_text(c->listen, sizeof c->listen, value);
}

static int set_metrics_listen(struct config *c, const char *value)
{
    return set_text(c->metrics_listen, sizeof c->metrics_listen, value);
}

static int set_accept_overrides(struct config *c, const char *value)
{
    return parse_bool(value, &c->accept_overrides);
}

static int set_security(struct config *c, const char *value)
{
    bool tls = strcmp(value, "tls") == 0;
    if (!tls && strcmp(value, "plain") != 0)
        return -EINVAL;
    c->peer_tls = tls;
    return 0;
}

static int set_path(char *to, size_t size, const char *value)
{
    return !*value || *value == '/' ? set_text(to, size, value) : -EINVAL;
}

static int set_certificate_folder(struct config *c, const char *value)
{
    return set_path(c->certificate_folder, sizeof c->certificate_folder, value);
}

static int set_ca_file(struct config *c, const char *value)
{
    return set_path(c->ca_file, sizeof c->ca_file, value);
}

static int set_certificate_file(struct config *c, const char *value)
{
    return set_path(c->certificate_file, sizeof c->certificate_file, value);
}

static int set_key_file(struct config *c, const char *value)
{
    return set_path(c->key_file, sizeof c->key_file, value);
}

static int set_allowed_peers(struct config *c, const char *value)
{
    return set_text(c->allowed_peers, sizeof c->allowed_peers, value);
}

static int set_reconnect(struct config *c, const char *value)
{
    return parse_usec(value, &c->reconnect_usec);
}

static int set_progress(struct config *c, const char *value)
{
    return parse_usec(value, &c->progress_usec);
}

static int set_receive(struct config *c, const char *value)
{
    return parse_usec(value, &c->receive_usec);
}

static int set_max_downtime(struct config *c, const char *value)
{
    uint64_t usec;
    if (parse_usec(value, &usec) < 0 || usec == 0)
        return -EINVAL;
    c->max_downtime_usec = usec;
    return 0;
}

static int set_bandwidth(struct config *c, const char *value)
{
    return parse_rate(value, &c->bandwidth_bytes_per_sec);
}

static int set_total_bandwidth(struct config *c, const char *value)
{
    return parse_rate(value, &c->total_bytes_per_sec);
}

static int set_connections(struct config *c, const char *value)
{
    uint64_t n;
    int r = parse_unsigned(value, CONFIG_CONNECTIONS_MAX, &n);
    if (r == 0)
        c->connections = (unsigned)n;
    return r;
}

static int set_max_connections(struct config *c, const char *value)
{
    uint64_t n;
    int r = parse_unsigned(value, CONFIG_CONNECTIONS_MAX, &n);
    if (r < 0 || n == 0)
        return -EINVAL;
    c->max_connections = (unsigned)n;
    return 0;
}

static int set_on_stall(struct config *c, const char *value)
{
    return set_word(c->on_stall, sizeof c->on_stall, value);
}

static int set_gate(struct config *c, const char *value)
{
    return set_word(c->gate, sizeof c->gate, value);
}

static int set_verify(struct config *c, const char *value)
{
    return set_word(c->verify, sizeof c->verify, value);
}

static int set_compression(struct config *c, const char *value)
{
    return set_word(c->compression, sizeof c->compression, value);
}

static int set_match_devices(struct config *c, const char *value)
{
    return set_text(c->match_devices, sizeof c->match_devices, value);
}

static int set_device_labels(struct config *c, const char *value)
{
    return set_text(c->device_labels, sizeof c->device_labels, value);
}

static int set_reservation(struct config *c, const char *value)
{
    uint64_t usec;
    if (parse_usec(value, &usec) < 0 || usec == 0)
        return -EINVAL;
    c->reservation_usec = usec;
    return 0;
}

static int set_arrival_wait(struct config *c, const char *value)
{
    return parse_usec(value, &c->arrival_wait_usec) < 0 ? -EINVAL : 0;
}

static int set_native_peers(struct config *c, const char *value)
{
    return set_text(c->native_peers, sizeof c->native_peers, value);
}

static int set_libvirt_uri(struct config *c, const char *value)
{
    return set_word(c->libvirt_uri, sizeof c->libvirt_uri, value);
}

static int set_destination_uri(struct config *c, const char *value)
{
    const char *host = strstr(value, "%h");
    return host && !strchr(host + 1, '%') && strchr(value, '%') == host
               ? set_word(c->destination_uri, sizeof c->destination_uri, value)
               : -EINVAL;
}

static const struct key keys[] = {
    {"Daemon", "RuntimeDirectory", set_runtime_dir, "an absolute path", "", false},
    {"Daemon", "LogLevel", set_log_level, "emerg, alert, crit, err, warning, notice, info, debug or 0 to 7",
     "info", true},
    {"Peer", "Listen", set_listen, "host[:port], [v6]:port, unix:PATH or nothing", "", false},
    {"Peer", "AcceptOverrides", set_accept_overrides, "yes or no", "yes", true},
    {"Peer", "Security", set_security, "tls or plain", "tls", true},
    {"Peer", "CertificateFolder", set_certificate_folder, "an absolute path or nothing", "", true},
    {"Peer", "CaFile", set_ca_file, "an absolute path or nothing", "", true},
    {"Peer", "CertificateFile", set_certificate_file, "an absolute path or nothing", "", true},
    {"Peer", "KeyFile", set_key_file, "an absolute path or nothing", "", true},
    {"Peer", "AllowedPeers", set_allowed_peers,
     "patterns of names or subjects, divided by blanks, with quotes around one that has blanks, in all at "
     "most 255 "
     "characters",
     "", true},
    {"Peer", "ProgressTimeout", set_progress, "a time with its unit, such as 5min, or 0 for no limit", "5min",
     true},
    {"Peer", "ReceiveTimeout", set_receive, "a time with its unit, such as 72h, or 0 for no limit", "72h",
     true},
    {"Metrics", "Listen", set_metrics_listen, "unix:PATH, 127.0.0.1:PORT, [::1]:PORT or nothing", "", false},
    {"Migration", "MaxDowntime", set_max_downtime, "a time above 0 with its unit, such as 300ms", "300ms",
     true},
    {"Migration", "Bandwidth", set_bandwidth,
     "bytes per second such as 800M, bits such as 10Gbit, or 0 for no cap", "0", true},
    {"Migration", "TotalBandwidth", set_total_bandwidth,
     "bytes per second such as 800M, bits such as 10Gbit, or 0 for no cap", "0", true},
    {"Migration", "Connections", set_connections, "a number up to 16, 0 to let migd choose", "0", true},
    {"Migration", "MaxConnections", set_max_connections, "a number from 1 to 16", "8", true},
    {"Migration", "ReconnectTimeout", set_reconnect, "a time with its unit, such as 30s, or 0", "30s", true},
    {"Migration", "OnStall", set_on_stall, "abort, force or wait", "abort", true},
    {"Migration", "Gate", set_gate, "strict, resend or off", "strict", true},
    {"Migration", "Verify", set_verify, "off, post or strict", "off", true},
    {"Migration", "Compression", set_compression, "off, lz4, zstd or adaptive", "off", true},
    {"Libvirt", "MatchDevices", set_match_devices, "off, or some of vendor device subsystem driver numa-node",
     "vendor device driver", true},
    {"Libvirt", "DeviceLabels", set_device_labels,
     "ADDRESS=LABEL with blanks between them, such as 0000:17:00.*=blue", "", true},
    {"Libvirt", "ReservationTimeout", set_reservation, "a time above 0 with its unit, such as 60s", "60s",
     true},
    {"Libvirt", "ArrivalWait", set_arrival_wait, "a time with its unit, such as 10s, or 0", "0", true},
    {"Libvirt", "NativePeers", set_native_peers, "hosts with blanks between them", "", true},
    {"Libvirt", "Uri", set_libvirt_uri, "an address of libvirt, such as qemu:///system", "qemu:///system",
     true},
    {"Libvirt", "DestinationUri", set_destination_uri,
     "an address of libvirt with one %h for the host, such as qemu+tls://%h/system", "qemu+tls://%h/system",
     true},
};

_Static_assert(CONFIG_CONNECTIONS_MAX == WIRE_CONNECTIONS_MAX, "what is taken here can be had");
_Static_assert(ELEMENTS(keys) <= CONFIG_KEYS_MAX, "each key has its setting");

static void list_keys(char *buf, size_t size, const char *section)
{
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < ELEMENTS(keys) && at < size; i++)
        if (!section || strcmp(keys[i].section, section) == 0)
            at += (size_t)snprintf(buf + at, size - at, "%s%s%s%s", at ? ", " : "",
                                   section ? "" : keys[i].section, section ? "" : ".", keys[i].name);
}

static int unknown(const char *section, const char *name, const char *origin, bool section_known,
                   struct mig_error *err)
{
    char known[240];
    if (section_known)
        mig_error_set(err, MIG_ERR_CONFIG, ENOENT, "%s: unknown key \"%.100s\" in section [%.60s]", origin,
                      name, section);
    else if (*section)
        mig_error_set(err, MIG_ERR_CONFIG, ENOENT, "%s: unknown section [%.100s]", origin, section);
    else
        mig_error_set(err, MIG_ERR_CONFIG, ENOENT, "%s: \"%.100s\" stands before the first section", origin,
                      name);
    list_keys(known, sizeof known, section_known ? section : NULL);
    mig_error_hint(err, "expected %s", known);
    return -ENOENT;
}

static const struct key *find_key(const char *section, const char *name, bool *ret_section_known)
{
    *ret_section_known = false;
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        if (strcmp(keys[i].section, section) != 0)
            continue;
        *ret_section_known = true;
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

int config_set(struct config *c, const char *section, const char *name, const char *value, const char *origin,
               struct mig_error *err)
{
    bool section_known;
    const struct key *k = find_key(section, name, &section_known);
    if (!k)
        return unknown(section, name, origin, section_known, err);
    struct config_setting *s = &c->settings[k - keys];
    if (strlen(value) >= sizeof s->value || k->set(c, value) < 0) {
        mig_error_set(err, MIG_ERR_CONFIG, 0, "%s: \"%.100s\" is not a value for %s", origin, value, name);
        mig_error_hint(err, "expected %s", k->expected);
        return -EINVAL;
    }
    set_text(s->value, sizeof s->value, value);
    snprintf(s->origin, sizeof s->origin, "%s", origin);
    return 0;
}

bool config_nth(const struct config *c, size_t i, struct config_view *ret)
{
    if (i >= ELEMENTS(keys))
        return false;
    *ret = (struct config_view){.section = keys[i].section,
                                .name = keys[i].name,
                                .value = c->settings[i].value,
                                .origin = c->settings[i].origin,
                                .reloads = keys[i].reloads};
    return true;
}

const char *config_origin(const struct config *c, const char *section, const char *name)
{
    bool section_known;
    const struct key *k = find_key(section, name, &section_known);
    return k ? c->settings[k - keys].origin : "";
}

void config_init(struct config *c)
{
    *c = (struct config){.log_level = LOG_INFO,
                         .max_downtime_usec = 300000,
                         .reconnect_usec = 30000000,
                         .max_connections = 8,
                         .accept_overrides = true,
                         .progress_usec = UINT64_C(300000000),
                         .receive_usec = UINT64_C(259200000000),
                         .peer_tls = true,
                         .match_devices = "vendor device driver",
                         .reservation_usec = UINT64_C(60000000),
                         .libvirt_uri = "qemu:///system",
                         .destination_uri = "qemu+tls://%h/system"};
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        set_text(c->settings[i].value, sizeof c->settings[i].value, keys[i].preset);
        set_text(c->settings[i].origin, sizeof c->settings[i].origin, "default");
    }
    /* The service manager knows best: RuntimeDirectory= of the unit. */
    const char *given = getenv("RUNTIME_DIRECTORY");
    bool by_unit = given && *given == '/';
    config_set(c, "Daemon", "RuntimeDirectory", by_unit ? given : RUNSTATEDIR "/migd",
               by_unit ? "RUNTIME_DIRECTORY" : "default", NULL);
}
