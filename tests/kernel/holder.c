/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that holds kernel VFIO devices, as a VMM or a userspace driver does, and registers itself at migd
 * over D-Bus. Its workload is edu, which DMAs a page with a new number into guest memory again and again, and
 * mtty. It keeps a journal of the last number of each page, which travels as its own state; at the
 * destination every page is held against it.
 *
 *   holder DOMAIN KIND [incoming] [rogue] [silent] [unregistered] [other] [again]
 *
 * KIND: iommufd (edu on an HWPT with dirty tracking, mtty on the same IOAS), iommufd-untracked (edu on an
 * HWPT that the kernel made), iommufd-partial (the other edu on such a one beside), type1-mtty (mtty in a
 * type1 container), type1-edu (edu in one container, mtty in another); open-iommufd, open-mapped,
 * open-legacy: migd opens the devices (holder-open.c); track:WORDS (holder-track.c). rogue: edu writes once
 * more after it was paused. silent: it knows nothing of migd, has done its DMA when it is ready, and says
 * which descriptors it has, so that migctl can take them. unregistered: it can be paused and carries its
 * state, but somebody else registers it; it says its name on the bus. other: its mtty is of another type,
 * which refuses the state of the first. again: it takes over the domain and the journal of one that was
 * killed.
 *
 * One thread: a DMA takes edu 100 ms, and calls wait that long.
 */
#include "holder.h"
#include "lab.h"
#include "migd-bus.h"
#include "vfio/device.h"
#include "vfio/iommufd.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <systemd/sd-bus.h>

#define IOVA    HOLDER_IOVA
#define SCRATCH HOLDER_SCRATCH
#define OBJECT  "/org/migd/Holder"
/* Of a page, what edu writes: a DMA of its whole buffer is out of bounds for QEMU 7.2. */
enum { EDU_BYTES = 4088, LAST_WORD = EDU_BYTES / 8 - 1 };
enum { PAGES = HOLDER_PAGES, UART_SCRATCH = 7 };

struct holder h = {
    .iova = 0x100000, .container = -1, .iommufd = -1, .edu = -1, .mtty = -1, .mtty_container = -1};

/* ---- devices ---- */

static void open_journal(void)
{
    char path[100];
    snprintf(path, sizeof path, "/tmp/journal-%s-%s", h.domain, h.incoming ? "b" : "a");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (h.again ? 0 : O_TRUNC), 0600);
    LAB_CHECK(fd >= 0 && ftruncate(fd, sizeof *h.journal) == 0);
    h.journal = mmap(NULL, sizeof *h.journal, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    LAB_CHECK(h.journal != MAP_FAILED);
    close(fd);
}

static void make_memory(void)
{
    if (!h.again) {
        h.memory_fd = memfd_create("guest", MFD_CLOEXEC | (holder_tracks("huge") ? MFD_HUGETLB : 0));
        LAB_EQUAL(ftruncate(h.memory_fd, PAGES * 4096), 0);
    }
    h.memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, h.memory_fd, 0);
    h.scratch = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LAB_CHECK(h.memory != MAP_FAILED && h.scratch != MAP_FAILED);
}

static void open_iommufd(void)
{
    uint32_t devid, hwpt;
    h.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    LAB_CHECK(h.iommufd >= 0);
    LAB_EQUAL(iommufd_ioas_alloc(h.iommufd, NULL, &h.ioas), 0);
    h.edu = lab_open_by_cdev(lab_edu(h.incoming), h.iommufd, &devid);
    hwpt = h.ioas;
    if (strcmp(h.kind, "iommufd-untracked") != 0)
        LAB_EQUAL(iommufd_hwpt_alloc_tracking(h.iommufd, NULL, devid, h.ioas, &hwpt), 0);
    LAB_EQUAL(lab_attach(h.edu, hwpt), 0);
    if (strcmp(h.kind, "iommufd-partial") == 0)
        LAB_EQUAL(lab_attach(lab_open_by_cdev(lab_edu(!h.incoming), h.iommufd, &devid), h.ioas), 0);
    LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.memory, PAGES * 4096, IOVA), 0);
    LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.scratch, 4096, SCRATCH), 0);
    h.mtty = lab_open_by_cdev(lab_new_mtty(h.other ? 2 : 1), h.iommufd, &devid);
    LAB_EQUAL(lab_attach(h.mtty, h.ioas), 0);
}

