/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pci.h"
#include "device.h"
#include <string.h>
#include <sys/mman.h>

#define CONFIG_VENDOR   0x1b36u
#define CONFIG_BAR0     0x10u
#define CONFIG_BARS_END 0x28u
#define CONFIG_MSIX     0x40u

enum bar0_register {
    REG_MAGIC = 0,
    REG_ID = 4,
    REG_CONTROL = 8,
    REG_RATE = 12,
    REG_PATTERN = 16,
    REG_DOORBELL = 20,
    REG_SEQUENCE_LOW = 24,
    REG_SEQUENCE_HIGH = 28,
    REG_WRITTEN_LOW = 32,
    REG_WRITTEN_HIGH = 36,
    REG_ERRORS = 40,
    REG_STATE = 44,
};
#define BAR0_MAGIC 0x4d495344u /* "DSIM" */

static void put16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof value);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

void pci_reset(struct pci *pci, uint32_t device_id, uint16_t pci_device)
{
    memset(pci->config, 0, sizeof pci->config);
    memset(pci->msix, 0, sizeof pci->msix);
    uint8_t *c = pci->config;
    put16(c + 0x00, CONFIG_VENDOR);
    put16(c + 0x02, pci_device);
    put16(c + 0x06, 0x10); /* status: there is a capability list */
    c[0x08] = 1;           /* revision */
    c[0x0b] = 0xff;        /* class: not in any */
    put16(c + 0x2c, CONFIG_VENDOR);
    put16(c + 0x2e, (uint16_t)device_id);
    c[0x34] = CONFIG_MSIX;
    c[CONFIG_MSIX] = 0x11;
    put16(c + CONFIG_MSIX + 2, IRQ_VECTORS_MAX - 1);
    put32(c + CONFIG_MSIX + 4, 0x000 | 4); /* table: BAR4 at 0 */
    put32(c + CONFIG_MSIX + 8, 0x800 | 4); /* pending bits: BAR4 at 0x800 */
}

