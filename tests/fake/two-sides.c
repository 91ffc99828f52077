/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "two-sides.h"
#include "base/fds.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_USEC UINT64_C(20000000)

atomic_int fault_countdown;
atomic_int fault_fired;
char fault_where[128];
const char *fault_only;
atomic_int fault_delay_msec;

static int fault(const char *where, struct mig_error *err)
{
    if (fault_only && !strstr(where, fault_only))
        return 0;
    if (atomic_load(&fault_countdown) == 0 || atomic_fetch_sub(&fault_countdown, 1) != 1)
        return 0;
    usleep((useconds_t)atomic_load(&fault_delay_msec) * 1000);
    atomic_store(&fault_fired, 1);
    snprintf(fault_where, sizeof fault_where, "%s", where);
    return mig_error_set(err, MIG_ERR_DEVICE, EIO, "%s fails as the test wants it", where);
}

static struct fake_device *from_base(struct device *d)
{
    return CONTAINER_OF(d, struct fake_device, base);
}

static const struct device_info *fake_info(struct device *d)
{
    return &from_base(d)->info;
}

static int fake_get_state(struct device *d, enum device_state *ret, struct mig_error *err)
{
    int r = fault("get_state", err);
    if (r == 0)
        *ret = from_base(d)->state;
    return r;
}

static uint32_t precopy_left(const struct fake_device *f)
{
    uint32_t end = f->precopy_end ? f->precopy_end : STATE_BYTES / 2;
    return f->saved < end ? end - f->saved : 0;
}

static int fake_precopy_info(struct device *d, struct device_precopy *ret, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    if (!f->info.has_precopy_info)
        return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "no such question");
    *ret = (struct device_precopy){.renewed = f->renewals && precopy_left(f) == 0};
    if (ret->renewed) {
        f->renewals--;
        f->precopy_end = f->saved + 1000;
    }
    ret->initial_bytes = precopy_left(f) + f->never_done;
    f->precopy_given = 0;
    return 0;
}

static int fake_set_state(struct device *d, enum device_state state, enum device_state *ret_reached,
                          struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    char where[128];
    snprintf(where, sizeof where, "%s set_state %s", d->name, device_state_to_string(state));
    int r = fault(where, err);
    while (r == 0 && f->state != state) {
        enum device_state next = device_state_next(f->info.migration_flags, f->state, state);
        if (next == DEVICE_STATE_ERROR)
            r = mig_error_set(err, MIG_ERR_DEVICE, EINVAL, "no way from %s to %s",
                              device_state_to_string(f->state), device_state_to_string(state));
        else if (f->state == DEVICE_STATE_RESUMING && next == DEVICE_STATE_STOP && f->loaded != 0 &&
                 f->loaded != STATE_BYTES && !f->gullible)
            r = mig_error_set(err, MIG_ERR_DEVICE, EINVAL, "half a state");
        else {
            f->left_precopy_early |=
                next == DEVICE_STATE_STOP_COPY && f->state == DEVICE_STATE_PRE_COPY_P2P && precopy_left(f);
            f->taken |= f->state == DEVICE_STATE_RESUMING && f->loaded != 0;
            f->state = next;
        }
        if (f->state == DEVICE_STATE_RESUMING)
            f->loaded = 0;
        if (f->state == DEVICE_STATE_RUNNING)
            f->saved = 0;
    }
    if (ret_reached)
        *ret_reached = f->state;
    return r;
}

static ssize_t fake_read_state(struct device *d, void *buf, size_t size, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    int r = fault("read_state", err);
    if (r < 0)
        return r;
    bool precopy = f->state == DEVICE_STATE_PRE_COPY || f->state == DEVICE_STATE_PRE_COPY_P2P;
    size_t n = MIN(size, precopy ? (size_t)precopy_left(f) : (size_t)(STATE_BYTES - f->saved));
    if (precopy && f->precopy_pace)
        n = MIN(n, (size_t)(f->precopy_pace - f->precopy_given));
    f->precopy_given += precopy ? (uint32_t)n : 0;
    if (n == 0)
        return precopy ? -ENOMSG : 0;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)buf)[i] = (uint8_t)((f->saved + i) * 7);
    f->saved += (uint32_t)n;
    return (ssize_t)n;
}

