/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration of mtty through device_ops on a real kernel. Runs inside the lab. */
#include "lab.h"
#include "vfio/device.h"
#include "vfio/sysfs.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <string.h>

enum { PORT0 = 0, SCRATCH = 7, LINE_CONTROL = 3 }; /* BAR 0 is a UART */

static struct mig_error e;

static struct device *open_mtty(int *ret_fd, int *container)
{
    struct device *d = NULL;
    *ret_fd = lab_open_by_group(lab_new_mtty(1), container);
    const struct kvfio_device_options o = {.fd = *ret_fd, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&d, "tty0", &o, &e), &e);
    return d;
}

static void go(struct device *d, enum device_state s)
{
    enum device_state reached;
    LAB_OK(d->ops->set_state(d, s, &reached, &e), &e);
    LAB_EQUAL(reached, s);
    LAB_OK(d->ops->get_state(d, &reached, &e), &e);
    LAB_EQUAL(reached, s);
}

/* Up to the end (0) or until there is nothing at the moment (-ENOMSG), which goes to *ret_end. */
static size_t drain(struct device *d, uint8_t *buf, size_t size, ssize_t *ret_end)
{
    size_t got = 0;
    ssize_t n;
    while ((n = d->ops->read_state(d, buf + got, MIN(size - got, (size_t)40), &e)) > 0)
        got += (size_t)n;
    *ret_end = n;
    return got;
}

static void facts(void)
{
    int fd, container = -1;
    struct device *d = open_mtty(&fd, &container);
    const struct device_info *i = d->ops->info(d);
    uint64_t size = 0;
    LAB_EQUAL(i->migration_flags,
              DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P | DEVICE_MIGRATION_PRE_COPY);
    LAB_CHECK(i->has_stop_copy_size && i->has_precopy_info); /* it can be reset, but does not say so */
    LAB_OK(d->ops->stop_copy_size(d, &size, &e), &e);
    LAB_CHECK(size > 0);
    /* Kernels of today tell the device's place in sysfs; without it the driver is not known, and that is all.
     */
    char path[256];
    bool told = kvfio_sysfs_path(fd, path, sizeof path) == 0;
    lab_note("mtty: driver \"%s\", in %s", i->driver, told ? path : "a place that the kernel does not tell");
    LAB_CHECK(told ? strcmp(i->driver, "mtty") == 0 : !i->driver[0]);
    lab_note("mtty: %04x:%04x, %u regions, %u irqs, log %d, %llu bytes of state", i->pci_vendor,
             i->pci_device, i->num_regions, i->num_irqs, i->dirty_log, (unsigned long long)size);
    close(fd);
    device_unref(d);
    close(container);
}

static void round_trip(void)
{
    int fds[2], containers[2] = {-1, -1};
    struct device *from = open_mtty(&fds[0], &containers[0]), *to = open_mtty(&fds[1], &containers[1]);
    uint8_t state[4096];
    struct device_precopy left = {.dirty_bytes = 1};
    ssize_t end;
    lab_write8(fds[0], PORT0, SCRATCH, 0xa5);
    lab_write8(fds[0], PORT0, LINE_CONTROL, 0x1b);
    LAB_EQUAL(from->ops->read_state(from, state, sizeof state, &e), -ESTALE); /* nothing is being saved */
    go(from, DEVICE_STATE_PRE_COPY);
    LAB_OK(from->ops->precopy_info(from, &left, &e), &e);
    size_t early = drain(from, state, sizeof state, &end);
    LAB_EQUAL(end, -ENOMSG);
    LAB_EQUAL(early, left.initial_bytes);
    LAB_OK(from->ops->precopy_info(from, &left, &e), &e);
    LAB_EQUAL(left.initial_bytes + left.dirty_bytes, 0);
    LAB_CHECK(!left.renewed);
    go(from, DEVICE_STATE_PRE_COPY_P2P);
    go(from, DEVICE_STATE_STOP_COPY);
    LAB_EQUAL(from->ops->precopy_info(from, &left, &e) < 0, 1);
    size_t all = early + drain(from, state + early, sizeof state - early, &end);
    LAB_EQUAL(end, 0); /* the same stream, to its end */
    lab_note("%zu bytes in PRE_COPY, %zu in all", early, all);

    go(to, DEVICE_STATE_RESUMING);
    for (size_t done = 0; done < all; done += 7)
        LAB_OK(to->ops->write_state(to, state + done, MIN(all - done, (size_t)7), &e), &e);
    go(to, DEVICE_STATE_STOP);
    go(to, DEVICE_STATE_RUNNING);
    LAB_EQUAL(lab_read8(fds[1], PORT0, SCRATCH), 0xa5);
    LAB_EQUAL(lab_read8(fds[1], PORT0, LINE_CONTROL), 0x1b);

    /* The source was not chosen after all: it goes on, and may be saved again. */
    go(from, DEVICE_STATE_RUNNING);
    go(from, DEVICE_STATE_STOP_COPY);
    LAB_EQUAL(drain(from, state, sizeof state, &end), all);
    LAB_EQUAL(end, 0);
    go(from, DEVICE_STATE_RUNNING);
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    device_unref(from);
    device_unref(to);
    for (int i = 0; i < 2; i++)
        close(containers[i]);
}