int pci_init(struct pci *pci, uint32_t device_id, uint16_t pci_device, struct mig_error *err)
{
    pci->bar2_fd = memfd_create("simdev-bar2", MFD_CLOEXEC);
    if (pci->bar2_fd < 0 || ftruncate(pci->bar2_fd, PCI_BAR2_BYTES) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot make the memory of BAR2: %m");
    void *p = mmap(NULL, PCI_BAR2_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, pci->bar2_fd, 0);
    if (p == MAP_FAILED)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot map the memory of BAR2: %m");
    pci->bar2 = p;
    pci_reset(pci, device_id, pci_device);
    return 0;
}

void pci_free(struct pci *pci)
{
    if (pci->bar2)
        munmap(pci->bar2, PCI_BAR2_BYTES);
    pci->bar2 = NULL;
    close_fd(&pci->bar2_fd);
}

uint64_t pci_region(uint32_t index, uint32_t *ret_flags)
{
    *ret_flags = VFU_REGION_FLAG_READ | VFU_REGION_FLAG_WRITE;
    switch (index) {
    case 0:
        return PCI_BAR0_BYTES;
    case 2:
        *ret_flags |= VFU_REGION_FLAG_MMAP;
        return PCI_BAR2_BYTES;
    case 4:
        return PCI_BAR4_BYTES;
    case VFU_PCI_CONFIG_REGION:
        return PCI_CONFIG_BYTES;
    default:
        *ret_flags = 0;
        return 0;
    }
}

static uint32_t read_register(struct device *d, uint64_t offset)
{
    switch (offset) {
    case REG_MAGIC:
        return BAR0_MAGIC;
    case REG_ID:
        return d->options->id;
    case REG_CONTROL:
        return d->engine.control;
    case REG_RATE:
        return (uint32_t)d->engine.rate;
    case REG_PATTERN:
        return d->engine.pattern.kind;
    case REG_SEQUENCE_LOW:
        return (uint32_t)d->engine.sequence;
    case REG_SEQUENCE_HIGH:
        return (uint32_t)(d->engine.sequence >> 32);
    case REG_WRITTEN_LOW:
        return (uint32_t)d->engine.pages_written;
    case REG_WRITTEN_HIGH:
        return (uint32_t)(d->engine.pages_written >> 32);
    case REG_ERRORS:
        return (uint32_t)d->engine.dma_errors;
    case REG_STATE:
        return d->migration.state;
    default:
        return 0;
    }
}

static void write_register(struct device *d, uint64_t offset, uint32_t value)
{
    struct engine *e = &d->engine;
    engine_park(e);
    switch (offset) {
    case REG_CONTROL:
        e->control = value & 1;
        break;
    case REG_RATE:
        e->rate = value;
        break;
    case REG_PATTERN:
        if (value < PATTERN_MAX)
            e->pattern.kind = value;
        break;
    case REG_DOORBELL:
        e->doorbell += value;
        break;
    default: /* writes to anything else go nowhere, as with hardware */
        break;
    }
    engine_release(e);
}

static int bar0_access(struct device *d, const struct vfu_region_rw *rw, uint8_t *read_to,
                       const uint8_t *write_from)
{
    if (rw->offset % 4 || rw->count % 4)
        return -EINVAL;
    for (uint32_t i = 0; i < rw->count; i += 4) {
        if (read_to)
            put32(read_to + i, read_register(d, rw->offset + i));
        else
            write_register(d, rw->offset + i, get32(write_from + i));
    }
    return 0;
}

/* A BAR keeps only the bits of an address, so that a driver which writes all ones reads its size. */
static void config_write(struct pci *pci, uint64_t offset, uint32_t count, const uint8_t *data)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = offset + i;
        bool bar = at >= CONFIG_BAR0 && at < CONFIG_BARS_END;
        bool writable = bar || (at >= 0x04 && at < 0x06) || at == 0x0c || at == 0x0d || at == 0x3c ||
                        at == CONFIG_MSIX + 3;
        if (!writable)
            continue;
        uint8_t mask = 0xff;
        if (bar) {
            uint32_t flags, index = (uint32_t)(at - CONFIG_BAR0) / 4;
            uint64_t size = pci_region(index, &flags);
            mask = size ? (uint8_t)(~(uint32_t)(size - 1) >> ((at - CONFIG_BAR0) % 4 * 8)) : 0;
        } else if (at == CONFIG_MSIX + 3) {
            mask = 0xc0;
        }
        pci->config[at] = (pci->config[at] & (uint8_t)~mask) | (data[i] & mask);
    }
}

static int check(const struct vfu_region_rw *rw)
{
    uint32_t flags;
    uint64_t size = pci_region(rw->region, &flags);
    return size && range_inside(rw->offset, rw->count, size) ? 0 : -EINVAL;
}

static uint8_t *plain_memory(struct pci *pci, uint32_t region)
{
    return region == 2                       ? pci->bar2
           : region == 4                     ? pci->msix
           : region == VFU_PCI_CONFIG_REGION ? pci->config
                                             : NULL;
}

int pci_read(struct device *d, const struct vfu_region_rw *rw, uint8_t *data)
{
    int r = check(rw);
    if (r < 0)
        return r;
    if (rw->region == 0)
        return bar0_access(d, rw, data, NULL);
    memcpy(data, plain_memory(&d->pci, rw->region) + rw->offset, rw->count);
    return 0;
}

int pci_write(struct device *d, const struct vfu_region_rw *rw, const uint8_t *data)
{
    int r = check(rw);
    if (r < 0)
        return r;
    if (rw->region == 0)
        return bar0_access(d, rw, NULL, data);
    if (rw->region == VFU_PCI_CONFIG_REGION)
        config_write(&d->pci, rw->offset, rw->count, data);
    else
        memcpy(plain_memory(&d->pci, rw->region) + rw->offset, data, rw->count);
    return 0;
}

void pci_save(const struct pci *pci, struct pci_state *state)
{
    memcpy(state->config, pci->config, sizeof state->config);
    memcpy(state->msix, pci->msix, sizeof state->msix);
    memcpy(state->bar2, pci->bar2, sizeof state->bar2);
}

void pci_load(struct pci *pci, const struct pci_state *state)
{
    memcpy(pci->config, state->config, sizeof state->config);
    memcpy(pci->msix, state->msix, sizeof state->msix);
    memcpy(pci->bar2, state->bar2, sizeof state->bar2);
}