static void open_type1(void)
{
    h.mtty = lab_open_by_group(lab_new_mtty(h.other ? 2 : 1), &h.mtty_container);
    lab_type1_map(h.mtty_container, h.memory, PAGES * 4096, IOVA);
    if (strcmp(h.kind, "type1-edu") != 0)
        return;
    h.edu = lab_open_by_group(lab_edu(h.incoming), &h.container);
    lab_type1_map(h.container, h.memory, PAGES * 4096, IOVA);
    lab_type1_map(h.container, h.scratch, 4096, SCRATCH);
}

/* ---- registering ---- */

void holder_call(const char *path, const char *interface, const char *member, sd_bus_message **ret,
                 const char *types, ...)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *m = NULL, *reply = NULL;
    va_list ap;
    LAB_CHECK(sd_bus_message_new_method_call(h.bus, &m, MIGD_BUS_NAME, path, interface, member) >= 0);
    va_start(ap, types);
    LAB_CHECK(sd_bus_message_appendv(m, types, ap) >= 0);
    va_end(ap);
    if (sd_bus_call(h.bus, m, 0, &error, &reply) < 0)
        lab_fail(__FILE__, __LINE__, "%s: %s", member, error.message);
    sd_bus_message_unref(m);
    if (ret)
        *ret = reply;
    else
        sd_bus_message_unref(reply);
}

static void find_domain(void)
{
    sd_bus_message *reply;
    const char *path;
    if (h.again)
        holder_call(MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "GetDomain", &reply, "sa{sv}", h.domain, 0);
    else
        holder_call(MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "RegisterDomain", &reply, "sa{sv}", h.domain, 1,
                    "incoming", "b", (int)h.incoming);
    LAB_CHECK(sd_bus_message_read(reply, "o", &path) >= 0);
    h.path = strdup(path);
    sd_bus_message_unref(reply);
}

static void set_controller(void)
{
    holder_call(h.path, MIGD_IFACE_DOMAIN, "SetController", NULL, "sa{sv}", "dbus", 1, "path", "s", OBJECT);
}

/* The memory of the one that was killed is still the domain's. */
static void find_memory(void)
{
    sd_bus_message *reply;
    int fd;
    holder_call(h.path, MIGD_IFACE_DOMAIN, "OpenMemory", &reply, "sa{sv}", "ram0", 0);
    LAB_CHECK(sd_bus_message_read(reply, "h", &fd) >= 0);
    h.memory_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    LAB_CHECK(h.memory_fd >= 0);
    sd_bus_message_unref(reply);
}

static void add_memory(void)
{
    holder_call(h.path, MIGD_IFACE_DOMAIN, "AddMemory", NULL, "shtta{sv}", "ram0", h.memory_fd, UINT64_C(0),
                UINT64_C(0), 1, "iova", "at", 1, IOVA);
}

static void register_domain(void)
{
    find_domain();
    add_memory();
    if (strncmp(h.kind, "track:", 6) == 0) {
        holder_track_register();
        set_controller();
        return;
    }
    if (h.iommufd >=
        0) /* edu has no state: its container is all that migd needs. mtty's writes are in its own log. */
        holder_call(h.path, MIGD_IFACE_DOMAIN, "AddContainer", NULL, "sha{sv}", "dma", h.iommufd, 1, "ioas",
                    "u", h.ioas);
    if (h.container >= 0)
        holder_call(h.path, MIGD_IFACE_DOMAIN, "AddContainer", NULL, "sha{sv}", "dma", h.container, 0);
    if (h.mtty_container >= 0)
        holder_call(h.path, MIGD_IFACE_DOMAIN, "AddContainer", NULL, "sha{sv}", "dma-tty", h.mtty_container,
                    0);
    holder_call(h.path, MIGD_IFACE_DOMAIN, "AddDevice", NULL, "sha{sv}", "tty0", h.mtty, 2, "tracker", "s",
                h.mtty_container >= 0 ? "container" : "device", "pid", "u", (uint32_t)getpid());
    set_controller();
}

