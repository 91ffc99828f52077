/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/state-apply.h"
#include "base/fds.h"
#include "vmm/controller.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#define DEVICE_STATE_MAX_BYTES (UINT64_C(1) << 40)
#define ACKNOWLEDGE_BYTES      (1u << 20)

struct stream {
    struct device *device; /* NULL: the VMM */
    uint64_t bytes;
    XXH3_state_t *digest;
    bool touched; /* the device was given something */
    bool ended;
    uint64_t told; /* of the bytes */
};

struct state_apply {
    struct stream *streams; /* devices, then the VMM if it has state */
    size_t ndevices, nstreams;
    int vmm_fd;
    bool acknowledge;
    uint8_t *chunk; /* as long as the longest frame so far */
    size_t chunk_bytes;
    _Atomic uint64_t device_bytes, vmm_bytes;
};

struct state_apply *state_apply_free(struct state_apply *a)
{
    if (!a)
        return NULL;
    for (size_t i = 0; a->streams && i < a->nstreams; i++)
        XXH3_freeState(a->streams[i].digest);
    close_fd(&a->vmm_fd);
    free(a->streams);
    free(a->chunk);
    free(a);
    return NULL;
}

int state_apply_new(struct state_apply **ret, struct device *const *devices, size_t ndevices, bool vmm_state,
                    struct mig_error *err)
{
    _cleanup_(state_apply_freep) struct state_apply *a = calloc(1, sizeof *a);
    if (!a)
        return mig_error_oom(err);
    a->vmm_fd = -1;
    a->ndevices = ndevices;
    a->nstreams = ndevices + vmm_state;
    a->streams = calloc(a->nstreams ? a->nstreams : 1, sizeof *a->streams);
    if (!a->streams)
        return mig_error_oom(err);
    for (size_t i = 0; i < a->nstreams; i++) {
        a->streams[i].device = i < ndevices ? devices[i] : NULL;
        a->streams[i].digest = XXH3_createState();
        if (!a->streams[i].digest)
            return mig_error_oom(err);
        XXH3_64bits_reset(a->streams[i].digest);
    }
    if (vmm_state) {
        a->vmm_fd = memfd_create("migd-vmm-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (a->vmm_fd < 0)
            return mig_error_set(err, MIG_ERR_FAILED, errno, "Cannot make a memfd for the VMM's state: %s",
                                 strerror(errno));
    }
    *ret = TAKE_PTR(a);
    return 0;
}

static const char *name_of(const struct stream *st)
{
    return st->device ? st->device->name : "the VMM";
}

static struct stream *find_stream(struct state_apply *a, uint32_t index)
{
    if (index == WIRE_STATE_VMM)
        return a->vmm_fd >= 0 ? &a->streams[a->nstreams - 1] : NULL;
    return index < a->ndevices ? &a->streams[index] : NULL;
}

static int tell_taken(struct state_apply *a, struct stream *st, struct frame_stream *frames, uint32_t index,
                      struct mig_error *err)
{
    if (!a->acknowledge || st->bytes - st->told < ACKNOWLEDGE_BYTES)
        return 0;
    st->told = st->bytes;
    struct wire_header h = {.type = WIRE_APPLIED, .region = index, .offset = st->bytes};
    int r = frame_send(frames, &h, NULL, 0);
    return r < 0 ? channel_error(frames->channel, r, err, "acknowledging device state") : 0;
}

/* A frame is at most WIRE_PAYLOAD_MAX_BYTES long. */
static int make_room(struct state_apply *a, size_t size, struct mig_error *err)
{
    if (size <= a->chunk_bytes)
        return 0;
    free(a->chunk);
    a->chunk = malloc(size);
    a->chunk_bytes = a->chunk ? size : 0;
    return a->chunk ? 0 : mig_error_oom(err);
}

static int take_data(struct state_apply *a, struct stream *st, struct frame_stream *frames,
                     const struct wire_header *h, struct mig_error *err)
{
    uint64_t limit = st->device ? DEVICE_STATE_MAX_BYTES : CONTROLLER_STATE_MAX_BYTES;
    if (st->ended || h->offset != st->bytes || h->length == 0 || h->length > limit - st->bytes)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "The state of %s came out of order or beyond its end", name_of(st));
    int r = make_room(a, h->length, err);
    if (r < 0)
        return r;
    struct iovec iov = {a->chunk, h->length};
    r = frame_recv_payload(frames, h, &iov, 1, err);
    if (r < 0)
        return r;
    XXH3_64bits_update(st->digest, a->chunk, h->length);
    if (st->device) {
        st->touched = true;
        r = st->device->ops->write_state(st->device, a->chunk, h->length, err);
        a->device_bytes += h->length;
    } else {
        r = write_full(a->vmm_fd, a->chunk, h->length);
        if (r < 0)
            mig_error_set(err, MIG_ERR_FAILED, -r, "Keeping the VMM's state: %s", strerror(-r));
        a->vmm_bytes += h->length;
    }
    if (r < 0)
        return st->device ? mig_error_wrap(err, "Loading the state of device %s", st->device->name) : r;
    st->bytes += h->length;
    return tell_taken(a, st, frames, h->region, err);
}

