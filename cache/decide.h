/* cache/decide.h — the rules of counts: status, caps, floors, reservations; and how a core may raise a count without asking (cache/permits.h).
 *
 * One *decider* (core 0's) knows the rules. Every core has *permits*: for a site, and for the study as a whole, how much it may raise by
 * itself. A site that recruits and has no cap is open to all cores without a word. Where there is a cap, room under it is handed
 * out in allotments, less the nearer the cap is, and near it everything goes through the decider: exact, on any number of cores.
 *
 *   a core:    permits_take ─ yes ─▶ a record, its own line                     no ─▶ permits_ask, and the command goes to the decider
 *   decider:   decide ─▶ DECIDED: an outcome, an effect to record and later to publish, perhaps an allotment for who asked
 *                     ─▶ ENTER_SITE: it would be done, and its site is not in the directory yet: it is entered, and the command decided anew
 *                     ─▶ RECALL: what cores hold of this site (or of the study) is needed first. They are asked, each gives back what it
 *                        has not spent *after* what it did spend is durable; then the command is decided anew
 *                     ─▶ SYNC_SITE: it lowers what other cores raised and may not have on the disk yet. They sync, and it is decided anew
 *
 * Why that is exact: for a capped site  count (with what is under way) + unspent permits + reserved + free = cap  holds at any moment, because
 * each step moves between two of these. Only the decider lowers a count, so what it sees of others' lines is a lower bound. A refusal
 * counts on what may not be durable yet, so it is answered only when that is (the caller's duty: behind all that was recorded before).
 *
 * Why that survives a crash: what a stream loses is its end. Room that a lowering, a release or a higher cap makes is the decider's own at
 * once, because whatever it records with it stands behind; it is handed to other streams only when the record that made it is durable
 * (decider_publish). So no crash can keep the raise and lose what it stood on. Where the caller publishes what is written and not synced yet
 * (decider_publishes_early), the same holds of a power cut: what makes room is published only when it is synced (effect.makes_room), and what
 * is lowered rests on raises that are (SYNC_SITE). Nothing else in one stream rests on another.
 *
 * The rules of a change by (screened, enrolled, randomised, withdrawn); the count is enrolled - withdrawn:
 *   closed: nothing changes, and nothing is reserved or confirmed. paused: neither screened nor enrolled is raised, nor reserved.
 *   Nothing goes below zero: no kind, nor the count. A count that rises needs room under the site's cap and the study's.
 *   A cap may be set below the count: nothing rises then, and a reservation made before is confirmed only as far as the cap goes.
 *   A release is always possible. What has run out is held until decider_expire gives it: whoever decides asks for that first.
 *   Where several rules refuse, the first of this order is named: reservation, status, floor, the site's cap, the study's, COUNT_FULL.
 *
 * The orders that the caller keeps, and that exactness rests on:
 *   1. Messages from one core to another arrive in the order in which they were sent. An allotment is sent to its core when it is decided,
 *      so a recall that is decided later comes behind it, and takes it back.
 *   2. A core that is asked calls permits_recall at once, and lets the answer go when all that it recorded before is durable and applied to its
 *      line (count_apply). A raise that permits_take allowed is recorded in the same step as the taking.
 *   3. Effects are recorded in the order of deciding, in stream 0 alone, and published in that order.
 *   4. Stamps: a record of an effect comes later than `seen_ns` of its outcome; what a core records with an allotment comes later than the
 *      decider's latest record when it was sent; what is decided after a recall comes later than the latest records of those who answered.
 * In one direction only: answers to recalls and commands may overtake each other.
 *
 * Every command is decided in the end. A command that was told RECALL keeps, until it is decided, the site (or the study) from being handed
 * out again, so it is told so at most once for each. SYNC_SITE keeps nothing: a command whose turn comes when others have lowered what was synced is
 * told so again. Whoever gives up a command says so with decider_forget.
 *
 * Pure: no clock (the time is given), no I/O, no randomness.
 *
 * Owner: whoever made it.   Thread: the decider core 0's, which has taken that shard.   Units: patients; ms UTC.
 * Errors: enum count_refusal, an answer; memory that is spent stops the process.
 * Limits: COUNT_BY_MAX; reservations_max. */
