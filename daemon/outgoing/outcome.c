/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/outcome.h"
#include "base/clock.h"
#include "migration/dialogue.h"
#include <poll.h>
#include <string.h>

#define ASK_INTERVAL_MSEC 500

int outcome_ask(const struct outcome_question *q, struct migration *m, struct mig_error *err)
{
    bool told = false;
    for (;;) {
        char word[32] = "";
        struct mig_error why = MIG_ERROR_INIT;
        int r = dialogue_ask(q->security, q->address, "", "outcome", q->id, q->token, q->cancel_fd, word,
                             sizeof word, &why);
        if (r == 0 && strcmp(word, "active") == 0)
            return 0;
        if (r == 0 && strcmp(word, "returned") == 0) {
            mig_error_set(err, MIG_ERR_RETURNED, 0,
                          "The destination %s could not run the workload and gave it back", q->address);
            return -EREMOTEIO;
        }
        if (r == -ECANCELED ||
            poll(&(struct pollfd){.fd = q->cancel_fd, .events = POLLIN}, 1, ASK_INTERVAL_MSEC) > 0)
            return mig_error_set(
                err, MIG_ERR_IN_DOUBT, 0,
                "It is not known whether %s runs the workload; the decision that it does has been made",
                q->address);
        if (!told) {
            struct mig_error doubt;
            mig_error_set(&doubt, MIG_ERR_IN_DOUBT, 0,
                          "The destination %s was lost after the decision that it runs the workload: %s",
                          q->address, r < 0 ? why.message : "it does not know yet");
            mig_error_hint(&doubt,
                           "migd keeps asking. If the destination is gone for good: migctl resolve %.8s "
                           "--run runs the workload here, --drop gives it up here",
                           q->id);
            migration_set_verdict(m, "In doubt: asking %s for the outcome", q->address);
            migration_end(m, MIG_STATE_IN_DOUBT, &doubt);
            told = true;
        }
    }
}