static int take_end(struct stream *st, struct frame_stream *frames, const struct wire_header *h,
                    struct mig_error *err)
{
    uint64_t digest;
    if (st->ended || h->length != sizeof digest)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "The state of %s ended twice or without its digest", name_of(st));
    struct iovec iov = {&digest, sizeof digest};
    int r = frame_recv_payload(frames, h, &iov, 1, err);
    if (r < 0)
        return r;
    if (h->offset != st->bytes || le64toh(digest) != XXH3_64bits_digest(st->digest)) {
        mig_error_set(err, MIG_ERR_DEVICE, EBADMSG,
                      "The state of %s arrived damaged (%llu of %llu bytes, digest %s)", name_of(st),
                      (unsigned long long)st->bytes, (unsigned long long)h->offset,
                      h->offset == st->bytes ? "wrong" : "of another length");
        mig_error_hint(err,
                       "The device does not run with it. Try again; if it happens again, look at the link");
        return -EBADMSG;
    }
    st->ended = true;
    return 0;
}

int state_apply_run(struct state_apply *a, struct frame_stream *frames, struct mig_error *err)
{
    size_t ended = 0;
    for (size_t i = 0; i < a->nstreams; i++)
        ended += a->streams[i].ended;
    while (ended < a->nstreams) {
        struct wire_header h;
        int r = frame_recv(frames, &h, err);
        if (r < 0) {
            if (r == -EPIPE)
                mig_error_set(err, MIG_ERR_PEER_LOST, EPIPE,
                              "The peer closed the state connection before the end of the device state");
            return r;
        }
        struct stream *st = find_stream(a, h.region);
        if (!st || (h.type != WIRE_STATE && h.type != WIRE_STATE_END))
            return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                                 "The peer sent a frame of type %u for device %u on the state connection",
                                 h.type, h.region);
        r = h.type == WIRE_STATE ? take_data(a, st, frames, &h, err) : take_end(st, frames, &h, err);
        if (r < 0)
            return r;
        ended += h.type == WIRE_STATE_END;
    }
    return 0;
}

void state_apply_acknowledge(struct state_apply *a)
{
    a->acknowledge = true;
}

uint64_t state_apply_taken(const struct state_apply *a, size_t device)
{
    return a->streams[device].bytes;
}

int state_apply_vmm_fd(const struct state_apply *a)
{
    return a->vmm_fd;
}

bool state_apply_has_touched(const struct state_apply *a, const struct device *d)
{
    for (size_t i = 0; i < a->ndevices; i++)
        if (a->streams[i].device == d)
            return a->streams[i].touched;
    return false;
}

uint64_t state_apply_device_bytes(const struct state_apply *a)
{
    return a->device_bytes;
}

uint64_t state_apply_vmm_bytes(const struct state_apply *a)
{
    return a->vmm_bytes;
}