#ifndef CACHE_DECIDE_H
#define CACHE_DECIDE_H

#include "cache/count.h"

#define COUNT_BY_MAX 1000000
#define COUNT_SITE_NONE (UINT32_MAX - 1) /* in a command: a site that the directory does not have. Whatever is refused does not enter it */
#define PERMIT_UNBOUNDED (INT64_MAX / 2) /* so that what was given back too much can still be added to it */

enum count_refusal {              /* kept in the journal: numbers stay */
	REFUSAL_NONE = 0,
	REFUSAL_SITE_CAP = 1,
	REFUSAL_STUDY_CAP = 2,
	REFUSAL_SITE_PAUSED = 3,
	REFUSAL_SITE_CLOSED = 4,
	REFUSAL_BELOW_ZERO = 5,
	REFUSAL_RESERVATION_UNKNOWN = 6, /* never made, confirmed, released or expired */
	REFUSAL_SITE_CHANGED = 7,        /* If-Match, If-None-Match */
	REFUSAL_RESERVATIONS_FULL = 8,
	REFUSAL_COUNT_FULL = 9,          /* COUNT_LINE_SPENT, on core 0 */
};

enum command_kind { COMMAND_CHANGE, COMMAND_RULES, COMMAND_RESERVE, COMMAND_CONFIRM, COMMAND_RELEASE };

#define CONDITION_REVISIONS_MAX 8

/* On the revision of a site at the moment of the change: one of these, or any above 0. */
struct condition {
	bool given, any;
	unsigned revision_count;
	uint64_t revisions[CONDITION_REVISIONS_MAX]; /* above 0: a site that never changed has none that a client could name */
};

struct command {
	enum command_kind kind;
	uint32_t site;                   /* COUNT_STUDY: COMMAND_RULES of the study, cap only */
	int64_t by[COUNT_KINDS];         /* COMMAND_CHANGE: each within ±COUNT_BY_MAX */
	bool sets_status, sets_cap;      /* COMMAND_RULES */
	enum count_status status;
	int64_t cap;                     /* COUNT_NO_CAP: none; else 0 to SHARD_LINE_MAX */
	struct condition if_match, if_none_match; /* COMMAND_RULES of a site: only if this is met / only if that is not */
	int64_t amount;                  /* COMMAND_RESERVE: 1 to COUNT_BY_MAX */
	uint64_t reservation;            /* COMMAND_RESERVE: a fresh random number, not 0; CONFIRM, RELEASE: which */
	uint64_t expires_ms;             /* COMMAND_RESERVE */

	bool asks;                       /* by permits_ask; else false: no allotment is wanted */
	int64_t taken_site, taken_study;
	bool waits_site, waits_study;    /* the decider's own; false at first */
};

/* What is done: to be recorded, and when the record is durable, published by decider_publish. */
struct effect {
	enum command_kind kind;
	bool expired;                    /* a release by time */
	uint32_t site;
	int64_t by[COUNT_KINDS];         /* of a COMMAND_CONFIRM too: enrolled, by the amount */
	struct count_rules rules;        /* COMMAND_RULES, and wherever `reserved` changed: as they are from now on; `changes` is one more */
	struct count_rules rules_before;
	uint64_t reservation, expires_ms; /* expires_ms: COMMAND_RESERVE alone */
	int64_t amount;
	bool nothing;                    /* nothing changes: no record, and not published */
	bool makes_room;                 /* others may come to rest on it: it is published when no power cut can take it */
};

enum decision { DECIDED, RECALL_SITE, RECALL_STUDY, ENTER_SITE, SYNC_SITE };

struct outcome {
	enum count_refusal refusal;
	struct effect effect;            /* if not refused */
	int64_t grant_site, grant_study; /* to the core that asked: PERMIT_UNBOUNDED, or so much; 0: none */
	bool founds;                     /* COMMAND_RULES of a site of which nothing was recorded before */
	uint64_t seen_ns;                /* the latest stamp of what it rests on in others' streams: the record, of a refusal too, has a later one */
};