/* ---- the workload ---- */

uint64_t holder_random_page(void)
{
    static uint64_t x = 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x % PAGES;
}

static void check_pages(void);

void holder_edu_writes(uint64_t page, uint64_t iova)
{
    h.journal->edu_writes = page + 1;
    h.scratch[0] = ++h.journal->number;
    h.scratch[LAST_WORD] = ~h.journal->number;
    lab_edu_fetch(h.edu, SCRATCH, EDU_BYTES);
    lab_edu_dma(h.edu, iova ? iova : IOVA + page * 4096, EDU_BYTES);
    h.journal->last[page] = h.journal->number;
    h.journal->by_mtty[page] = 0;
    h.journal->edu_writes = 0;
}

void holder_mtty_writes(uint64_t page, uint64_t iova)
{
    h.journal->mtty_writes = page + 1;
    LAB_EQUAL(lab_mtty_dma(h.mtty, iova ? iova : IOVA + page * 4096), 0);
    h.journal->by_mtty[page] = 1;
    h.journal->mtty_writes = 0;
}

static void dma(void)
{
    holder_track_turn();
    if (h.edu >= 0)
        holder_edu_writes(holder_random_page(), 0);
    holder_mtty_writes(holder_random_page(), 0);
}

/* What was under way when the one before was killed is done again: nobody knows how far it came. */
static void dma_again(void)
{
    if (h.journal->edu_writes)
        holder_edu_writes(h.journal->edu_writes - 1, 0);
    if (h.journal->mtty_writes)
        holder_mtty_writes(h.journal->mtty_writes - 1, 0);
    check_pages();
}

static void check_pages(void)
{
    unsigned checked = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        const uint64_t *words = (const uint64_t *)(const void *)(h.memory + i * 4096);
        uint64_t n = h.journal->last[i];
        bool tty = h.journal->by_mtty[i];
        if (tty && memcmp(words, "MTTY-DMA-WRITE!!", 16) != 0)
            lab_fail(__FILE__, __LINE__, "page %u does not have what mtty wrote", i);
        if ((n && words[LAST_WORD] != ~n) || (n && !tty && words[0] != n))
            lab_fail(__FILE__, __LINE__, "page %u has number %llu, the journal %llu", i,
                     (unsigned long long)words[0], (unsigned long long)n);
        checked += n || tty;
    }
    LAB_EQUAL(lab_read8(h.mtty, 0, UART_SCRATCH), 0xa5);
    lab_note("%u pages are as the journal says, mtty's registers too, %llu pages by edu", checked,
             (unsigned long long)h.journal->number);
}

/* ---- what migd asks ---- */

static int on_pause(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    h.running = false;
    return sd_bus_reply_method_return(m, NULL);
}

static int on_resume(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    if (h.incoming && !h.running) {
        if (!h.loaded)
            return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, "nothing was loaded");
        check_pages();
        printf("HOLDER arrived\n");
        fflush(stdout);
    }
    h.running = true;
    h.saved = false;
    return sd_bus_reply_method_return(m, NULL);
}

static int on_save(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    int fd;
    if (sd_bus_message_read(m, "h", &fd) < 0 ||
        pwrite(fd, h.journal, sizeof *h.journal, 0) != sizeof *h.journal)
        return -EIO;
    if (h.rogue) { /* after the final read, before the gate */
        lab_edu_dma(h.edu, IOVA + 77 * 4096, 64);
        h.journal->last[77] = 0;
    }
    h.saved = true;
    holder_track_saved();
    return sd_bus_reply_method_return(m, NULL);
}