static void truncated(void)
{
    int fd, container = -1;
    struct device *d = open_mtty(&fd, &container);
    uint8_t state[4096];
    enum device_state now;
    char steps[512];
    ssize_t end;
    go(d, DEVICE_STATE_STOP_COPY);
    size_t all = drain(d, state, sizeof state, &end);
    go(d, DEVICE_STATE_RUNNING);
    go(d, DEVICE_STATE_RESUMING);
    LAB_OK(d->ops->write_state(d, state, all / 2, &e), &e);
    LAB_CHECK(d->ops->set_state(d, DEVICE_STATE_STOP, &now, &e) < 0);
    lab_note("%s; the device is in %s", e.message, device_state_to_string(now));
    LAB_OK(device_recover(d, DEVICE_STATE_RESUMING, DEVICE_STATE_STOP, &now, steps, sizeof steps, &e), &e);
    LAB_EQUAL(now, DEVICE_STATE_RUNNING);
    lab_note("%s", steps);
    close(fd);
    device_unref(d);
    close(container);
}

/* The sample driver refuses the bytes and takes RUNNING all the same: migd does not. */
static void corrupted(void)
{
    int fd, container = -1;
    struct device *d = open_mtty(&fd, &container);
    uint8_t garbage[96];
    enum device_state now;
    memset(garbage, 0x5a, sizeof garbage);
    go(d, DEVICE_STATE_RESUMING);
    LAB_CHECK(d->ops->write_state(d, garbage, sizeof garbage, &e) < 0);
    lab_note("%s", e.message);
    mig_error_clear(&e);
    LAB_EQUAL(d->ops->set_state(d, DEVICE_STATE_RUNNING, &now, &e), -ESTALE);
    LAB_EQUAL(now, DEVICE_STATE_RESUMING);
    LAB_OK(d->ops->reset(d, &e), &e);
    LAB_OK(d->ops->get_state(d, &now, &e), &e);
    LAB_EQUAL(now, DEVICE_STATE_RUNNING);
    go(d, DEVICE_STATE_RESUMING);
    close(fd);
    device_unref(d);
    close(container);
}

/* Whether the kernel has the second version is asked here once more, past the device under test. */
static void precopy_info_v2(void)
{
    int fd, container = -1;
    struct device *d = open_mtty(&fd, &container);
    struct device_precopy left;
    struct kvfio_feature ask = {.argsz = sizeof ask,
                                .flags = KVFIO_FEATURE_MIG_PRECOPY_INFO_V2 | KVFIO_FEATURE_SET |
                                         KVFIO_FEATURE_PROBE};
    bool has = kernel_ioctl(NULL, fd, KVFIO_DEVICE_FEATURE, &ask) == 0;
    LAB_EQUAL(d->ops->info(d)->tells_renewal, has);
    for (unsigned session = 0; session < 2; session++) {
        go(d, DEVICE_STATE_PRE_COPY);
        LAB_OK(d->ops->precopy_info(d, &left, &e), &e);
        LAB_CHECK(left.initial_bytes > 0);
        LAB_CHECK(!left.renewed);
        go(d, DEVICE_STATE_RUNNING);
    }
    lab_note("the kernel %s", has ? "has it" : "does not have it");
    close(fd);
    device_unref(d);
    close(container);
}

/* The guest's driver, or the VMM, resets the device while migd saves it: the session is over, the device
 * runs, and that is told; the next session is whole. */
static void reset_while_saving(void)
{
    int fd, container = -1;
    struct device *d = open_mtty(&fd, &container);
    uint8_t state[4096];
    ssize_t end;
    enum device_state now;
    go(d, DEVICE_STATE_STOP_COPY);
    size_t all = drain(d, state, sizeof state, &end);
    go(d, DEVICE_STATE_RUNNING);
    go(d, DEVICE_STATE_PRE_COPY);
    LAB_EQUAL(kernel_ioctl(NULL, fd, KVFIO_DEVICE_RESET, NULL), 0);
    mig_error_clear(&e);
    LAB_CHECK(d->ops->read_state(d, state, sizeof state, &e) < 0);
    lab_note("%s", e.message);
    LAB_EQUAL(e.code, MIG_ERR_DEVICE);
    LAB_CHECK(strstr(e.message, "reset"));
    LAB_OK(d->ops->get_state(d, &now, &e), &e);
    LAB_EQUAL(now, DEVICE_STATE_RUNNING);
    go(d, DEVICE_STATE_STOP_COPY);
    LAB_EQUAL(drain(d, state, sizeof state, &end), all);
    LAB_EQUAL(end, 0);
    go(d, DEVICE_STATE_RUNNING);
    close(fd);
    device_unref(d);
    close(container);
}