static int fake_write_state(struct device *d, const void *buf, size_t size, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    int r = fault("write_state", err);
    if (r < 0)
        return r;
    if (f->state != DEVICE_STATE_RESUMING)
        return mig_error_set(err, MIG_ERR_DEVICE, EINVAL, "not resuming");
    for (size_t i = 0; i < size && !f->gullible; i++)
        if (((const uint8_t *)buf)[i] != (uint8_t)((f->loaded + i) * 7))
            return mig_error_set(err, MIG_ERR_DEVICE, EINVAL, "not the state that was saved");
    f->loaded += (uint32_t)size;
    return 0;
}

static int fake_reset(struct device *d, struct mig_error *err)
{
    int r = fault("reset", err);
    if (r == 0)
        from_base(d)->state = DEVICE_STATE_RUNNING;
    return r;
}

static int fake_log_start(struct device *d, uint64_t *page_bytes, struct mig_error *err)
{
    int r = fault("log_start", err);
    if (r == 0)
        from_base(d)->logging = true;
    *page_bytes = REGION_PAGE_SIZE;
    return r;
}

static int fake_log_stop(struct device *d, struct mig_error *err)
{
    from_base(d)->logging =
        false; /* a stop that fails leaves a device that cannot be helped: not swept here */
    return 0;
}

static uint32_t write_page(struct fake_device *f, struct region *r)
{
    uint32_t page = f->next_page++ * 37 % (MEMORY_BYTES / REGION_PAGE_SIZE);
    memset(r->map + (size_t)page * REGION_PAGE_SIZE, (int)f->next_page | 1, 100);
    return page;
}

static void report_page(uint64_t *words, uint32_t page)
{
    words[page / 64] |= UINT64_C(1) << (page % 64);
}

static int fake_log_report(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err)
{
    struct fake_device *f = from_base(d);
    int r = fault("log_report", err);
    if (r < 0)
        return r;
    struct iova_mapping *maps;
    size_t n;
    assert_int_equal(iova_map_snapshot(d->map, &maps, &n), 0);
    bool runs = f->state == DEVICE_STATE_RUNNING || f->state == DEVICE_STATE_PRE_COPY;
    bool quiet = f->rogue_done < f->rogue_after;
    bool rogue = !runs && !quiet && f->rogue_pages &&
                 (!f->rogue_reports || f->rogue_done - f->rogue_after < f->rogue_reports);
    unsigned count = runs ? 3 : rogue ? f->rogue_pages : 0;
    f->rogue_done += (rogue || quiet) && f->state == DEVICE_STATE_STOP_COPY;
    for (size_t i = 0; i < n; i++) {
        uint64_t words[MEMORY_BYTES / REGION_PAGE_SIZE / 64] = {0};
        for (unsigned k = 0; k < count; k++)
            report_page(words, write_page(f, maps[i].region));
        if (runs && f->loses_bits)
            write_page(f, maps[i].region);
        if (runs && f->dirties_all)
            memset(words, 0xff, sizeof words);
        cb(userdata, &maps[i], REGION_PAGE_SIZE, words, maps[i].size_bytes / REGION_PAGE_SIZE);
    }
    iova_mappings_free(maps, n);
    return 0;
}

static int fake_dma_map(struct device *d, const struct iova_mapping *m, struct mig_error *err)
{
    return iova_map_add(d->map, m, err);
}

static int fake_dma_unmap(struct device *d, uint64_t iova, uint64_t size, struct mig_error *err)
{
    return iova_map_remove(d->map, iova, size, err);
}

static int fake_gone_fd(struct device *d)
{
    int fd = from_base(d)->gone_fd;
    return fd ? fd : -1;
}

static int fake_stop_copy_size(struct device *d, uint64_t *ret, struct mig_error *err)
{
    *ret = from_base(d)->stop_copy_bytes;
    return 0;
}

static void fake_destroy(struct device *d)
{
    iova_map_free(d->map);
    free(from_base(d));
}

