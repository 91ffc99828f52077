/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device as a PCI device: config space, the registers in BAR0, plain memory in BAR2 (its first half can
 * be mapped) and the MSI-X table in BAR4. Server thread only, but for BAR2's memory, which the client writes
 * as it likes.
 */
#pragma once
#include "base/error.h"
#include "vfio-user.h"

#define PCI_DEVICE_ID      0x51dau
#define PCI_REGIONS        9u
#define PCI_CONFIG_BYTES   256u
#define PCI_BAR0_BYTES     4096u
#define PCI_BAR2_BYTES     16384u
#define PCI_BAR2_MAP_BYTES 8192u
#define PCI_BAR4_BYTES     4096u

struct device;

struct pci {
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t msix[PCI_BAR4_BYTES];
    int bar2_fd;
    uint8_t *bar2;
};

/* device_id: which of the simdevs it is, the subsystem id. pci_device: the model. */
int pci_init(struct pci *pci, uint32_t device_id, uint16_t pci_device, struct mig_error *err);
void pci_free(struct pci *pci);
/* What a reset leaves of it. */
void pci_reset(struct pci *pci, uint32_t device_id, uint16_t pci_device);
/* Size and VFU_REGION_FLAG_s of a region; size 0: there is none. */
uint64_t pci_region(uint32_t index, uint32_t *ret_flags);
int pci_read(struct device *d, const struct vfu_region_rw *rw, uint8_t *data);
int pci_write(struct device *d, const struct vfu_region_rw *rw, const uint8_t *data);

/* The part of the device's state that lives here: config space, MSI-X table and BAR2. */
struct pci_state {
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t msix[PCI_BAR4_BYTES];
    uint8_t bar2[PCI_BAR2_BYTES];
};
void pci_save(const struct pci *pci, struct pci_state *state);
void pci_load(struct pci *pci, const struct pci_state *state);