static int on_load(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    int fd;
    if (sd_bus_message_read(m, "h", &fd) < 0 ||
        pread(fd, h.journal, sizeof *h.journal, 0) != sizeof *h.journal)
        return -EIO;
    h.loaded = true;
    return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable vmm[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Pause", "a{sv}", "", on_pause, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Resume", "a{sv}", "", on_resume, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("SaveState", "ha{sv}", "", on_save, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("LoadState", "ha{sv}", "", on_load, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

static void hold_silently(void)
{
    for (unsigned i = 0; !h.incoming && i < 5; i++)
        dma();
    printf("HOLDER ready memory=%d container=%d ioas=%u device=%d\n", h.memory_fd,
           h.iommufd >= 0 ? h.iommufd : h.mtty_container, h.ioas, h.mtty);
    fflush(stdout);
    while (access("/tmp/look", F_OK) < 0)
        usleep(50000);
    printf("HOLDER register %02x\n", lab_read8(h.mtty, 0, UART_SCRATCH));
    fflush(stdout);
    pause();
}

static void connect_to_bus(const char *address)
{
    LAB_CHECK(sd_bus_new(&h.bus) >= 0);
    LAB_CHECK(sd_bus_set_address(h.bus, address) >= 0);
    LAB_CHECK(sd_bus_set_bus_client(h.bus, true) >= 0);
    LAB_CHECK(sd_bus_negotiate_fds(h.bus, true) >= 0);
    LAB_CHECK(sd_bus_start(h.bus) >= 0);
    LAB_CHECK(sd_bus_add_object_vtable(h.bus, NULL, OBJECT, MIGD_IFACE_VMM, vmm, NULL) >= 0);
}

static void hold(void)
{
    const char *address = getenv(MIGD_ENV_BUS_ADDRESS);
    LAB_CHECK(h.silent || address);
    bool by_migd = strncmp(h.kind, "open-", 5) == 0;
    open_journal();
    if (!h.silent)
        connect_to_bus(address);
    if (by_migd)
        find_domain();
    if (h.again)
        find_memory();
    make_memory();
    if (by_migd && !h.again)
        add_memory();
    if (by_migd)
        holder_open_by_migd();
    else if (strncmp(h.kind, "track:", 6) == 0)
        holder_track_open();
    else if (strncmp(h.kind, "iommufd", 7) == 0)
        open_iommufd();
    else
        open_type1();
    if (!h.incoming && !h.again)
        lab_write8(h.mtty, 0, UART_SCRATCH, 0xa5);
    if (h.silent)
        hold_silently();
    const char *name = "";
    if (h.unregistered)
        LAB_CHECK(sd_bus_get_unique_name(h.bus, &name) >= 0);
    else if (by_migd)
        set_controller();
    else
        register_domain();
    if (h.again && !h.incoming)
        dma_again();
    h.running = !h.incoming;
    printf("HOLDER ready memory=%d device=%d bus=%s\n", h.memory_fd, h.mtty, name);
    fflush(stdout);
    for (;;) {
        int r = sd_bus_process(h.bus, NULL);
        if (r < 0)
            lab_fail(__FILE__, __LINE__, "the bus: %s", strerror(-r));
        if (r > 0)
            continue;
        holder_track_prove();
        if (h.running)
            dma();
        bool rogue = holder_track_paused();
        r = sd_bus_wait(h.bus, h.running ? 10000 : rogue ? 100 : UINT64_MAX);
        LAB_CHECK(r >= 0 || r == -EINTR);
    }
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {{"the holder process", hold}};
    if (argc < 3)
        return 2;
    h.domain = argv[1];
    h.kind = argv[2];
    for (int i = 3; i < argc; i++) {
        h.incoming |= strcmp(argv[i], "incoming") == 0;
        h.rogue |= strcmp(argv[i], "rogue") == 0;
        h.silent |= strcmp(argv[i], "silent") == 0;
        h.unregistered |= strcmp(argv[i], "unregistered") == 0;
        h.other |= strcmp(argv[i], "other") == 0;
        h.again |= strcmp(argv[i], "again") == 0;
    }
    return lab_run(cases, ELEMENTS(cases));
}