static const struct device_ops fake_ops = {
    .info = fake_info,
    .get_state = fake_get_state,
    .set_state = fake_set_state,
    .read_state = fake_read_state,
    .write_state = fake_write_state,
    .precopy_info = fake_precopy_info,
    .stop_copy_size = fake_stop_copy_size,
    .reset = fake_reset,
    .log_start = fake_log_start,
    .log_stop = fake_log_stop,
    .log_report = fake_log_report,
    .dma_map = fake_dma_map,
    .dma_unmap = fake_dma_unmap,
    .gone_fd = fake_gone_fd,
    .destroy = fake_destroy,
};

static struct fake_controller *controller_from(struct controller *c)
{
    return CONTAINER_OF(c, struct fake_controller, base);
}

static int fake_pause(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    int r = fault("pause", err);
    if (r == 0)
        controller_from(c)->runs = false;
    return r;
}

static int fake_resume(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    int r = fault("resume", err);
    if (r == 0)
        controller_from(c)->runs = true;
    return r;
}

static int fake_save(struct controller *c, uint64_t deadline, int *ret_fd, struct mig_error *err)
{
    int r = fault("save", err);
    if (r < 0)
        return r;
    FILE *f = tmpfile();
    fputs("vmm", f);
    fflush(f);
    *ret_fd = fd_dup(fileno(f));
    fclose(f);
    return *ret_fd < 0 ? *ret_fd : 0;
}

static int fake_load(struct controller *c, int fd, uint64_t deadline, struct mig_error *err)
{
    char text[4] = "";
    int r = fault("load", err);
    if (r < 0)
        return r;
    usleep(controller_from(c)->load_msec * 1000);
    struct region *writes = controller_from(c)->load_writes;
    if (writes)
        memset(writes->map + writes->size_bytes - REGION_PAGE_SIZE, 0x5a, 16);
    assert_int_equal(pread_full(fd, text, 3, 0), 0);
    controller_from(c)->loaded = strcmp(text, "vmm") == 0;
    return 0;
}

static void fake_controller_destroy(struct controller *c)
{
    free(controller_from(c));
}

static int fake_alive(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    return fault("alive", err);
}

static const struct controller_ops fake_controller_ops = {.kind = "fake",
                                                          .pause = fake_pause,
                                                          .resume = fake_resume,
                                                          .save = fake_save,
                                                          .load = fake_load,
                                                          .alive = fake_alive,
                                                          .destroy = fake_controller_destroy};

static void check_ended(struct scene *s)
{
    bool incoming_ended = !s->destination.migration || s->destination.ended;
    if (s->source.ended && incoming_ended)
        loop_exit(s->loop, 0);
}

static void on_ended(struct migration *m, void *userdata)
{
    struct side *side = userdata;
    if (migration_get_state(m) == MIG_STATE_IN_DOUBT)
        return;
    side->ended = true;
    check_ended(side->scene);
}

static void on_incoming(struct migration *m, void *userdata)
{
    struct scene *s = userdata;
    migration_unref(s->destination.migration); /* a scripted peer may begin several, one after the other */
    s->destination.migration = migration_ref(m);
    migration_set_observer(m, &(struct migration_observer){.ended = on_ended, .userdata = &s->destination});
}

static void on_late(void *userdata)
{
    struct scene *s = userdata;
    s->late = true;
    loop_exit(s->loop, 1);
}