/* ---- the decider ---- */

struct decider;

struct decider *decider_new(struct count *, unsigned cores, unsigned reservations_max);
void decider_free(struct decider *);
/* Cores publish what a power cut may yet take. Before anything is decided. */
void decider_publishes_early(struct decider *);

/* `asker`: the core whose client it is. RECALL_…: nothing has happened, and outcome is not filled in; ask the cores for which decider_holds says
 * so (of the command's site, or of COUNT_STUDY) and that are not asked already, give decider_recalled their answers, then ask again with
 * the same command. ENTER_SITE, only where the command's site is COUNT_SITE_NONE: nothing has happened; enter it (count_enter), make its memory
 * (count_reserve), and ask again with its number. SYNC_SITE: nothing has happened; decide no other command of that site before all cores but 0 have
 * synced what they have published of it, say decider_synced, and ask again. (What core 0 published stands in stream 0, before what lowers it.) Where
 * a core cannot sync, forget the command and go on with the others. To keep recalls few, let a site's recall hold up commands of that site, and the
 * study's all. */
enum decision decider_decide(struct decider *, struct command *, unsigned asker, uint64_t now_ms, struct outcome *);
bool decider_holds(const struct decider *, uint32_t site, unsigned core);  /* site may be COUNT_STUDY */
void decider_recalled(struct decider *, uint32_t site, unsigned core, int64_t room);
/* What was published of the site when SYNC_SITE was told is on the disk, in all streams: it may be lowered. Once for each SYNC_SITE, and never where
 * a sync has failed. */
void decider_synced(struct decider *, uint32_t site);
/* The command is not going to be decided. Harmless for one that was never told RECALL. */
void decider_forget(struct decider *, struct command *);

/* The record of an effect is durable: readers see it from now on. In the order of deciding. */
void decider_publish(struct decider *, const struct effect *, uint64_t stamp_ns);

/* Rules as decided, published or not; stamp_ns is that of the last published. */
void decider_rules(const struct decider *, uint32_t site, struct count_rules *);

/* One reservation whose time is over, as an effect; false: none. */
bool decider_expire(struct decider *, uint64_t now_ms, struct effect *);
/* What the journal is known to have lost of other streams, as an effect: raises that no rule has a say in, because they happened. Before any
 * command is decided. */
void decider_mend(struct decider *, uint32_t site, const int64_t by[COUNT_KINDS], struct effect *);
uint64_t decider_next_expiry_ms(const struct decider *); /* UINT64_MAX: none */
unsigned decider_reservations(const struct decider *);   /* as decided */
/* For snapshots: reservations, as decided, from `*place` on (0: the first); false: no more. Deciding between two calls is allowed: none that was there at
 * the first call and stays is left out, and none comes twice. A bounded part of the table is looked through at once: 0 with true, there was none in it. */
bool decider_each_reservation(const struct decider *, size_t *place, uint64_t *reservation, uint32_t *site, int64_t *amount, uint64_t *expires_ms);

/* While reading the journal, before any core runs. Lines are restored into `count` first or later, as you like. `reserved` of rules is worked out. */
void decider_restore_rules(struct decider *, uint32_t site, const struct count_rules *);
void decider_restore_reservation(struct decider *, uint64_t reservation, uint32_t site, int64_t amount, uint64_t expires_ms); /* harmless when it is there */
bool decider_restore_release(struct decider *, uint64_t reservation);                                     /* false, and harmless, when it is not there */
/* All is read: published rules stand in `count`, room is worked out, sites with rules are open to no core. Once, before anything is decided, and
 * also where there was nothing to read; by a thread that has taken core 0's shard. */
void decider_restored(struct decider *);

/* For permits_new, on any thread, even while the decider decides: sites that were open to no core when all was read, by place 0, 1, 2 …, and
 * COUNT_STUDY; false: no more. */
bool decider_closed(const struct decider *, unsigned place, uint32_t *site);
unsigned decider_sites_max(const struct decider *);

#endif
