/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "drivers.h"
#include "../common/say.h"
#include "guest.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- edu ---- */

#define EDU_ID 0x11e81234u
enum {
    EDU_SOURCE = 0x80,
    EDU_TARGET = 0x88,
    EDU_COUNT = 0x90,
    EDU_COMMAND = 0x98,
    EDU_START = 1,
    EDU_TO_MEMORY = 2,
    EDU_BUFFER = 0x40000,
    EDU_POLL_USEC = 2000,
    EDU_POLLS_MAX = 5000,
};

static int edu_set(const struct device *d, uint64_t at, uint32_t value)
{
    return device_write(d, DEVICE_BAR0, at, &value, sizeof value);
}

/* Returns when edu is done, which takes it a tenth of a second. */
static int edu_move(const struct device *d, uint32_t from, uint32_t to, uint32_t command)
{
    const uint16_t control = 6; /* memory space, bus master */
    int r = device_write(d, DEVICE_PCI_CONFIG, 4, &control, sizeof control);
    if (r < 0 || (r = edu_set(d, EDU_SOURCE, from)) < 0 || (r = edu_set(d, EDU_TARGET, to)) < 0 ||
        (r = edu_set(d, EDU_COUNT, GUEST_PAGE_BYTES)) < 0 || (r = edu_set(d, EDU_COMMAND, command)) < 0)
        return r;
    for (unsigned i = 0; i < EDU_POLLS_MAX; i++) {
        uint32_t state;
        if ((r = device_read(d, DEVICE_BAR0, EDU_COMMAND, &state, sizeof state)) < 0)
            return r;
        if (!(state & EDU_START))
            return 0;
        usleep(EDU_POLL_USEC);
    }
    return -ETIMEDOUT;
}

static int edu_transfer(struct drivers *d, const struct device *edu, uint64_t seq)
{
    const struct pattern *window = &d->memory->dma_pages;
    uint32_t to = GUEST_DMA_WINDOW + (uint32_t)pattern_page(window, seq) * GUEST_PAGE_BYTES;
    pattern_fill(window, seq, d->memory->base + GUEST_DMA_SOURCE);
    /* The VMM's own writes are in nobody's log: not in KVM's, which sees the vCPU, and not in the IOMMU's. */
    cpu_log_mark(d->log, GUEST_DMA_SOURCE / GUEST_PAGE_BYTES);
    int r = edu_move(edu, GUEST_DMA_SOURCE, EDU_BUFFER, EDU_START);
    return r < 0 ? r : edu_move(edu, EDU_BUFFER, to, EDU_START | EDU_TO_MEMORY);
}

/* ---- mtty ---- */

#define MTTY_ID      0x32534348u
#define UART_SCRATCH 7u /* a register that a UART keeps and does not use */

static int mtty_transfer(const struct device *mtty, uint64_t seq)
{
    uint8_t value = (uint8_t)seq;
    return device_write(mtty, DEVICE_BAR0, UART_SCRATCH, &value, sizeof value);
}

static bool mtty_check(const struct device *mtty, uint64_t seq)
{
    uint8_t value = 0;
    int r = device_read(mtty, DEVICE_BAR0, UART_SCRATCH, &value, sizeof value);
    if (r == 0 && value == (uint8_t)seq)
        return true;
    say("bad", "device %s has %u in its register, not %u", mtty->name, value, (unsigned)(uint8_t)seq);
    return false;
}

/* ---- the thread ---- */

static int transfer(struct drivers *d, uint64_t seq)
{
    for (unsigned i = 0; i < d->ndevices; i++) {
        const struct device *one = &d->devices[i];
        int r = one->id == EDU_ID    ? edu_transfer(d, one, seq)
                : one->id == MTTY_ID ? mtty_transfer(one, seq)
                                     : 0;
        if (r < 0) {
            say("bad", "device %s does not do its work: %s", one->name, strerror(-r));
            return r;
        }
    }
    return 0;
}

static void *drivers_main(void *userdata)
{
    struct drivers *d = userdata;
    pthread_mutex_lock(&d->lock);
    while (!d->quit && !d->failed) {
        if (!d->wanted) {
            d->standing = true;
            pthread_cond_signal(&d->stood);
            while (!d->wanted && !d->quit)
                pthread_cond_wait(&d->go, &d->lock);
            d->standing = false;
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        if (transfer(d, d->count + 1) < 0)
            d->failed = true;
        else
            d->count++;
        usleep(EDU_POLL_USEC);
        pthread_mutex_lock(&d->lock);
    }
    d->standing = true;
    pthread_cond_signal(&d->stood);
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

void drivers_init(struct drivers *d)
{
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->go, NULL);
    pthread_cond_init(&d->stood, NULL);
}

int drivers_resume(struct drivers *d)
{
    int r = 0;
    if (!d->ndevices)
        return 0;
    pthread_mutex_lock(&d->lock);
    d->wanted = true;
    if (!d->started)
        r = -pthread_create(&d->thread, NULL, drivers_main, d);
    d->started |= r == 0;
    pthread_cond_broadcast(&d->go);
    pthread_mutex_unlock(&d->lock);
    return r;
}

void drivers_pause(struct drivers *d)
{
    pthread_mutex_lock(&d->lock);
    d->wanted = false;
    while (d->started && !d->standing)
        pthread_cond_wait(&d->stood, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

bool drivers_check(struct drivers *d)
{
    bool good = true, edu = false;
    for (unsigned i = 0; i < d->ndevices; i++) {
        edu |= d->devices[i].id == EDU_ID;
        if (d->devices[i].id == MTTY_ID && d->count)
            good &= mtty_check(&d->devices[i], d->count);
    }
    return good & (pattern_check(&d->memory->dma_pages, edu ? d->count : 0, false) == 0);
}

void drivers_close(struct drivers *d)
{
    if (!d->started)
        return;
    pthread_mutex_lock(&d->lock);
    d->quit = true;
    pthread_cond_broadcast(&d->go);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    d->started = false;
}
