/* tests/sim/count_check.h — was this history of calls possible, had each of them happened at one moment between its beginning and its end?
 *
 *   begun ─────●───── ended        begun ──●── ended          all sites and the study in one state, so that the study's cap is included
 *
 * The rules of counts are written a second time here, from what cache/decide.h promises, as a plain sequential model. The search is Wing and Gong's
 * with Lowe's changes: a call gets its moment only when it must have one, because its end has come; what was tried is remembered; and what changes
 * nothing gets its moment as soon as it fits, since nothing is lost by it.
 *
 * A refusal is right where its cause stands at that moment; of several causes any may be named.
 *
 * Owner: the caller's.   Thread: one.   Units: places in the order of the run's events; patients.
 * Errors: the call that has no moment.   Limits: COUNT_… below. */
#ifndef TESTS_SIM_COUNT_CHECK_H
#define TESTS_SIM_COUNT_CHECK_H

#include "cache/decide.h"

#define COUNT_SITES 4u
#define COUNT_TOKENS 64u                 /* reservations that are asked for in a run */
#define COUNT_KEYS 64u
#define COUNT_HISTORY_MAX 256u           /* calls of a life */
#define COUNT_ALL COUNT_SITES            /* in the place of a site: the study */
#define COUNT_NONE (-1)
#define REFUSAL_SITES_FULL 11            /* nor this: limits.sites_max, told only where nothing else is in the way */
#define REFUSAL_SITE_NEW 10              /* not one of the decider's: site_unknown, where only rules may found a site */

struct model_site {
	int64_t n[COUNT_KINDS];
	int64_t cap;
	uint64_t revision;
	uint64_t status;
	uint64_t ruled;                  /* somebody has said rules for it, or reserved */
};

/* Without padding, so that it may be compared and hashed as bytes. */
struct model {
	int64_t study_cap;
	uint64_t study_ruled;
	struct model_site sites[COUNT_SITES];
	uint64_t reservations;           /* one bit for each token that is held */
	uint64_t keys;                   /* … each key that has its answer */
};

struct token {
	uint64_t number, expires_ms;
	unsigned site;
	int64_t amount;
};

/* What a key was answered, as far as anybody knows. */
struct key_answer {
	bool known;
	int refusal;
	int token;                       /* COUNT_NONE: no reservation */
};

enum call_kind { CALL_CHANGE, CALL_RULES, CALL_RESERVE, CALL_CONFIRM, CALL_RELEASE, CALL_EXPIRE, CALL_LOOK, CALL_WHOLE };
enum call_answer { CALL_LOST /* it may have happened or not */, CALL_DONE, CALL_REFUSED, CALL_NEVER /* it surely did not happen */ };

struct seen {
	int64_t n[COUNT_KINDS], count, reserved, cap;
	uint64_t revision;               /* not the study's */
	uint64_t status;
};

struct call {
	unsigned number;                 /* in the run */
	uint64_t begun, ended;           /* ended: UINT64_MAX while it has not */
	enum call_kind kind;
	unsigned site;                   /* COUNT_ALL: the study */
	int64_t by[COUNT_KINDS];
	bool sets_status, sets_cap, if_match, if_none_match;
	uint64_t status, match_revision, none_revision; /* 0: any */
	int64_t cap;
	int token;                       /* RESERVE: its own; CONFIRM, RELEASE, EXPIRE: which; COUNT_NONE: one that never was */
	int key;                         /* COUNT_NONE: without, or it does not count */
	int asked_key;                   /* … as it was asked */
	bool site_known;                 /* when it was asked, readers saw something of it */
	bool founds_known, founds;       /* RULES that are done: was it told that they founded the site? Who repeats them is told that they did not */
	unsigned variant;                /* with one key: the request */
	enum call_answer answer;
	int refusal;                     /* enum count_refusal, or REFUSAL_SITE_NEW */
	bool lax;                        /* a disk had failed before its end: what was spent then stays spent, so caps may refuse early */
	bool recorded;
	bool kept;                       /* answered, and others may have come to rest on it since: no power cut may take it */
	bool late;                       /* its core's disk had failed, and only the next start found it: what was decided meanwhile did not know of it */
	struct seen seen;                /* CALL_LOOK */
	struct model whole;              /* CALL_WHOLE */
};

struct rules_of_run {
	const struct token *tokens;
	const struct key_answer *keys;
	unsigned reservations_max;
};

void model_init(struct model *);
int64_t model_reserved(const struct model *, const struct token *, unsigned site); /* COUNT_ALL: of all */
int64_t model_count(const struct model *, unsigned site);

/* False: it cannot happen now with this answer. Otherwise *model is as it is afterwards. */
bool model_step(struct model *, const struct rules_of_run *, const struct call *);

enum history_found { HISTORY_GOOD, HISTORY_BAD, HISTORY_UNDECIDED };

/* *bad: the call that has no moment. Calls that surely did not happen, and reads without an answer, are not among `calls`. */
enum history_found history_check(const struct model *start, const struct rules_of_run *, struct call **calls, unsigned count,
	const struct call **bad, uint64_t *tried);

/* Words for people. */
void call_write(char *text, size_t size, const struct call *);
void model_write(char *text, size_t size, const struct model *);

#endif