/* edu: a function with nothing but registers. It has no migration states, and says so; a reset is all that
 * can be done with it. */
static void plain_device(void)
{
    struct device *d = NULL;
    const char *sysfs = lab_edu(0);
    int container = -1;
    enum device_state now;
    char steps[300];
    if (!sysfs)
        lab_skip("no edu device");
    int fd = lab_open_by_group(sysfs, &container);
    const struct kvfio_device_options o = {.fd = fd, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&d, "edu0", &o, &e), &e);
    LAB_EQUAL(d->ops->info(d)->migration_flags, 0);
    LAB_CHECK(!d->ops->info(d)->dirty_log);
    LAB_EQUAL(d->ops->get_state(d, &now, &e), -EOPNOTSUPP);
    LAB_EQUAL(d->ops->set_state(d, DEVICE_STATE_STOP, &now, &e), -EOPNOTSUPP);
    int resettable = d->ops->info(d)->resettable;
    mig_error_clear(&e);
    int r = d->ops->reset(d, &e);
    lab_note("resettable: %d, a reset answers %d %s", resettable, r, e.message);
    LAB_EQUAL(r == 0, resettable);
    /* The ladder ends in words, whatever the device can do. */
    mig_error_clear(&e);
    LAB_CHECK(device_recover(d, DEVICE_STATE_RUNNING, DEVICE_STATE_STOP, &now, steps, sizeof steps, &e) < 0);
    LAB_EQUAL(e.code, MIG_ERR_DEVICE_BROKEN);
    lab_note("%s", steps);
    close(fd);
    device_unref(d);
    close(container);
}

/* The way of all transitions: each pair of states that the driver has, one after the other, with what the
 * kernel says about where it is. What it refuses leaves it somewhere on the way, and the ladder leads back.
 */
static void every_transition(void)
{
    int fd, container = -1;
    struct device *d = open_mtty(&fd, &container);
    unsigned done = 0, refused = 0;
    for (unsigned from = DEVICE_STATE_STOP; from < DEVICE_STATE_MAX; from++)
        for (unsigned to = DEVICE_STATE_STOP; to < DEVICE_STATE_MAX; to++) {
            enum device_state reached = DEVICE_STATE_ERROR, asked;
            char steps[300];
            go(d, from);
            mig_error_clear(&e);
            int r = d->ops->set_state(d, to, &reached, &e);
            LAB_OK(d->ops->get_state(d, &asked, &e), &e);
            LAB_EQUAL(reached, asked);
            LAB_EQUAL(r == 0, reached == to);
            if (r < 0) {
                refused++;
                LAB_OK(device_recover(d, from, to, &reached, steps, sizeof steps, &e), &e);
            }
            done += r == 0;
            LAB_OK(d->ops->reset(d, &e), &e);
        }
    /* RESUMING to anything wants a whole state first, and saving does not go back to PRE_COPY. */
    lab_note("%u transitions done, %u refused and recovered from", done, refused);
    LAB_EQUAL(done + refused, 49);
    LAB_CHECK(done >= 40 && refused >= 6);
    close(fd);
    device_unref(d);
    close(container);
}

static void by_cdev(void)
{
    struct device *d = NULL;
    int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    uint32_t devid;
    if (iommufd < 0)
        lab_skip("this kernel has no iommufd");
    int fd = lab_open_by_cdev(lab_new_mtty(1), iommufd, &devid);
    const struct kvfio_device_options o = {.fd = fd, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&d, "tty0", &o, &e), &e);
    go(d, DEVICE_STATE_RUNNING_P2P);
    go(d, DEVICE_STATE_STOP);
    go(d, DEVICE_STATE_RUNNING);
    close(fd);
    device_unref(d);
    close(iommufd);
}

int main(void)
{
    static const struct lab_case cases[] = {
        {"mtty: what it can do", facts},
        {"mtty: saved and loaded, one stream from PRE_COPY to STOP_COPY", round_trip},
        {"mtty: a truncated stream is refused, a reset recovers", truncated},
        {"mtty: a corrupted stream is refused by migd", corrupted},
        {"mtty by cdev", by_cdev},
        {"mtty: PRECOPY_INFO of the second version where the kernel has it", precopy_info_v2},
        {"mtty: every transition; what is refused is recovered from", every_transition},
        {"mtty: a reset while it is being saved is told, and the next session is whole", reset_while_saving},
        {"edu: a device without migration; its reset, and the end of the ladder", plain_device},
    };
    return lab_run(cases, ELEMENTS(cases));
}