static void make_side(struct scene *s, struct side *side, bool incoming, size_t ndevices)
{
    side->scene = s;
    assert_int_equal(registry_new(&side->registry), 0);
    assert_int_equal(domain_new(&side->domain, "dom", incoming, NULL), 0);
    assert_int_equal(registry_add(side->registry, side->domain, NULL), 0);
    assert_int_equal(region_new_made(&side->region, "ram", MEMORY_BYTES, 0, -1, NULL), 0);
    uint64_t iova = 0;
    assert_int_equal(domain_add_memory(side->domain, side->region, &iova, 1, NULL), 0);
    for (size_t i = 0; i < ndevices; i++) {
        struct fake_device *d = calloc(1, sizeof *d);
        char name[32];
        snprintf(name, sizeof name, "dev%zu", i);
        assert_int_equal(device_init(&d->base, &fake_ops, name), 0);
        d->info = (struct device_info){.kind = "fake",
                                       .migration_flags = 7,
                                       .dirty_log = true,
                                       .resettable = true,
                                       .num_regions = 9,
                                       .num_irqs = 5};
        d->state = incoming ? DEVICE_STATE_STOP : DEVICE_STATE_RUNNING;
        side->device[i] = d;
        const struct domain_device dd = {.device = &d->base,
                                         .timeout_usec = 1000000,
                                         .log_page_bytes = REGION_PAGE_SIZE,
                                         .use_precopy = true,
                                         .automap = true};
        assert_int_equal(domain_add_device(side->domain, &dd, NULL), 0);
    }
    side->controller = calloc(1, sizeof *side->controller);
    side->controller->base = (struct controller){&fake_controller_ops, 1};
    side->controller->runs = !incoming;
    assert_int_equal(domain_set_controller(side->domain, &side->controller->base, NULL, NULL), 0);
}

void make_scene(struct scene *s, size_t ndevices)
{
    *s = (struct scene){0};
    snprintf(s->dir, sizeof s->dir, "/tmp/migd-sweep-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    char sub[100];
    for (int i = 0; i < 2; i++) {
        snprintf(sub, sizeof sub, "%s/%c/migrations", s->dir, "sd"[i]);
        assert_int_equal(mkdir_parents(sub), 0);
    }
    snprintf(s->address, sizeof s->address, "unix:%s/peer", s->dir);
    assert_int_equal(loop_new(&s->loop), 0);
    assert_int_equal(loop_timer_new(&s->patience, s->loop, on_late, s), 0);
    make_side(s, &s->source, false, ndevices);
    make_side(s, &s->destination, true, ndevices);
    for (size_t i = 0; i < MEMORY_BYTES; i += 512)
        s->source.region->map[i] = (uint8_t)(i >> 9);
    memset(s->source.region->map + MEMORY_BYTES / 2, 0, MEMORY_BYTES / 8);
}

/* What was posted for a migration holds a reference that only the loop gives back, and so does its thread. */
static void let_end(struct scene *s, struct side *side)
{
    for (int i = 0; i < 300 && side->migration; i++) {
        migration_shutdown(side->migration);
        loop_timer_arm(s->patience, 2000);
        loop_run(s->loop);
        if (migration_get_state(side->migration) != MIG_STATE_RUNNING)
            break;
    }
}

void end_scene(struct scene *s)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = i ? &s->destination : &s->source;
        let_end(s, side);
        migration_unref(side->migration);
    }
    incoming_free(s->incoming);
    for (int i = 0; i < 2; i++) {
        struct side *side = i ? &s->destination : &s->source;
        registry_free(side->registry);
        domain_unref(side->domain);
        for (int k = 0; k < 2; k++)
            if (side->device[k])
                device_unref(&side->device[k]->base);
        controller_unref(&side->controller->base);
        region_unref(side->region);
    }
    loop_timer_free(s->patience);
    loop_free(s->loop);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
    assert_int_equal(system(command), 0);
}

void scene_listen(struct scene *s)
{
    const struct incoming_callbacks cb = {.started = on_incoming, .userdata = s};
    snprintf(s->destination_dir, sizeof s->destination_dir, "%s/d", s->dir);
    assert_int_equal(incoming_new(&s->incoming, s->loop, s->destination.registry,
                                  s->tcp ? "127.0.0.1:0" : s->address, -1, s->destination_dir, &cb, NULL),
                     0);
    incoming_set_accept_overrides(s->incoming, !s->refuse_overrides);
    if (s->limits.progress_usec)
        incoming_set_patience(s->incoming, &s->limits);
    if (s->tcp)
        snprintf(s->address, sizeof s->address, "%s", incoming_address(s->incoming));
}

