/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/convergence.h"
#include "base/clock.h"

static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 r = (unsigned __int128)a * b / (c ? c : 1);
    return r > UINT64_MAX ? UINT64_MAX : (uint64_t)r;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The newest round that was large enough; else the largest of all. A small round is latency, not bandwidth.
 */
static const struct convergence_round *telling_round(const struct convergence_input *in)
{
    const struct convergence_round *best = NULL;
    for (size_t i = in->nrounds; i-- > 0;) {
        const struct convergence_round *r = &in->rounds[i];
        if (r->sent_bytes > CONVERGENCE_SMALL_ROUND_BYTES) {
            best = r;
            break;
        }
        if (!best || r->sent_bytes > best->sent_bytes)
            best = r;
    }
    return best;
}

static uint64_t bandwidth_of(const struct convergence_input *in)
{
    const struct convergence_round *best = telling_round(in);
    uint64_t bw = mul_div(best->sent_bytes, USEC_PER_SEC, best->duration_usec);
    if (in->bandwidth_cap && bw > in->bandwidth_cap)
        bw = in->bandwidth_cap;
    return bw ? bw : 1;
}

/* What so much memory becomes on the wire, as packable as it was in the round that tells the bandwidth.
 * Device state is not packed. */
static uint64_t on_the_wire(const struct convergence_input *in, uint64_t memory_bytes)
{
    const struct convergence_round *r = telling_round(in);
    return r->saved_bytes ? mul_div(memory_bytes, r->sent_bytes, add(r->sent_bytes, r->saved_bytes))
                          : memory_bytes;
}

/* Rounds at the end of the history that did not make what is dirty smaller by at least a tenth than the
 * smallest of before. */
static size_t rounds_without_progress(const struct convergence_input *in)
{
    uint64_t smallest = UINT64_MAX;
    size_t stuck = 0;
    for (size_t i = 0; i < in->nrounds; i++) {
        uint64_t dirty = in->rounds[i].dirty_bytes;
        if (smallest == UINT64_MAX || dirty <= smallest - smallest / 10) {
            smallest = dirty;
            stuck = i == 0 ? 1 : 0; /* the first round has nothing to compare with: it counts once it turns
                                       out that nothing follows */
        } else {
            stuck++;
        }
    }
    return stuck;
}

void convergence_decide(const struct convergence_input *in, struct convergence_result *ret)
{
    const struct convergence_round *last = &in->rounds[in->nrounds - 1];
    ret->bandwidth = bandwidth_of(in);
    ret->dirty_rate = mul_div(last->dirty_bytes, USEC_PER_SEC, last->dirty_interval_usec);
    ret->expected_downtime_usec = add(mul_div(add(on_the_wire(in, last->dirty_bytes), in->device_state_bytes),
                                              USEC_PER_SEC, ret->bandwidth),
                                      in->fixed_usec);
    if (ret->expected_downtime_usec <= in->max_downtime_usec)
        ret->decision = CONVERGENCE_SWITCH_OVER;
    else if (rounds_without_progress(in) >= CONVERGENCE_STALL_ROUNDS)
        ret->decision = CONVERGENCE_STALLED;
    /* What no round can change: nothing is left but fixed costs and device state, and they alone are too
     * much. */
    else if (last->dirty_bytes == 0)
        ret->decision = CONVERGENCE_STALLED;
    else
        ret->decision = CONVERGENCE_ANOTHER_ROUND;
}

const char *convergence_decision_to_string(enum convergence_decision d)
{
    static const char *const words[] = {"another-round", "switch-over", "stalled"};
    return words[d];
}
