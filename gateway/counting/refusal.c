/* See gateway/counting/refusal.h. */
#include "gateway/counting/refusal.h"
#include "gateway/verdict.h"

const struct reason SITE_CAP_REACHED = { "site_cap_reached", "the cap of this site leaves no room for this" };
const struct reason STUDY_CAP_REACHED = { "study_cap_reached", "the cap of the study leaves no room for this" };
const struct reason SITE_PAUSED = { "site_paused", "this site is paused: nobody is screened or enrolled there" };
const struct reason SITE_CLOSED = { "site_closed", "this site is closed: nothing is counted there any more" };
const struct reason COUNT_BELOW_ZERO = { "count_below_zero", "a count would be below zero" };
const struct reason RESERVATION_UNKNOWN = { "reservation_unknown", "there is no such reservation: it is used, released or expired, or never was" };
const struct reason RESERVATIONS_FULL = { "reservations_full", "as many reservations are open as limits.reservations_max allows" };
const struct reason SITE_CHANGED = { "site_changed", "the site is not as the condition of the request says; look at it again" };
const struct reason SITE_UNKNOWN = { "site_unknown", "no such site has been counted or set up here" };

const struct reason *refusal_reason(enum count_refusal refusal)
{
	switch (refusal) {
	case REFUSAL_NONE:
		return NULL;
	case REFUSAL_SITE_CAP:
		return &SITE_CAP_REACHED;
	case REFUSAL_STUDY_CAP:
		return &STUDY_CAP_REACHED;
	case REFUSAL_SITE_PAUSED:
		return &SITE_PAUSED;
	case REFUSAL_SITE_CLOSED:
		return &SITE_CLOSED;
	case REFUSAL_BELOW_ZERO:
		return &COUNT_BELOW_ZERO;
	case REFUSAL_RESERVATION_UNKNOWN:
		return &RESERVATION_UNKNOWN;
	case REFUSAL_SITE_CHANGED:
		return &SITE_CHANGED;
	case REFUSAL_RESERVATIONS_FULL:
		return &RESERVATIONS_FULL;
	case REFUSAL_COUNT_FULL:
		return &SITE_COUNT_FULL;
	}
	/* A number of a later version, read from a journal: it was refused, and why is not known here. */
	return &SITE_CHANGED;
}

const struct reason *site_reason(enum count_answer answer)
{
	switch (answer) {
	case COUNT_OK:
		return NULL;
	case COUNT_SITE_UNKNOWN:
		return &SITE_UNKNOWN;
	case COUNT_SITE_EMPTY:
	case COUNT_SITE_TOO_LONG:
	case COUNT_SITE_NOT_UTF8:
	case COUNT_SITE_CONTROL:
		return &SITE_NAME_BAD;
	case COUNT_SITES_SPENT:
	case COUNT_MEMORY_SPENT:
		return &SITES_FULL;
	case COUNT_LINE_SPENT:
		return &SITE_COUNT_FULL;
	}
	return &SITE_NAME_BAD;
}
