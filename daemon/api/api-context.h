/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder share. Each object on the bus is one struct here and one file. */
#pragma once
#include "api/api.h"
#include "api/api-error.h"
#include <systemd/sd-bus.h>

#define API_SLOTS_MAX      16u
#define API_JOBS_MAX       64u
#define API_WAITERS_MAX    256u
#define API_ENDED_MAX      32u
#define API_ENDED_MAX_USEC UINT64_C(3600000000)
#define API_NEWS_USEC      UINT64_C(250000) /* PropertiesChanged at most 4 per second */

struct api_fetch;
struct api_job;
struct api_policy;

/* Something of an object has changed: told at once when the last time is long enough ago, else when it will
 * be. */
struct api_news {
    struct loop_timer *timer;
    uint64_t told_usec;
    bool armed;
    void (*tell)(void *userdata);
    void *userdata;
};

struct api_domain {
    struct api *api;
    struct domain *domain; /* referenced */
    char *path;
    struct api_news news;
};

struct api_migration {
    struct api *api;
    struct migration *migration; /* referenced */
    char *path;
    struct api_news news;
    bool ended;
    uint64_t ended_usec;
    sd_bus_message **waiters; /* calls of Wait */
    size_t nwaiters;
};

struct api {
    struct api_options o;
    sd_bus *bus;
    char peer_address[256];
    char summary[600]; /* as told last */
    sd_bus_slot *slots[API_SLOTS_MAX];
    size_t nslots;
    struct api_policy *policy;
    struct api_domain **domains;
    size_t ndomains;
    struct api_migration **migrations; /* oldest first */
    size_t nmigrations;
    struct loop_timer *ticker;  /* while a migration runs: its figures change without anybody saying so */
    struct loop_timer *expiry;  /* of ended migrations */
    struct vm_natives *natives; /* what libvirt does beside migrations of migd's */
    struct api_fetch *fetches;  /* guests that other hosts ask for */
    struct api_job *jobs;
    size_t njobs;
    struct migration_observer observer;
    bool quitting;
    void (*quit_done)(void *userdata);
    void *quit_userdata;
};

/* api-context.c */
int api_keep_slot(struct api *a, sd_bus_slot *slot);
struct api_domain *api_find_domain(struct api *a, const char *name);
/* Whether the daemon still takes up work for domains. */
int api_domain_open(const struct api_domain *ad, struct mig_error *err);
/* Whoever has come to an end says so: the last one of a daemon that is ending ends it. */
void api_check_quit(struct api *a);
void api_forget_quit(struct api *a);

/* api-summary.c: tells the service manager how it stands, when that has changed. */
void api_tell_summary(struct api *a);

/* api-news.c */
int api_news_init(struct api_news *n, struct loop *l, void (*tell)(void *userdata), void *userdata);
void api_news_clear(struct api_news *n);
void api_news_touch(struct api_news *n);
void api_news_now(struct api_news *n);

/* api-manager.c, api-domain.c, api-migration.c, api-log-control.c: put their interfaces on the bus. */
int api_manager_export(struct api *a);
int api_domain_export(struct api *a);
int api_migration_export(struct api *a);
int api_log_control_export(struct api *a);

/* api-domain.c */
/* Of this name, not yet with any parts; saved: it outlives the daemon. Busy while migd ends. */
int api_register_domain(struct api *a, const char *name, bool incoming, bool saved, struct api_domain **ret,
                        struct mig_error *err);
/* Off the bus, out of the registry and of the store, whatever it is doing. The caller drops the reference,
 * where devices may be slow to let go. */
struct domain *api_release_domain(struct api *a, struct api_domain *ad);
/* Takes it off the bus and out of the registry; the caller has a reference of its own to the domain. */
void api_remove_domain(struct api *a, struct api_domain *ad);
struct api_domain *api_domain_free(struct api_domain *ad);

/* api-migration.c */
struct api_migration *api_find_migration(struct api *a, const struct migration *m);
/* By id, prefix of an id, or domain. */
struct api_migration *api_pick_migration(struct api *a, const char *word, struct mig_error *err);
/* "/" when there is none. */
const char *api_migration_path(struct api *a, const char *id);
struct api_migration *api_migration_free(struct api_migration *am);
/* libvirt's part of a migration has ended. */
void api_libvirt_ended(struct migration *m, void *userdata);
/* Those who wait for what has ended. While the daemon ends nobody waits for libvirt. */
void api_answer_waits(struct api *a);
