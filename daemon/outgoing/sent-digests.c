/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/job.h"

int job_prepare_digests(struct job *j, struct mig_error *err)
{
    bool wanted = j->options.verify != VERIFY_OFF;
    for (size_t i = 0; i < j->set.ntrackers; i++)
        wanted |= tracker_is_blind(j->set.trackers[i]) || j->set.trackers[i]->ops->by_digests;
    if (!wanted || (j->set.nregions && j->sent_digests[0]))
        return 0;
    for (size_t i = 0; i < j->set.nregions; i++) {
        j->sent_digests[i] = calloc(j->regions[i]->npages, sizeof **j->sent_digests);
        if (!j->sent_digests[i])
            return mig_error_oom(err);
        j->regions[i]->sent_digests = j->sent_digests[i];
    }
    return 0;
}
