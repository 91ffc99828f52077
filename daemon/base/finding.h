/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Findings of a check: a list that grows, one entry per fact, with the sentence made where the fact is known.
 * The codes, their severities and their stories are the table in migd-findings.h.
 *
 * Not thread-safe; a list belongs to who made it.
 */
#pragma once
#include "base/error.h"
#include "migd-findings.h"

struct finding {
    enum finding_code code;         /* FINDING_CODE_MAX: a newer peer's, known by its word only */
    char word[48];                  /* the code's word */
    enum finding_severity severity; /* as found: an error that was waived is a warning */
    bool destination;               /* found at the destination, else on this side */
    char subject[128];              /* the device, memory, tracker, ... it is about; may be empty */
    char message[480];              /* one sentence without a trailing dot */
    char remedy[280];               /* for this case; the table's where nobody said better */
    enum mig_error_code error;      /* what a refusal because of it is answered with; MIG_ERR_NONE: the
                                       caller's choice */
};

struct findings {
    struct finding *items;
    size_t count, room;
    /* By code: what the operator overrules. */
    bool waived[FINDING_CODE_MAX];
};

/* Adds one. remedy NULL: the table's. Duplicates (same code, side and subject) are dropped. 0 or -ENOMEM. */
int findings_add(struct findings *f, enum finding_code code, const char *subject, const char *remedy,
                 const char *format, ...) _printf_(5, 6);
/* One that is an error which somebody met: "what: message", with its hint as remedy where it has one. */
int findings_add_error(struct findings *f, enum finding_code code, const char *subject,
                       const struct mig_error *error, const char *what, ...) _printf_(5, 6);
/* Adds one that is complete, such as one that a peer told. */
int findings_add_item(struct findings *f, const struct finding *item);
/* --allow CODE. InvalidArgument for an unknown word (with those that can be waived) and for one that
 * cannot. */
int findings_waive(struct findings *f, const char *code, struct mig_error *err);
/* The first error, or NULL: the migration would be refused because of it. */
const struct finding *findings_first_error(const struct findings *f);
size_t findings_count(const struct findings *f, enum finding_severity severity);
/* Only a warning because an operator overruled it. */
bool finding_is_waived(const struct finding *f);
/* Fills err with the first error: its sentence, its remedy, and the code in the hint. mig_code: the error's
 * code, where the finding has none of its own. Returns the negative errno, or 0 when there is no error among
 * them. */
int findings_to_error(const struct findings *f, enum mig_error_code mig_code, struct mig_error *err);
void findings_clear(struct findings *f); /* frees the items, keeps what is waived */

/* ---- the table ---- */
const char *finding_code_to_string(enum finding_code code); /* "unknown" for one that is none */
/* FINDING_CODE_MAX for an unknown word. */
enum finding_code finding_code_from_string(const char *word);
enum finding_severity finding_severity_of(enum finding_code code);
bool finding_is_waivable(enum finding_code code);
const char *finding_title(enum finding_code code);
const char *finding_story(enum finding_code code);
const char *finding_remedy(enum finding_code code);
const char *finding_severity_to_string(enum finding_severity s); /* "note", "warning", "error" */
int finding_severity_from_string(const char *word, enum finding_severity *ret);
