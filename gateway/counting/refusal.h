/* gateway/counting/refusal.h — why a change of a count was refused, in words.
 *
 * cache/ answers with enums, because the journal keeps them as numbers and because it knows nothing of reasons.
 *
 * Owner: const tables.   Thread: any, pure functions.   Units: none.   Errors: none.   Limits: none. */
#ifndef GATEWAY_COUNTING_REFUSAL_H
#define GATEWAY_COUNTING_REFUSAL_H

#include "cache/decide.h"
#include "ring/reason.h"

extern const struct reason SITE_CAP_REACHED;     /* 409: the count, with what is reserved, would be above the site's cap */
extern const struct reason STUDY_CAP_REACHED;    /* 409: … above the study's */
extern const struct reason SITE_PAUSED;          /* 409: screened and enrolled are not raised while a site is paused */
extern const struct reason SITE_CLOSED;          /* 409: nothing changes at a closed site */
extern const struct reason COUNT_BELOW_ZERO;     /* 409: a number would be below zero */
extern const struct reason RESERVATION_UNKNOWN;  /* 404: never made, or confirmed, released, expired */
extern const struct reason RESERVATIONS_FULL;    /* 503: limits.reservations_max */
extern const struct reason SITE_CHANGED;         /* 412: the condition of the request does not hold */
extern const struct reason SITE_UNKNOWN;         /* 404: nothing has ever been said of this site */

/* NULL for REFUSAL_NONE. */
const struct reason *refusal_reason(enum count_refusal);

/* Why a site was not found or entered; NULL for COUNT_OK. */
const struct reason *site_reason(enum count_answer);

#endif
