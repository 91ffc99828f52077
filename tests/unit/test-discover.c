/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process holds, found in trees of /proc and /sys that this file makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/fds.h"
#include "discover.h"
#include "foreign-fd.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PID "4711"

static char root[64], proc_root[80], sys_root[80];

/* ---- the tree ---- */

static const char *at(const char *format, ...) _printf_(1, 2);
static const char *at(const char *format, ...)
{
    static char path[2][1200];
    static unsigned turn;
    char *p = path[turn++ % 2];
    int n = snprintf(p, 1200, "%s/", root);
    va_list ap;
    va_start(ap, format);
    vsnprintf(p + n, 1200 - (size_t)n, format, ap);
    va_end(ap);
    return p;
}

static void make_folder_of(const char *path)
{
    char folder[1200];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(mkdir_parents(folder), 0);
}

static void put(const char *path, const char *text)
{
    make_folder_of(path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static void point(const char *path, const char *target)
{
    make_folder_of(path);
    assert_int_equal(symlink(target, path), 0);
}

/* A descriptor with its fdinfo. */
static void have(int fd, const char *link, const char *info)
{
    point(at("proc/" PID "/fd/%d", fd), link);
    put(at("proc/" PID "/fdinfo/%d", fd), info);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int setup(void **state)
{
    snprintf(root, sizeof root, "/tmp/migd-discover-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(proc_root, sizeof proc_root, "%s/proc", root);
    snprintf(sys_root, sizeof sys_root, "%s/sys", root);
    put(at("proc/" PID "/comm"), "holder (1) x\n");
    put(at("proc/" PID "/maps"), "");
    put(at("proc/" PID "/fd/unreadable"), "");
    return 0;
}

/* Descriptors 40 to 49 are one open file. */
static bool same_file(uint64_t pid, int a, int b)
{
    return a / 10 == 4 && b / 10 == 4;
}

/* The path says what it is. */
static int memory_file(const char *path, bool *ret_memory, uint64_t *ret_page_bytes)
{
    char link[300];
    ssize_t n = readlink(path, link, sizeof link - 1);
    if (n < 0)
        return -ENOENT;
    link[n] = '\0';
    if (strstr(link, "secret"))
        return -EPERM;
    *ret_memory = !strstr(link, "/home/");
    *ret_page_bytes = strstr(link, "huge") ? 2 << 20 : 4096;
    return 0;
}

static const struct discovery_world world = {
    .proc = proc_root, .sys = sys_root, .same_file = same_file, .memory_file = memory_file};

static struct discovery look(void)
{
    struct discovery d;
    struct mig_error err = MIG_ERROR_INIT;
    if (discover(&d, 4711, &world, &err) < 0)
        fail_msg("%s", err.message);
    return d;
}

/* ---- tests ---- */

static void links(void **state)
{
    static const struct {
        const char *link;
        enum discovery_kind kind;
        unsigned number;
        bool no_iommu;
    } good[] = {
        {"/dev/vfio/vfio", DISCOVERY_CONTAINER, 0, false},
        {"/dev/vfio/vfio (deleted)", DISCOVERY_CONTAINER, 0, false},
        {"/dev/iommu", DISCOVERY_IOMMUFD, 0, false},
        {"/dev/iommu (deleted)", DISCOVERY_IOMMUFD, 0, false},
        {"/dev/vfio/0", DISCOVERY_GROUP, 0, false},
        {"/dev/vfio/127 (deleted)", DISCOVERY_GROUP, 127, false},
        {"/dev/vfio/noiommu-3", DISCOVERY_GROUP, 3, true},
        {"/dev/vfio/devices/vfio12", DISCOVERY_CDEV, 12, false},
        {"anon_inode:[vfio-device]", DISCOVERY_DEVICE, 0, false},
    };
    static const char *const bad[] = {
        "",
        "/",
        "/dev/vfio",
        "/dev/vfio/",
        "/dev/vfio/vfioo",
        "/dev/vfio/vfio2",
        "/dev/vfio/12x",
        "/dev/vfio/-1",
        "/dev/vfio/ 1",
        "/dev/vfio/99999999999999999999",
        "/dev/vfio/4294967296",
        "/dev/vfio/noiommu-",
        "/dev/vfio/devices/vfio",
        "/dev/vfio/devices/vfiox",
        "/dev/vfio/devices/3",
        "/dev/iommu2",
        "/home/me/dev/vfio/vfio",
        "anon_inode:[vfio-device] (deleted)",
        "anon_inode:[eventfd]",
        "socket:[12]",
        " (deleted)",
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        struct discovery_item item;
        if (!discovery_parse_link(good[i].link, &item))
            fail_msg("not taken: %s", good[i].link);
        assert_int_equal(item.kind, good[i].kind);
        assert_int_equal(item.number, good[i].number);
        assert_int_equal(item.no_iommu, good[i].no_iommu);
    }
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct discovery_item item = {.fd = 77};
        if (discovery_parse_link(bad[i], &item))
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(item.fd, 77); /* untouched */
    }
}

static void lines(void **state)
{
    struct discovery_line l;
    char good[] =
        "7f0000000000-7f0000800000 rw-s 00001000 00:01 1036                /memfd:a b\\012c (deleted)\n";
    assert_true(discovery_parse_line(good, &l));
    assert_int_equal(l.place.address, 0x7f0000000000);
    assert_int_equal(l.place.size_bytes, 8 << 20);
    assert_int_equal(l.place.offset, 4096);
    assert_int_equal(l.inode, 1036);
    assert_int_equal(l.device, 1);
    assert_true(l.shared && l.writable);
    assert_string_equal(l.path, "/memfd:a b\nc (deleted)");
    char anonymous[] = "7ffd0000-7ffe0000 rw-p 00000000 00:00 0 ";
    assert_true(discovery_parse_line(anonymous, &l));
    assert_string_equal(l.path, "");
    assert_false(l.shared);
    char read_only[] = "1000-2000 r--s 00000000 fd:01 12345678901 /x";
    assert_true(discovery_parse_line(read_only, &l));
    assert_false(l.writable);
    assert_int_equal(l.inode, 12345678901);
    assert_int_equal(l.device, (UINT64_C(0xfd) << 32) | 1);
    static const char *const bad[] = {
        "",
        "\n",
        "hello",
        "1000-2000",
        "1000-2000 rw-s",
        "1000-2000 rw- 0 0:0 1 /x",
        "1000-2000 rw-sx 0 0:0 1 /x",
        "2000-1000 rw-s 0 0:0 1 /x",
        "1000-1000 rw-s 0 0:0 1 /x",
        "1000-2000 rw-s 0 0:0 /x",
        "1000-2000 rw-s 0 0:0 1x /x",
        "1000-2000 rw-s zz 0:0 1 /x",
        "1000-3000 rw-s fffffffffffff000 0:0 1 /x",
        "Size:               4096 kB",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        char text[200];
        snprintf(text, sizeof text, "%s", bad[i]);
        if (discovery_parse_line(text, &l))
            fail_msg("taken: %s", bad[i]);
    }
}

static void nothing(void **state)
{
    have(0, "/dev/null", "flags: 02\n");
    have(3, "socket:[1234]", "flags: 02\n");
    struct discovery d = look();
    assert_int_equal(d.n_items, 0);
    assert_int_equal(d.n_memory, 0);
    assert_string_equal(d.command, "holder (1) x");
    assert_null(d.program);
    assert_false(d.qemu);
    discovery_done(&d);
}

static void nobody(void **state)
{
    struct discovery d;
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(discover(&d, 4712, &world, &err), -ESRCH);
    assert_non_null(strstr(err.message, "no process 4712"));
}

/* An old kernel: a container, a group, the device that came out of it. */
static void legacy(void **state)
{
    have(10, "/dev/vfio/vfio", "ino:\t7\n");
    have(11, "/dev/vfio/5", "ino:\t8\n");
    have(9, "anon_inode:[vfio-device]", "pos:\t0\nflags:\t02\nino:\t9\n");
    put(at("sys/kernel/iommu_groups/5/devices/0000:00:04.0/x"), "");
    point(at("sys/kernel/iommu_groups/5/devices/0000:00:04.0/driver"), "../../../bus/pci/drivers/vfio-pci");
    point(at("sys/kernel/iommu_groups/5/devices/0000:00:04.0/subsystem"), "../../../bus/pci");
    /* The bridge above it does not count. */
    point(at("sys/kernel/iommu_groups/5/devices/0000:00:01.0/driver"), "../../../bus/pci/drivers/pcieport");
    struct discovery d = look();
    assert_int_equal(d.n_items, 3);
    assert_int_equal(d.items[0].fd, 9); /* by number */
    assert_int_equal(d.items[0].kind, DISCOVERY_DEVICE);
    assert_string_equal(d.items[0].address, "0000:00:04.0");
    assert_non_null(strstr(d.items[0].how, "group"));
    assert_false(d.items[0].mediated);
    assert_string_equal(d.items[0].identity, "9 anon_inode:[vfio-device]");
    assert_int_equal(d.items[1].kind, DISCOVERY_CONTAINER);
    assert_int_equal(d.items[2].kind, DISCOVERY_GROUP);
    assert_string_equal(d.items[2].members, "0000:00:04.0");
    discovery_done(&d);
    /* Two devices of a group: which is which is not known, and not guessed. */
    have(12, "anon_inode:[vfio-device]", "ino:\t9\n");
    point(at("sys/kernel/iommu_groups/5/devices/0000:00:04.1/driver"), "../../../bus/pci/drivers/vfio-pci");
    d = look();
    assert_int_equal(d.n_items, 4);
    assert_null(d.items[0].address);
    assert_null(d.items[3].address);
    assert_string_equal(d.items[2].members, "0000:00:04.0 0000:00:04.1");
    discovery_done(&d);
}

/* A new kernel says it in fdinfo, also for devices of groups. */
static void fdinfo(void **state)
{
    have(20, "anon_inode:[vfio-device]",
         "pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:00:05.0\n");
    have(21, "anon_inode:[vfio-device]",
         "vfio-device-syspath: /sys/devices/virtual/mtty/mtty/6d696764-0000-4000-0001-000000000000\n");
    have(22, "anon_inode:[vfio-device]", "vfio-device-syspath: /etc/passwd\n");
    have(23, "anon_inode:[vfio-device]", "vfio-device-syspath: /sys/devices/\n");
    have(24, "anon_inode:[vfio-device]", "");
    point(at("sys/devices/virtual/mtty/mtty/6d696764-0000-4000-0001-000000000000/subsystem"),
          "../../../../../bus/mdev");
    struct discovery d = look();
    assert_int_equal(d.n_items, 5);
    assert_string_equal(d.items[0].address, "0000:00:05.0");
    assert_string_equal(d.items[0].how, "fdinfo");
    assert_string_equal(d.items[1].address, "6d696764-0000-4000-0001-000000000000");
    assert_true(d.items[1].mediated);
    for (int i = 2; i < 5; i++)
        assert_null(d.items[i].address);
    discovery_done(&d);
}

static void cdevs(void **state)
{
    have(7, "/dev/iommu", "ino:\t70\n");
    have(8, "/dev/vfio/devices/vfio3", "ino:\t71\n");
    have(9, "/dev/vfio/devices/vfio4 (deleted)", "ino:\t72\n");
    have(40, "/dev/vfio/devices/vfio5", "ino:\t73\n");
    have(41, "/dev/vfio/devices/vfio5", "ino:\t73\n"); /* once more */
    put(at("sys/devices/pci/0000:3b:00.2/x"), "");
    point(at("sys/class/vfio-dev/vfio3/device"), "../../../devices/pci/0000:3b:00.2");
    put(at("sys/devices/virtual/6d696764-0000-4000-0001-000000000000/x"), "");
    point(at("sys/devices/virtual/6d696764-0000-4000-0001-000000000000/subsystem"), "../../../bus/mdev");
    point(at("sys/class/vfio-dev/vfio4/device"),
          "../../../devices/virtual/6d696764-0000-4000-0001-000000000000");
    struct discovery d = look();
    assert_int_equal(d.n_items, 4);
    assert_string_equal(d.items[1].address, "0000:3b:00.2");
    assert_false(d.items[1].mediated);
    assert_true(d.items[2].mediated);
    assert_null(d.items[3].address);
    assert_int_equal(d.items[3].n_others, 1);
    assert_int_equal(d.items[3].others[0], 41);
    discovery_done(&d);
}

static void memory(void **state)
{
    put(at("proc/" PID "/maps"),
        "garbage\n"
        "00400000-00500000 r-xp 00000000 08:01 11 /usr/bin/holder\n"
        /* Two memfds of one name, the second mapped in two pieces. */
        "7f0000000000-7f0000800000 rw-s 00000000 00:01 1036                /memfd:guest (deleted)\n"
        "7f1000000000-7f1000400000 rw-s 00400000 00:01 1037 /memfd:guest (deleted)\n"
        "7f2000000000-7f2000400000 rw-s 00000000 00:01 1037 /memfd:guest (deleted)\n"
        /* Huge pages, a name with blanks. */
        "7f3000000000-7f3001000000 rw-s 00000000 00:0f 50 /dev/hugepages/huge ram (deleted)\n"
        /* Without a descriptor that may write. */
        "7f4000000000-7f4000200000 rw-s 00000000 00:01 60 /dev/shm/read-only\n"
        /* Not guest memory: small, on a disk, private, not writable, a device. */
        "7f5000000000-7f5000001000 rw-s 00000000 00:01 70 /memfd:small (deleted)\n"
        "7f6000000000-7f6001000000 rw-s 00000000 08:01 80 /home/me/data\n"
        "7f7000000000-7f7001000000 rw-p 00000000 00:01 90 /memfd:private (deleted)\n"
        "7f8000000000-7f8001000000 r--s 00000000 00:01 91 /memfd:readable (deleted)\n"
        "7f9000000000-7f9001000000 rw-s 00000000 00:05 92 /dev/vfio/devices/vfio0\n"
        "7fa000000000-7fa001000000 rw-s 00000000 00:01 0 \n"
        /* What may not be looked at is judged by its name. */
        "7fb000000000-7fb000300000 rw-s 00000000 00:01 93 /memfd:secret (deleted)\n"
        "7fc000000000-7fc000300000 rw-s 00000000 08:01 94 /var/secret\n");
    have(3, "/memfd:guest (deleted)", "pos:\t0\nflags:\t02100002\nmnt_id:\t1\nino:\t1037\n");
    have(4, "/memfd:guest (deleted)", "flags:\t02100002\nino:\t1036\n");
    have(5, "/memfd:guest (deleted)", "flags:\t02100002\nino:\t1036\n");
    have(6, "/dev/hugepages/huge ram (deleted)", "flags:\t0100002\nino:\t50\n");
    have(7, "/dev/shm/read-only", "flags:\t0100000\nino:\t60\n");
    have(8, "/memfd:small (deleted)", "flags:\t02\nino:\t70\n");
    have(9, "/home/me/data", "flags:\t02\nino:\t80\n");
    have(10, "/memfd:secret (deleted)", "flags:\t02\nino:\t93\n");
    have(11, "/var/secret", "flags:\t02\nino:\t94\n");
    have(12, "/memfd:guest (deleted)", "flags:\t02\nino:\t9999\n");
    have(13, "/dev/shm/gone", "flags:\t02\nino:\t60\n"); /* the same inode, another file */
    struct discovery d = look();
    assert_int_equal(d.n_items, 0);
    unsigned proposed = 0;
    for (size_t i = 0; i < d.n_memory; i++) {
        const struct discovery_memory *m = &d.memory[i];
        proposed += m->proposed;
        switch (m->inode) {
        case 1036:
            assert_true(m->proposed);
            assert_int_equal(m->fd, 4);
            assert_int_equal(m->size_bytes, 8 << 20);
            assert_int_equal(m->page_bytes, 4096);
            assert_string_equal(m->identity, "1036 /memfd:guest (deleted)");
            break;
        case 1037:
            assert_true(m->proposed);
            assert_int_equal(m->fd, 3);
            assert_int_equal(m->size_bytes, 8 << 20);
            assert_int_equal(m->n_places, 2);
            assert_int_equal(m->places[0].address, 0x7f2000000000); /* by offset */
            break;
        case 50:
            assert_true(m->proposed);
            assert_int_equal(i, 0); /* the largest */
            assert_int_equal(m->page_bytes, 2 << 20);
            assert_string_equal(m->path, "/dev/hugepages/huge ram (deleted)");
            break;
        case 60:
            assert_true(m->proposed); /* through its mapping */
            assert_int_equal(m->fd, -1);
            break;
        case 93:
            assert_true(m->proposed);
            assert_int_equal(m->page_bytes, 0);
            break;
        case 70:
        case 80:
        case 94:
            assert_false(m->proposed);
            break;
        default:
            fail_msg("inode %llu is no memory", (unsigned long long)m->inode);
        }
    }
    assert_int_equal(d.n_memory, 8);
    assert_int_equal(proposed, 5);
    discovery_done(&d);
}

/* Before Linux 5.14 fdinfo has no inode: the name must do. */
static void memory_without_inodes(void **state)
{
    put(at("proc/" PID "/maps"), "7f0000000000-7f0000800000 rw-s 00000000 00:01 1036 /memfd:a (deleted)\n");
    have(3, "/memfd:b (deleted)", "flags:\t02\n");
    have(4, "/memfd:a (deleted)", "flags:\t02\n");
    have(5, "/memfd:a (deleted)", "flags:\t02\n");
    struct discovery d = look();
    assert_int_equal(d.memory[0].fd, 4);
    discovery_done(&d);
}

/* DPDK's kind of process: a file for each huge page. Names of any length; a line that never ends. */
static void huge(void **state)
{
    enum { FILES = 20000 };
    const char *path = at("proc/" PID "/maps");
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    for (unsigned i = 0; i < FILES; i++)
        fprintf(f, "%llx-%llx rw-s 00000000 00:0f %u /dev/hugepages/rtemap_%u\n",
                0x100000000000ull + i * 0x200000ull, 0x100000200000ull + i * 0x200000ull, 1000 + i % FILES,
                i);
    for (unsigned i = 0; i < 300000; i++)
        fputc('x', f);
    fclose(f);
    have(3, "/dev/hugepages/rtemap_777", "flags:\t02\nino:\t1777\n");
    struct discovery d = look();
    assert_int_equal(d.n_memory, FILES);
    unsigned with_fd = 0;
    for (size_t i = 0; i < d.n_memory; i++) {
        with_fd += d.memory[i].fd == 3;
        if (d.memory[i].fd == 3)
            assert_string_equal(d.memory[i].path, "/dev/hugepages/rtemap_777");
    }
    assert_int_equal(with_fd, 1);
    discovery_done(&d);
}

static void put_cmdline(const char *const *arguments, size_t n)
{
    FILE *f = fopen(at("proc/" PID "/cmdline"), "we");
    for (size_t i = 0; i < n; i++)
        fwrite(arguments[i], 1, strlen(arguments[i]) + 1, f);
    fclose(f);
}

static void qemu(void **state)
{
    static const char *const libvirt[] = {"/usr/bin/qemu-system-x86_64", "-name",
                                          "guest=web 1,debug-threads=on", "-S"};
    static const char *const plain[] = {"qemu-kvm", "-m", "1G", "-name", "db,process=x"};
    static const char *const broken[] = {"qemu-kvm", "-name"};
    put(at("proc/" PID "/comm"), "qemu-system-x86\n");
    point(at("proc/" PID "/exe"), "/usr/bin/qemu-system-x86_64");
    put_cmdline(libvirt, ELEMENTS(libvirt));
    struct discovery d = look();
    assert_true(d.qemu);
    assert_string_equal(d.guest, "web 1");
    discovery_done(&d);
    put_cmdline(plain, ELEMENTS(plain));
    d = look();
    assert_string_equal(d.guest, "db");
    discovery_done(&d);
    put_cmdline(broken, ELEMENTS(broken));
    d = look();
    assert_null(d.guest);
    discovery_done(&d);
    put(at("proc/" PID "/comm"), "CPU 0/KVM\n"); /* a thread's name; the file tells */
    d = look();
    assert_true(d.qemu);
    discovery_done(&d);
}

static void refusals(void **state)
{
    static const struct {
        struct foreign_rights rights;
        const char *message, *hint;
    } cases[] = {
        {{.own_uid = 1000, .other_uid = 107, .ptrace_scope = 0},
         "belongs to uid 107, and migctl runs as uid 1000",
         "as root"},
        {{.own_uid = 1000, .other_uid = 1000, .ptrace_scope = 1}, "ptrace_scope is 1", "ptrace_scope=0"},
        {{.own_uid = 1000, .other_uid = 1000, .ptrace_scope = 2}, "ptrace_scope is 2", "as root"},
        {{.own_uid = 1000, .other_uid = 1000, .ptrace_scope = -1}, "not dumpable", "as root"},
        {{.may_trace = true, .ptrace_scope = 3}, "ptrace_scope is 3", "next boot"},
        {{.may_trace = true, .ptrace_scope = 1, .filtered = true}, "seccomp filter", "pidfd_getfd"},
        {{.may_trace = true, .ptrace_scope = -1}, "user namespace above", "on the host itself"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        assert_int_equal(foreign_refused(&cases[i].rights, "descriptor 7 of process 1", EPERM, &err), -EPERM);
        assert_int_equal(err.code, MIG_ERR_NOT_ALLOWED);
        if (!strstr(err.message, cases[i].message) || !strstr(err.hint, cases[i].hint))
            fail_msg("case %zu: %s / %s", i, err.message, err.hint);
        assert_memory_equal(err.message, "descriptor 7 of process 1: ", 27);
    }
}

/* A number that came to be another file is not taken. */
static void changed_meanwhile(void **state)
{
    struct mig_error err = MIG_ERROR_INIT;
    char self[24];
    int taken = -1, fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(self, sizeof self, "%d", getpid());
    _cleanup_free_ char *seen = foreign_identity("/proc", self, (uint64_t)fd);
    assert_non_null(seen);
    assert_int_equal(foreign_fd_take((uint64_t)getpid(), (uint64_t)fd, seen, &taken, &err), 0);
    close_fd(&taken);
    int other = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup2(other, fd), fd);
    assert_int_equal(foreign_fd_take((uint64_t)getpid(), (uint64_t)fd, seen, &taken, &err), -EAGAIN);
    assert_int_equal(taken, -1);
    assert_non_null(strstr(err.message, "was /dev/null and is /dev/zero now"));
    close_fd(&other);
    close_fd(&fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links),
        cmocka_unit_test(lines),
        T(nothing),
        T(nobody),
        T(legacy),
        T(fdinfo),
        T(cdevs),
        T(memory),
        T(memory_without_inodes),
        T(huge),
        T(qemu),
        cmocka_unit_test(refusals),
        cmocka_unit_test(changed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
