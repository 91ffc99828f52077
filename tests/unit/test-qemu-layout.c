/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What QEMU prints, recorded, and where the guest's RAM lies by it. Views that say nothing new are left out.
 */
#include "vmm/qemu-layout.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

/* QEMU 7.2, pc, stopped before its firmware ran. */
static const char pc_at_reset[] =
    "FlatView #1\r\n"
    " AS \"memory\", root: system\r\n"
    " AS \"cpu-memory-0\", root: system\r\n"
    " Root memory region: system\r\n"
    "  0000000000000000-00000000000bffff (prio 0, ram): ram0\r\n"
    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
    "  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000\r\n"
    "  0000000000100000-000000000fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
    "\r\n"
    "FlatView #2\r\n"
    " AS \"i440FX\", root: bus master container\r\n"
    " AS \"PIIX3\", root: bus master container\r\n"
    " AS \"piix3-ide\", root: bus master container\r\n"
    " AS \"PIIX4_PM\", root: bus master container\r\n"
    " Root memory region: (none)\r\n"
    "  No rendered FlatView\r\n"
    "\r\n"
    "FlatView #3\r\n"
    " AS \"cpu-smm-0\", root: memory\r\n"
    " Root memory region: memory\r\n"
    "  0000000000000000-00000000000bffff (prio 0, ram): ram0\r\n"
    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
    "  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000\r\n"
    "  0000000000100000-000000000fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n";

/* QEMU 10.0, q35 with 6 GiB, after its firmware ran. */
static const char q35_large[] =
    "FlatView #0\r\n"
    " AS \"cpu-smm-0\", root: memory\r\n"
    " Root memory region: memory\r\n"
    "  0000000000000000-00000000000c2fff (prio 0, ram): ram0\r\n"
    "  00000000000c3000-00000000000e7fff (prio 0, rom): ram0 @00000000000c3000\r\n"
    "  00000000000e8000-00000000000effff (prio 0, ram): ram0 @00000000000e8000\r\n"
    "  00000000000f0000-00000000000fffff (prio 0, rom): ram0 @00000000000f0000\r\n"
    "  0000000000100000-000000007fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
    "  00000000b0000000-00000000bfffffff (prio 0, i/o): pcie-mmcfg-mmio\r\n"
    "  00000000febff000-00000000febfffff (prio 1, i/o): ahci\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fed1c000-00000000fed1ffff (prio 1, i/o): lpc-rcrb-mmio\r\n"
    "  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
    "  0000000100000000-00000001ffffffff (prio 0, ram): ram0 @0000000080000000\r\n"
    "\r\n"
    "FlatView #1\r\n"
    " AS \"memory\", root: system\r\n"
    " AS \"cpu-memory-0\", root: system\r\n"
    " AS \"ich9-ahci\", root: bus master container\r\n"
    " Root memory region: system\r\n"
    "  0000000000000000-00000000000c2fff (prio 0, ram): ram0\r\n"
    "  00000000000c3000-00000000000e7fff (prio 0, rom): ram0 @00000000000c3000\r\n"
    "  00000000000e8000-00000000000effff (prio 0, ram): ram0 @00000000000e8000\r\n"
    "  00000000000f0000-00000000000fffff (prio 0, rom): ram0 @00000000000f0000\r\n"
    "  0000000000100000-000000007fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
    "  00000000b0000000-00000000bfffffff (prio 0, i/o): pcie-mmcfg-mmio\r\n"
    "  00000000febff000-00000000febfffff (prio 1, i/o): ahci\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fed1c000-00000000fed1ffff (prio 1, i/o): lpc-rcrb-mmio\r\n"
    "  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
    "  0000000100000000-00000001ffffffff (prio 0, ram): ram0 @0000000080000000\r\n";

/* QEMU 10.0, pc, two NUMA nodes, one of them private. */
static const char two_nodes[] =
    "FlatView #0\r\n"
    " AS \"memory\", root: system\r\n"
    " AS \"cpu-memory-0\", root: system\r\n"
    " Root memory region: system\r\n"
    "  0000000000000000-00000000000bffff (prio 0, ram): ramA\r\n"
    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
    "  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000\r\n"
    "  0000000000100000-000000000fffffff (prio 0, ram): ramA @0000000000100000\r\n"
    "  0000000010000000-000000001fffffff (prio 0, ram): ramB\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n";

/* QEMU 10.0, q35 with intel-iommu. */
static const char with_iommu[] =
    "FlatView #0\r\n"
    " AS \"memory\", root: system\r\n"
    " AS \"cpu-memory-0\", root: system\r\n"
    " Root memory region: system\r\n"
    "  0000000000000000-00000000000bffff (prio 0, ram): ram0\r\n"
    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
    "  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000\r\n"
    "  0000000000100000-000000000fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fed90000-00000000fed9022f (prio 0, i/o): intel_iommu\r\n"
    "  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
    "\r\n"
    "FlatView #1\r\n"
    " AS \"vtd-root\", root: vtd-00.0\r\n"
    " AS \"vtd-root\", root: vtd-1f.0\r\n"
    " AS \"vtd-root\", root: vtd-1f.2\r\n"
    " AS \"vtd-root\", root: vtd-1f.3\r\n"
    " Root memory region: vtd-nodmar\r\n"
    "  0000000000000000-00000000000bffff (prio 0, ram): ram0\r\n"
    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
    "  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000\r\n"
    "  0000000000100000-000000000fffffff (prio 0, ram): ram0 @0000000000100000\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet\r\n"
    "  00000000fed90000-00000000fed9022f (prio 0, i/o): intel_iommu\r\n"
    "  00000000fee00000-00000000feefffff (prio 1, i/o): vtd-ir\r\n"
    "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n";