/* The source's listener answers a destination in doubt. */
static struct incoming *open_source(struct scene *s)
{
    struct incoming *answers;
    const struct incoming_callbacks cb = {.started = on_incoming, .userdata = s};
    snprintf(s->source_dir, sizeof s->source_dir, "%s/s", s->dir);
    if (s->tcp)
        snprintf(s->source_address, sizeof s->source_address, "0.0.0.0:0");
    else
        snprintf(s->source_address, sizeof s->source_address, "unix:%s/source", s->dir);
    assert_int_equal(
        incoming_new(&answers, s->loop, s->source.registry, s->source_address, -1, s->source_dir, &cb, NULL),
        0);
    snprintf(s->source_address, sizeof s->source_address, "%s", incoming_address(answers));
    s->context = (struct outgoing_context){.loop = s->loop,
                                           .runtime_dir = s->source_dir,
                                           .decision_address = s->source_address,
                                           .total = s->total};
    return answers;
}

static struct incoming *open_listeners(struct scene *s)
{
    scene_listen(s);
    return open_source(s);
}

static void run_loop(struct scene *s)
{
    loop_timer_arm(s->patience, PATIENCE_USEC);
    loop_run(s->loop);
}

static int run_between(struct scene *s, struct incoming *answers, const struct migration_options *o,
                       struct mig_error *err)
{
    const struct migration_observer observer = {.ended = on_ended, .userdata = &s->source};
    const char *peer = s->source_peer[0] ? s->source_peer : s->address;
    int r = outgoing_start(&s->source.migration, &s->context, s->source.domain, peer, o, &observer, err);
    if (r == 0)
        run_loop(s);
    incoming_free(answers);
    return r;
}

int run_scene(struct scene *s, const struct migration_options *o, struct mig_error *err)
{
    return run_between(s, open_listeners(s), o, err);
}

void run_source(struct scene *s, const struct migration_options *o)
{
    assert_int_equal(run_between(s, open_source(s), o, NULL), 0);
}

static struct record make_record(struct scene *s, bool incoming, enum record_state state)
{
    struct record r = {.domain = "dom", .incoming = incoming, .state = state};
    snprintf(r.id, sizeof r.id, "%s", SCENE_ID);
    snprintf(r.token, sizeof r.token, "%s", SCENE_ID);
    snprintf(r.peer, sizeof r.peer, "%s", incoming ? s->source_address : s->address);
    assert_int_equal(record_write(incoming ? s->destination_dir : s->source_dir, &r, NULL), 0);
    return r;
}

void recover_scene(struct scene *s, enum record_state out, enum record_state in)
{
    struct incoming *answers = open_listeners(s);
    const struct migration_observer observer = {.ended = on_ended, .userdata = &s->source};
    struct record source, destination;
    if (out != RECORD_STATE_MAX)
        source = make_record(s, false, out);
    if (in != RECORD_STATE_MAX)
        destination = make_record(s, true, in);
    s->source.ended = true;
    if (out != RECORD_STATE_MAX && out != RECORD_ABORTED) {
        s->source.ended = false;
        assert_int_equal(
            outgoing_recover(&s->source.migration, &s->context, s->source.domain, &source, &observer, NULL),
            0);
    }
    if (in != RECORD_STATE_MAX && in != RECORD_RETURNED)
        assert_int_equal(incoming_recover(s->incoming, s->destination.domain, &destination, NULL), 0);
    run_loop(s);
    incoming_free(answers);
}

int scene_record(const struct scene *s, bool incoming)
{
    struct record r;
    int e = record_read(incoming ? s->destination_dir : s->source_dir, SCENE_ID, incoming, &r);
    return e < 0 ? e : (int)r.state;
}

bool side_runs(const struct side *side, size_t ndevices)
{
    bool runs = side->controller->runs;
    for (size_t i = 0; i < ndevices; i++)
        runs |=
            side->device[i]->state == DEVICE_STATE_RUNNING || side->device[i]->state == DEVICE_STATE_PRE_COPY;
    return runs;
}

bool side_runs_whole(const struct side *side, size_t ndevices)
{
    bool runs = side->controller->runs;
    for (size_t i = 0; i < ndevices; i++)
        runs &= side->device[i]->state == DEVICE_STATE_RUNNING;
    return runs;
}

size_t count_entries(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

size_t count_threads_at_rest(void)
{
    for (size_t before = 0, n;; before = n) {
        n = count_entries("/proc/self/task");
        if (n == before)
            return n;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}
