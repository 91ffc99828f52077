/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/codec-choice.h"
#include <string.h>

#define WARM_BATCHES       4u
#define TRIAL_BATCHES      8u /* the warm ones included */
#define INTERVAL_MIN       32u
#define INTERVAL_MAX       1024u
#define WORTH_PER_CENT     95u /* a gain below that is noise */
#define SMALLER_PER_CENT   90u
#define LOST_PART          64u /* of all the time, at most, for finding out */
#define TRIAL_LOSS_BATCHES 2u  /* a trial that has cost as many of the best codec's is lost */
#define COUNTED_BYTES      ((size_t)256 << 10)

void codec_choice_init(struct codec_choice *c, const bool offered[CODEC_MAX])
{
    *c = (struct codec_choice){0};
    memcpy(c->offered, offered, sizeof c->offered);
    c->offered[CODEC_NONE] = true;
    for (int i = 0; i < CODEC_MAX; i++) {
        c->interval[i] = INTERVAL_MIN;
        c->next_trial_in[i] = TRIAL_BATCHES;
    }
}

static void take(struct codec_choice *c, enum codec codec)
{
    c->now = codec;
    c->batches_now = 0;
    c->counted_bytes = c->counted_psec = c->trial_lost_nsec = 0;
}

static void put_off(struct codec_choice *c, enum codec codec, unsigned factor)
{
    c->interval[codec] = MIN(c->interval[codec] * factor, INTERVAL_MAX);
    c->next_trial_in[codec] = c->interval[codec];
}

/* One whose time for a trial has come; those that were never measured first. CODEC_MAX: none. */
static enum codec due(const struct codec_choice *c)
{
    enum codec found = CODEC_MAX;
    if (c->lost_nsec > c->sent_nsec / LOST_PART)
        return found;
    for (int i = 0; i < CODEC_MAX; i++)
        if (c->offered[i] && i != (int)c->best && c->next_trial_in[i] == 0 &&
            (found == CODEC_MAX || (c->psec_per_byte[found] > 0 && c->psec_per_byte[i] == 0)))
            found = (enum codec)i;
    return found;
}

enum codec codec_choice_next(struct codec_choice *c, size_t bytes, enum codec *ret_sample)
{
    *ret_sample = CODEC_NONE;
    if (bytes < COUNTED_BYTES)
        return c->best;
    enum codec codec = c->now == c->best && c->batches_now >= WARM_BATCHES ? due(c) : CODEC_MAX;
    if (codec == CODEC_NONE)
        take(c, codec); /* needs no sample */
    else if (codec < CODEC_MAX)
        *ret_sample = codec;
    return c->now;
}

void codec_choice_sampled(struct codec_choice *c, enum codec codec, size_t bytes, size_t packed_bytes,
                          uint64_t nsec)
{
    uint64_t alone = nsec * 1000 / bytes, now = c->psec_per_byte[c->best];
    c->lost_nsec += nsec;
    if (packed_bytes * 100 > bytes * SMALLER_PER_CENT || (now > 0 && alone * 100 >= now * WORTH_PER_CENT))
        /* Samples cost little, so the next is soon: memory that packs well may follow. */
        c->next_trial_in[codec] = INTERVAL_MIN;
    else
        take(c, codec);
}

/* The least time of the others by what was last measured; CODEC_MAX: none that is worth it. */
static enum codec faster(const struct codec_choice *c)
{
    enum codec found = CODEC_MAX;
    uint64_t least = c->psec_per_byte[c->best] * WORTH_PER_CENT / 100;
    for (int i = 0; i < CODEC_MAX; i++)
        if (i != (int)c->best && c->psec_per_byte[i] > 0 && c->psec_per_byte[i] < least) {
            least = c->psec_per_byte[i];
            found = (enum codec)i;
        }
    return found;
}

/* A trial is over. */
static void settle(struct codec_choice *c, uint64_t psec_per_byte)
{
    enum codec tried = c->now;
    uint64_t had = c->psec_per_byte[c->best];
    c->psec_per_byte[tried] = psec_per_byte;
    if (had == 0 || psec_per_byte * 100 < had * WORTH_PER_CENT) {
        put_off(c, c->best, 1);
        c->best = tried;
    } else {
        put_off(c, tried, 2);
    }
    take(c, c->best);
}

/* A window of the best one. What did better before takes its place at once: the best became slower, or its
 * trial was over before the room in the sockets was, and then it is not tried again soon. */
static void look(struct codec_choice *c, uint64_t psec_per_byte)
{
    uint64_t bytes = c->counted_bytes;
    c->psec_per_byte[c->best] = psec_per_byte;
    c->counted_bytes = c->counted_psec = 0;
    c->batches_now = WARM_BATCHES;
    enum codec better = faster(c);
    if (better == CODEC_MAX)
        return;
    c->lost_nsec += (psec_per_byte - c->psec_per_byte[better]) * bytes / 1000;
    put_off(c, c->best, 16);
    c->best = better;
    take(c, better);
}

/* A batch of a trial. Whether the trial has cost so much by now that it is lost. */
static bool too_dear(struct codec_choice *c, size_t bytes, uint64_t nsec)
{
    uint64_t fair_nsec = c->psec_per_byte[c->best] * bytes / 1000;
    if (nsec > fair_nsec) {
        c->lost_nsec += nsec - fair_nsec;
        c->trial_lost_nsec += nsec - fair_nsec;
    }
    return fair_nsec > 0 && c->trial_lost_nsec > fair_nsec * TRIAL_LOSS_BATCHES;
}

void codec_choice_sent(struct codec_choice *c, enum codec codec, size_t bytes, uint64_t nsec)
{
    if (codec != c->now || bytes < COUNTED_BYTES)
        return;
    for (int i = 0; i < CODEC_MAX && c->now == c->best; i++)
        c->next_trial_in[i] -= c->next_trial_in[i] > 0;
    c->sent_nsec += nsec;
    if (c->now != c->best && too_dear(c, bytes, nsec)) {
        settle(c, nsec * 1000 / bytes);
        return;
    }
    c->batches_now++;
    if (c->batches_now <= WARM_BATCHES)
        return;
    c->counted_bytes += bytes;
    c->counted_psec += nsec * 1000;
    uint64_t psec_per_byte = MAX(c->counted_psec / c->counted_bytes, UINT64_C(1));
    if (c->now != c->best &&
        (c->batches_now >= TRIAL_BATCHES || psec_per_byte > 2 * c->psec_per_byte[c->best]))
        settle(c, psec_per_byte);
    else if (c->now == c->best && c->batches_now >= TRIAL_BATCHES)
        look(c, psec_per_byte);
}