/* A q35 whose firmware has locked the last 8 MiB below 4 GiB away, as the guest's view is with it, under KVM.
 */
static const char q35_tseg[] =
    "FlatView #3\r\n"
    " AS \"memory\", root: system\r\n"
    " Root memory region: system\r\n"
    "  0000000000000000-000000000009ffff (prio 0, ram): ram0 KVM\r\n"
    "  00000000000a0000-00000000000bffff (prio 1, i/o): smram-blackhole\r\n"
    "  0000000000100000-000000007f7fffff (prio 0, ram): ram0 @0000000000100000 KVM\r\n"
    "  000000007f800000-000000007fffffff (prio 1, i/o): tseg-blackhole\r\n"
    "  00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram KVM\r\n"
    "  0000000100000000-00000001ffffffff (prio 0, ram): ram0 @0000000080000000 KVM\r\n";

static struct qemu_memory memory_of(const char *id, uint64_t size_bytes)
{
    struct qemu_memory m = {.size_bytes = size_bytes, .fd = -1};
    snprintf(m.id, sizeof m.id, "%s", id);
    return m;
}

static void check(const char *text, const struct qemu_memory *memory, size_t n,
                  const struct qemu_piece *wanted, size_t nwanted)
{
    struct qemu_piece *got = NULL;
    size_t ngot = 0;
    assert_int_equal(qemu_layout_parse(text, memory, n, &got, &ngot), 0);
    assert_int_equal(ngot, nwanted);
    for (size_t i = 0; i < ngot; i++) {
        assert_int_equal(got[i].memory, wanted[i].memory);
        assert_int_equal(got[i].offset_bytes, wanted[i].offset_bytes);
        assert_int_equal(got[i].address, wanted[i].address);
        assert_int_equal(got[i].size_bytes, wanted[i].size_bytes);
    }
    free(got);
}

static void one_piece(void **state)
{
    const struct qemu_memory m = memory_of("ram0", 256 * MIB);
    const struct qemu_piece whole = {.size_bytes = 256 * MIB};
    check(pc_at_reset, &m, 1, &whole, 1);
}

static void around_the_hole(void **state)
{
    const struct qemu_memory m = memory_of("ram0", 6 * GIB);
    const struct qemu_piece pieces[] = {
        {.size_bytes = 2 * GIB},
        {.offset_bytes = 2 * GIB, .address = 4 * GIB, .size_bytes = 4 * GIB},
    };
    check(q35_large, &m, 1, pieces, 2);
    check(q35_tseg, &m, 1, pieces, 2);
}

static void beside_other_ram(void **state)
{
    const struct qemu_memory a = memory_of("ramA", 256 * MIB);
    const struct qemu_memory both[] = {memory_of("ramB", 256 * MIB), a};
    const struct qemu_piece pieces[] = {
        {.memory = 1, .size_bytes = 256 * MIB},
        {.memory = 0, .address = 256 * MIB, .size_bytes = 256 * MIB},
    };
    check(two_nodes, both, 2, pieces, 2);
    check(two_nodes, &a, 1, &(struct qemu_piece){.size_bytes = 256 * MIB}, 1);
}

static void nothing_there(void **state)
{
    const struct qemu_memory m = memory_of("ram1", 256 * MIB), small = memory_of("ram0", MIB);
    struct qemu_piece *got = NULL;
    size_t n = 0;
    assert_int_equal(qemu_layout_parse("", &m, 1, &got, &n), -ENOENT);
    assert_int_equal(qemu_layout_parse("unknown command\r\n", &m, 1, &got, &n), -ENOENT);
    assert_int_equal(qemu_layout_parse(pc_at_reset, &m, 1, &got, &n), -ENOENT);
    /* A backend that is smaller than what the text has of it: the rest is not the backend's. */
    check(pc_at_reset, &small, 1, &(struct qemu_piece){.size_bytes = MIB}, 1);
    assert_null(got);
}

static void iommu(void **state)
{
    assert_true(qemu_layout_has_iommu(with_iommu));
    assert_true(qemu_layout_has_iommu(" AS \"amd_iommu_devfn_16\", root: amd_iommu_root\r\n"));
    assert_true(qemu_layout_has_iommu(" AS \"virtio-iommu-0\", root: x\r\n"));
    assert_false(qemu_layout_has_iommu(q35_large));
    assert_false(qemu_layout_has_iommu(pc_at_reset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_piece),
        cmocka_unit_test(around_the_hole),
        cmocka_unit_test(beside_other_ram),
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(iommu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
