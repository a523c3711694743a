/* cache/decide.c — books and commands.
 *
 * The decider keeps a *book* for the study and for each site that a command has touched. A book says
 *
 *     booked     the count, once everything that cores hold has come back: it moves with what the decider decides, and with what
 *                a recall says was spent
 *     allotted   what was handed out since the last recall, spent or not
 *
 *     booked + allotted = count (with what is under way) + unspent permits           cap - reserved - (booked + allotted) = free
 *
 * so nothing of what cores do by themselves has to be known until it is recalled. What is handed out without bound is
 * PERMIT_UNBOUNDED, a number from which a core takes like from any other; what was spent follows from what comes back.
 *
 *     pending    what is decided and not published: with it the lines that all see become lines as decided
 *     freed      of that, the room it makes. It is in `free`, and not for other streams (decide.h: why that survives a crash)
 *
 *     vouched    of each kind, what a power cut leaves at the least: what all lines had when others last synced for this site, and what is
 *                decided since. Used only where cores publish early
 *
 * A site without a book is open to all cores, and its booked count is what it was when the gateway began (`base`). */
#include "cache/decide.h"

#include "cache/permits.h"
#include "cache/reservations.h"

#include <stdlib.h>
#include <string.h>

#define DECIDER_MAGIC 0x64656369u /* "deci" */

/* One allotment is this part of what each core could have … */
#define ALLOTMENT_PART 2
/* … and where that is less than this, everything goes through the decider. Then what cores hold is soon spent, or recalled once. */
#define ALLOTMENT_LEAST 8

enum way { WAY_NONE, WAY_ALLOTTED, WAY_UNBOUNDED };

/* What one core has of a book. */
struct held {
	int64_t room;                    /* WAY_ALLOTTED: since the last recall */
	uint8_t way;
	bool asked;                      /* a command was told RECALL, and it has not answered */
};

struct book {
	uint32_t site;
	struct count_rules rules;        /* as decided */
	int64_t booked;
	int64_t pending[COUNT_KINDS];
	uint64_t pending_changes;        /* of the revision */
	unsigned pending_rules;          /* RULES among them: nothing is handed out by rules that a crash may undo */
	int64_t freed;
	unsigned pending_lowers;         /* changes among them that lower something: who is refused because of them must not be overtaken */
	int64_t vouched[COUNT_KINDS];
	int64_t looked[COUNT_KINDS];     /* what is vouched for when the others have synced */
	unsigned waiting;                /* commands that were told RECALL: nothing is handed out before they are decided */
	unsigned holders, unbounded, asked; /* cores with a way; of these, with WAY_UNBOUNDED; asked */
	int64_t allotted;
	struct held held[];
};

struct place {
	struct book *book;               /* NULL: none yet */
	int64_t base;
};

struct decider {
	uint32_t magic;
	struct count *count;
	unsigned cores, sites_max, reservations_max;
	bool restored;
	bool early;                      /* cores publish what a power cut may take */
	struct book *study;
	struct book *none;               /* of COUNT_SITE_NONE: as any site is before it is entered, held by nobody. It stays so */
	struct count_rules study_public; /* as published */
	struct reservations *reservations;
	uint32_t *closed;                /* sites that were open to no core when cores began; written once */
	unsigned closed_count;
	bool study_closed;
	struct place places[];
};

static int64_t count_of(const int64_t n[COUNT_KINDS])
{
	return n[COUNT_ENROLLED] - n[COUNT_WITHDRAWN];
}

static bool is_nothing(const int64_t by[COUNT_KINDS])
{
	static const int64_t nothing[COUNT_KINDS];

	return memcmp(by, nothing, sizeof(nothing)) == 0;
}

/* --- books --------------------------------------------------------------------------------------------------------- */

static struct book *book_new(const struct decider *d, uint32_t site, int64_t booked, enum way way)
{
	struct book *book = calloc(1, sizeof(*book) + d->cores * sizeof(book->held[0]));

	cache_check(book != NULL);
	book->site = site;
	book->rules.cap = COUNT_NO_CAP;
	book->booked = booked;
	for (unsigned core = 0; core < d->cores; core++)
		book->held[core].way = (uint8_t)way;
	book->holders = way == WAY_NONE ? 0 : d->cores;
	book->unbounded = way == WAY_UNBOUNDED ? d->cores : 0;
	return book;
}

/* NULL: no command has touched this site. */
static struct book *book_find(const struct decider *d, uint32_t site)
{
	cache_check(d->magic == DECIDER_MAGIC);
	if (site == COUNT_STUDY)
		return d->study;
	if (site == COUNT_SITE_NONE)
		return d->none;
	cache_check(site < d->sites_max);
	return d->places[site].book;
}

/* While the journal is read nobody holds anything: decider_restored sees to what is open. */
static struct book *book_of(struct decider *d, uint32_t site)
{
	struct book *book = book_find(d, site);

	if (book == NULL) {
		book = book_new(d, site, d->places[site].base, d->restored ? WAY_UNBOUNDED : WAY_NONE);
		d->places[site].book = book;
	}
	return book;
}

/* Negative where the cap was set below what was there. */
static int64_t book_free(const struct book *book)
{
	return book->rules.cap - book->rules.reserved - book->booked - book->allotted;
}

/* The site with all that others published and that is decided here: every kind but withdrawn, the count, and the revision may be higher by what
 * holders have under way, and nothing may be lower. */
static void book_look(const struct decider *d, const struct book *book, struct count_site *found, uint64_t *seen_ns)
{
	if (book == d->none)
		memset(found, 0, sizeof(*found));
	else
		count_look(d->count, book->site, found);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		found->n[kind] += book->pending[kind];
	found->count = count_of(found->n);
	found->revision += book->pending_changes;
	if (found->stamp_ns > *seen_ns)
		*seen_ns = found->stamp_ns;
}

enum fit { FITS, FITS_NOT, FITS_PERHAPS /* a recall will tell */ };

/* Is there room for this much more in count and reservations together? */
static enum fit book_fit_room(const struct decider *d, const struct book *book, int64_t more, uint64_t *seen_ns)
{
	struct count_site found;

	if (more <= 0 || book->rules.cap == COUNT_NO_CAP || book_free(book) >= more)
		return FITS;
	if (book->holders == 0)
		return FITS_NOT;
	book_look(d, book, &found, seen_ns);
	return book->rules.cap - book->rules.reserved - found.count < more ? FITS_NOT : FITS_PERHAPS;
}

/* May so much of what is reserved be counted? Always, unless the cap was set below count and reservations since. */
static enum fit book_fit_confirm(const struct decider *d, const struct book *book, int64_t amount, uint64_t *seen_ns)
{
	struct count_site found;

	if (book->rules.cap == COUNT_NO_CAP || book_free(book) >= 0 || book->booked + book->allotted + amount <= book->rules.cap)
		return FITS;
	if (book->holders == 0)
		return FITS_NOT;
	book_look(d, book, &found, seen_ns);
	return found.count + amount > book->rules.cap ? FITS_NOT : FITS_PERHAPS;
}

static bool lowers_any(const int64_t by[COUNT_KINDS])
{
	bool lowers = count_of(by) < 0;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		lowers |= by[kind] < 0;
	return lowers;
}

/* Would nothing be below zero? */
static enum fit book_fit_floor(const struct decider *d, const struct book *book, const int64_t by[COUNT_KINDS], uint64_t *seen_ns)
{
	struct count_site found;
	bool is_short;

	if (!lowers_any(by))
		return FITS;
	book_look(d, book, &found, seen_ns);
	/* Nobody but the decider withdraws. */
	if (by[COUNT_WITHDRAWN] < 0 && found.n[COUNT_WITHDRAWN] + by[COUNT_WITHDRAWN] < 0)
		return FITS_NOT;
	is_short = count_of(by) < 0 && found.count + count_of(by) < 0;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		is_short |= by[kind] < 0 && found.n[kind] + by[kind] < 0;
	return !is_short ? FITS : book->holders == 0 ? FITS_NOT : FITS_PERHAPS;
}

/* Decided, in one book; book_published is its other half. */
static void book_decided(struct book *book, const int64_t by[COUNT_KINDS])
{
	int64_t delta = count_of(by);

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		book->pending[kind] += by[kind];
	book->pending_changes++;
	book->pending_lowers += lowers_any(by);
	book->booked += delta;
	book->freed += delta < 0 ? -delta : 0;
}

static void book_published(struct book *book, const int64_t by[COUNT_KINDS])
{
	int64_t delta = count_of(by);

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		book->pending[kind] -= by[kind];
	book->pending_changes--;
	book->pending_lowers -= lowers_any(by);
	book->freed -= delta < 0 ? -delta : 0;
}

/* ---- what a power cut leaves ---- */

/* Recorded in stream 0, which loses nothing that stands before what rests on it. Never between SYNC_SITE and decider_synced, so `looked` needs none
 * of it. */
static void book_vouch(struct book *book, const int64_t by[COUNT_KINDS])
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		book->vouched[kind] += by[kind];
}

/* Would nothing be below zero, whatever a power cut takes of the other streams? Withdrawals are all in stream 0. */
static bool book_vouches(const struct book *book, const int64_t by[COUNT_KINDS])
{
	bool vouches = count_of(by) >= 0 || count_of(book->vouched) + count_of(by) >= 0;

	for (unsigned kind = 0; kind < COUNT_WITHDRAWN; kind++)
		vouches &= by[kind] >= 0 || book->vouched[kind] + by[kind] >= 0;
	return vouches;
}

/* What other cores have published of it they are asked to sync. */
static enum decision told_to_sync(struct decider *d, struct book *book, uint64_t *seen_ns)
{
	struct count_site found;

	book_look(d, book, &found, seen_ns);
	memcpy(book->looked, found.n, sizeof(book->looked));
	return SYNC_SITE;
}

/* --- commands ------------------------------------------------------------------------------------------------------ */

static void wait_over(struct book *book, bool *waits)
{
	if (*waits)
		book->waiting--;
	*waits = false;
}

static enum decision told(struct decider *d, struct book *book, bool *waits, enum decision recall)
{
	if (!*waits)
		book->waiting++;
	*waits = true;
	for (unsigned core = 0; core < d->cores; core++) {
		struct held *held = &book->held[core];

		if (held->way != WAY_NONE && !held->asked) {
			held->asked = true;
			book->asked++;
		}
	}
	return recall;
}

/* The decider records, so its own line and the memory for what it will publish come first. */
static bool line_has_room(struct decider *d, uint32_t site)
{
	/* A site that is not entered has room itself, and the study's line is asked. */
	enum count_answer answer = count_reserve(d->count, 0, site == COUNT_SITE_NONE ? COUNT_STUDY : site);

	cache_check(answer == COUNT_OK || answer == COUNT_LINE_SPENT);
	return answer == COUNT_OK;
}

/* What a core would be given of a book for a raise. False: it goes on asking. 0: it has enough. While something that lowers the
 * site waits for its disk, nothing is given: who was refused below zero because of it would else find raises that came later before it. */
static bool book_offer(const struct decider *d, const struct book *book, unsigned core, int64_t taken, int64_t *room)
{
	const struct held *held = &book->held[core];
	int64_t share, left;

	*room = 0;
	if (book->waiting > 0 || book->asked > 0 || book->pending_rules > 0 || (book != d->study && book->pending_lowers > 0) ||
	    book->rules.status != COUNT_RECRUITING)
		return false;
	if (book->rules.cap == COUNT_NO_CAP) {
		*room = held->way == WAY_UNBOUNDED ? 0 : PERMIT_UNBOUNDED;
		return true;
	}
	/* Taken is what the core said with its question: allotments that were on their way to it then count as not yet taken, so that many
	 * questions at once do not carry off everything. It may be of the time before a recall, and then is too much. */
	left = held->way == WAY_ALLOTTED ? held->room - taken : 0;
	left = left < 0 ? 0 : left;
	share = (book_free(book) - book->freed) / (ALLOTMENT_PART * (int64_t)d->cores);
	if (share < ALLOTMENT_LEAST)
		return left > 0;
	*room = share > left ? share - left : 0;
	return true;
}

static void book_allot(struct book *book, unsigned core, int64_t room)
{
	struct held *held = &book->held[core];

	if (room == 0)
		return;
	if (held->way == WAY_NONE)
		book->holders++;
	if (room == PERMIT_UNBOUNDED) {
		book->allotted -= held->room;
		*held = (struct held){ .way = WAY_UNBOUNDED };
		book->unbounded++;
		return;
	}
	cache_check(held->way != WAY_UNBOUNDED);
	held->way = WAY_ALLOTTED;
	held->room += room;
	book->allotted += room;
}

/* A raise needs both permits, so one without the other is not handed out: it would lie there until it is recalled. */
static void offer(struct decider *d, struct book *book, const struct command *command, unsigned asker, struct outcome *outcome)
{
	int64_t room, study_room = 0;

	if (!command->asks || !permits_cover(command->by))
		return;
	if (!book_offer(d, book, asker, command->taken_site, &room))
		return;
	if (count_of(command->by) > 0 && !book_offer(d, d->study, asker, command->taken_study, &study_room))
		return;
	book_allot(book, asker, room);
	book_allot(d->study, asker, study_room);
	outcome->grant_site = room;
	outcome->grant_study = study_room;
}

/* What the rules say of a command. Where they refuse nothing, what else it takes: */
struct judgement {
	enum count_refusal refusal;
	enum fit site, study;            /* FITS_PERHAPS: what cores hold of it must come back first */
	bool records;                    /* something that needs room in the line */
	bool syncs;                      /* it rests on what others may lose */
};

static struct judgement refused(enum count_refusal refusal)
{
	return (struct judgement){ .refusal = refusal };
}

/* Room for so much more, in the site and in the study. */
static struct judgement judge_room(const struct decider *d, const struct book *book, int64_t more, uint64_t *seen_ns)
{
	struct judgement judgement = { .records = true };

	judgement.site = book_fit_room(d, book, more, seen_ns);
	if (judgement.site == FITS_NOT)
		return refused(REFUSAL_SITE_CAP);
	judgement.study = book_fit_room(d, d->study, more, seen_ns);
	return judgement.study == FITS_NOT ? refused(REFUSAL_STUDY_CAP) : judgement;
}

/* ---- a change ---- */

static struct judgement judge_change(const struct decider *d, const struct book *book, const struct command *command, uint64_t *seen_ns)
{
	const int64_t *by = command->by;
	struct judgement judgement;
	enum fit floor;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		cache_check(by[kind] >= -COUNT_BY_MAX && by[kind] <= COUNT_BY_MAX);
	if (book->rules.status == COUNT_CLOSED)
		return refused(REFUSAL_SITE_CLOSED);
	if (book->rules.status == COUNT_PAUSED && (by[COUNT_SCREENED] > 0 || by[COUNT_ENROLLED] > 0))
		return refused(REFUSAL_SITE_PAUSED);
	floor = book_fit_floor(d, book, by, seen_ns);
	if (floor == FITS_NOT)
		return refused(REFUSAL_BELOW_ZERO);
	judgement = judge_room(d, book, count_of(by), seen_ns);
	judgement.records = !is_nothing(by);
	judgement.syncs = d->early && !book_vouches(book, by);
	if (floor == FITS_PERHAPS)
		judgement.site = FITS_PERHAPS;
	return judgement;
}

static void change_decided(struct decider *d, struct book *book, const struct command *command, unsigned asker, struct outcome *outcome)
{
	struct effect *effect = &outcome->effect;

	memcpy(effect->by, command->by, sizeof(effect->by));
	effect->nothing = is_nothing(command->by);
	if (!effect->nothing) {
		book_decided(book, command->by);
		book_decided(d->study, command->by);
		book_vouch(book, command->by);
	}
	offer(d, book, command, asker, outcome);
}

/* ---- rules ---- */

/* Would these rules forbid what cores that hold something may do without asking? */
static bool forbids(const struct book *book, const struct count_rules *rules)
{
	if (book->holders == 0)
		return false;
	if (rules->status != COUNT_RECRUITING)
		return true;
	return rules->cap != COUNT_NO_CAP &&
	       (book->unbounded > 0 || rules->cap - rules->reserved - book->booked - book->allotted < 0);
}

/* The rules as they are to be. False: they are so already, and nothing is recorded. The first rules of a site are recorded whatever they
 * are: from then on the site is known. */
static bool rules_wanted(const struct book *book, const struct command *command, struct count_rules *rules)
{
	*rules = book->rules;
	if (command->sets_status)
		rules->status = command->status;
	if (command->sets_cap)
		rules->cap = command->cap;
	if (!command->sets_status && !command->sets_cap)
		return false;
	return rules->changes == 0 || rules->status != book->rules.status || rules->cap != book->rules.cap;
}

static bool condition_meets(const struct condition *condition, uint64_t revision)
{
	if (condition->any)
		return revision > 0;
	for (unsigned i = 0; i < condition->revision_count; i++) {
		if (condition->revisions[i] == revision)
			return true;
	}
	return false;
}

static struct judgement judge_rules(const struct decider *d, const struct book *book, const struct command *command, uint64_t *seen_ns)
{
	const struct condition *match = &command->if_match, *none = &command->if_none_match;
	const bool of_study = book == d->study, has_condition = match->given || none->given;
	struct judgement judgement = { 0 };
	struct count_rules rules;
	struct count_site found;
	enum fit fit = FITS;

	cache_check(!of_study || (!command->sets_status && !has_condition));
	cache_check(!command->sets_cap || (command->cap >= COUNT_NO_CAP && command->cap <= SHARD_LINE_MAX));
	if (has_condition) {
		book_look(d, book, &found, seen_ns);
		/* It may be higher by what others have under way: a revision that has passed does not come again, and of one that is to come nobody can
		 * know. */
		if ((match->given && !condition_meets(match, found.revision)) || (none->given && condition_meets(none, found.revision)))
			return refused(REFUSAL_SITE_CHANGED);
		if (book->holders > 0)
			fit = FITS_PERHAPS;
	}
	judgement.records = rules_wanted(book, command, &rules);
	if (judgement.records && forbids(book, &rules))
		fit = FITS_PERHAPS;
	*(of_study ? &judgement.study : &judgement.site) = fit;
	return judgement;
}

static void rules_decided(struct decider *d, struct book *book, const struct command *command, struct outcome *outcome)
{
	struct effect *effect = &outcome->effect;
	struct count_site found;

	effect->rules_before = book->rules;
	effect->nothing = !rules_wanted(book, command, &effect->rules);
	if (effect->nothing)
		return;
	if (effect->rules.changes == 0) {
		book_look(d, book, &found, &outcome->seen_ns);
		outcome->founds = found.revision == 0;
	}
	effect->rules.changes++;
	book->rules = effect->rules;
	book->pending_changes++;
	book->pending_rules++;
}

/* ---- reservations ---- */

/* `reserved` changes by this much, of the site and of the study. */
static void reserve_decided(struct decider *d, struct book *book, int64_t more, struct effect *effect)
{
	effect->rules_before = book->rules;
	book->rules.reserved += more;
	book->rules.changes++;
	book->pending_changes++;
	d->study->rules.reserved += more;
	effect->rules = book->rules;
}

static struct judgement judge_reserve(const struct decider *d, const struct book *book, const struct command *command, uint64_t *seen_ns)
{
	cache_check(command->amount >= 1 && command->amount <= COUNT_BY_MAX && command->reservation != 0);
	if (book->rules.status != COUNT_RECRUITING)
		return refused(book->rules.status == COUNT_CLOSED ? REFUSAL_SITE_CLOSED : REFUSAL_SITE_PAUSED);
	if (reservations_count(d->reservations) >= d->reservations_max)
		return refused(REFUSAL_RESERVATIONS_FULL);
	return judge_room(d, book, command->amount, seen_ns);
}

static void reservation_made(struct decider *d, struct book *book, const struct command *command, struct effect *effect)
{
	reservations_add(d->reservations, command->reservation, book->site, command->amount, command->expires_ms);
	reserve_decided(d, book, command->amount, effect);
	effect->reservation = command->reservation;
	effect->expires_ms = command->expires_ms;
	effect->amount = command->amount;
}

static struct judgement judge_confirm(const struct decider *d, const struct book *book, int64_t amount, uint64_t *seen_ns)
{
	struct judgement judgement = { .records = true };

	if (book->rules.status != COUNT_RECRUITING)
		return refused(book->rules.status == COUNT_CLOSED ? REFUSAL_SITE_CLOSED : REFUSAL_SITE_PAUSED);
	judgement.site = book_fit_confirm(d, book, amount, seen_ns);
	if (judgement.site == FITS_NOT)
		return refused(REFUSAL_SITE_CAP);
	judgement.study = book_fit_confirm(d, d->study, amount, seen_ns);
	return judgement.study == FITS_NOT ? refused(REFUSAL_STUDY_CAP) : judgement;
}

/* A release is always possible. */
static struct judgement judge_reserved(const struct decider *d, const struct book *book, const struct command *command, uint64_t now_ms,
	uint64_t *seen_ns)
{
	const struct reservation *reservation = reservations_find(d->reservations, command->reservation);

	if (reservation == NULL || reservation->site != book->site || reservation->expires_ms <= now_ms)
		return refused(REFUSAL_RESERVATION_UNKNOWN);
	return command->kind == COMMAND_CONFIRM ? judge_confirm(d, book, reservation->amount, seen_ns) : (struct judgement){ 0 };
}

/* Confirmed, released or expired. */
static void reservation_over(struct decider *d, struct book *book, uint64_t number, struct effect *effect)
{
	effect->reservation = number;
	effect->amount = reservations_find(d->reservations, number)->amount;
	reservations_remove(d->reservations, number);
	reserve_decided(d, book, -effect->amount, effect);
	if (effect->kind == COMMAND_CONFIRM) {
		effect->by[COUNT_ENROLLED] = effect->amount;
		book_decided(book, effect->by);
		book_decided(d->study, effect->by);
		book_vouch(book, effect->by);
	} else {
		book->freed += effect->amount;
		d->study->freed += effect->amount;
	}
}

/* ---- any ---- */

/* What is freed is handed out only under a cap, and a cap that comes later stands behind it. */
static bool makes_room(const struct decider *d, const struct book *book, const struct effect *effect)
{
	if (effect->nothing || effect->kind == COMMAND_RULES)
		return !effect->nothing;
	return (book->rules.cap != COUNT_NO_CAP || d->study->rules.cap != COUNT_NO_CAP) &&
	       (effect->kind == COMMAND_RELEASE || count_of(effect->by) < 0);
}

static struct judgement judge(const struct decider *d, const struct book *book, const struct command *command, uint64_t now_ms, uint64_t *seen_ns)
{
	switch (command->kind) {
	case COMMAND_CHANGE:
		return judge_change(d, book, command, seen_ns);
	case COMMAND_RULES:
		return judge_rules(d, book, command, seen_ns);
	case COMMAND_RESERVE:
		return judge_reserve(d, book, command, seen_ns);
	case COMMAND_CONFIRM:
	case COMMAND_RELEASE:
		break;
	}
	return judge_reserved(d, book, command, now_ms, seen_ns);
}

static void decided(struct decider *d, struct book *book, const struct command *command, unsigned asker, struct outcome *outcome)
{
	switch (command->kind) {
	case COMMAND_CHANGE:
		change_decided(d, book, command, asker, outcome);
		break;
	case COMMAND_RULES:
		rules_decided(d, book, command, outcome);
		break;
	case COMMAND_RESERVE:
		reservation_made(d, book, command, &outcome->effect);
		break;
	case COMMAND_CONFIRM:
	case COMMAND_RELEASE:
		reservation_over(d, book, command->reservation, &outcome->effect);
		break;
	}
	outcome->effect.makes_room = makes_room(d, book, &outcome->effect);
}

enum decision decider_decide(struct decider *d, struct command *command, unsigned asker, uint64_t now_ms, struct outcome *outcome)
{
	struct book *book = book_of(d, command->site);
	struct judgement judgement;

	cache_check(d->restored && asker < d->cores);
	cache_check(command->site != COUNT_STUDY || command->kind == COMMAND_RULES);
	memset(outcome, 0, sizeof(*outcome));
	outcome->effect.kind = command->kind;
	outcome->effect.site = command->site;
	judgement = judge(d, book, command, now_ms, &outcome->seen_ns);
	if (judgement.refusal == REFUSAL_NONE && judgement.records && !line_has_room(d, command->site))
		judgement.refusal = REFUSAL_COUNT_FULL;
	outcome->refusal = judgement.refusal;
	if (judgement.refusal == REFUSAL_NONE) {
		if (judgement.site == FITS_PERHAPS)
			return told(d, book, &command->waits_site, RECALL_SITE);
		if (judgement.study == FITS_PERHAPS)
			return told(d, d->study, &command->waits_study, RECALL_STUDY);
		if (judgement.syncs)
			return told_to_sync(d, book, &outcome->seen_ns);
		/* Now it would be done, and nothing that is refused founds a site. */
		if (command->site == COUNT_SITE_NONE && judgement.records)
			return ENTER_SITE;
		decided(d, book, command, asker, outcome);
	}
	decider_forget(d, command);
	return DECIDED;
}

void decider_forget(struct decider *d, struct command *command)
{
	if (command->waits_site)
		wait_over(book_of(d, command->site), &command->waits_site);
	wait_over(d->study, &command->waits_study);
}

/* --- recalls, publication ------------------------------------------------------------------------------------------- */

bool decider_holds(const struct decider *d, uint32_t site, unsigned core)
{
	const struct book *book = book_find(d, site);

	cache_check(core < d->cores);
	return book == NULL || book->held[core].way != WAY_NONE;
}

void decider_recalled(struct decider *d, uint32_t site, unsigned core, int64_t room)
{
	struct book *book = book_of(d, site);
	struct held *held = &book->held[core];

	cache_check(core < d->cores && held->way != WAY_NONE && room >= 0);
	if (held->way == WAY_UNBOUNDED) {
		book->booked += PERMIT_UNBOUNDED - room;
		book->unbounded--;
	} else {
		book->booked += held->room - room;
		book->allotted -= held->room;
	}
	if (held->asked)
		book->asked--;
	book->holders--;
	*held = (struct held){ .way = WAY_NONE };
}

void decider_synced(struct decider *d, uint32_t site)
{
	struct book *book = book_of(d, site);

	memcpy(book->vouched, book->looked, sizeof(book->vouched));
}

void decider_publish(struct decider *d, const struct effect *effect, uint64_t stamp_ns)
{
	struct book *book;
	const struct count_rules *study = NULL;
	struct count_rules rules = effect->rules;
	const bool counts = !is_nothing(effect->by);

	if (effect->nothing)
		return;
	book = book_of(d, effect->site);
	if (counts) {
		book_published(book, effect->by);
		book_published(d->study, effect->by);
	}
	if (effect->kind == COMMAND_CHANGE) {
		count_publish(d->count, effect->site, effect->by, NULL, NULL, stamp_ns);
		return;
	}
	rules.stamp_ns = stamp_ns;
	book->rules.stamp_ns = stamp_ns;
	book->pending_changes--;
	if (effect->kind == COMMAND_RULES) {
		book->pending_rules--;
		if (book == d->study)
			d->study_public = rules;
	} else {
		d->study_public.reserved += effect->rules.reserved - effect->rules_before.reserved;
		study = &d->study_public;
		if (effect->kind == COMMAND_RELEASE) {
			book->freed -= effect->amount;
			d->study->freed -= effect->amount;
		}
	}
	count_publish(d->count, effect->site, counts ? effect->by : NULL, &rules, study, stamp_ns);
}

void decider_rules(const struct decider *d, uint32_t site, struct count_rules *rules)
{
	const struct book *book = book_find(d, site);

	*rules = book != NULL ? book->rules : (struct count_rules){ .cap = COUNT_NO_CAP };
}

/* --- reservations ---------------------------------------------------------------------------------------------------- */

bool decider_expire(struct decider *d, uint64_t now_ms, struct effect *effect)
{
	const struct reservation *reservation = reservations_first(d->reservations);
	struct book *book;

	cache_check(d->magic == DECIDER_MAGIC && d->restored);
	if (reservation == NULL || reservation->expires_ms > now_ms)
		return false;
	*effect = (struct effect){ .kind = COMMAND_RELEASE, .expired = true, .site = reservation->site };
	book = book_of(d, reservation->site);
	reservation_over(d, book, reservation->number, effect);
	effect->makes_room = makes_room(d, book, effect);
	return true;
}

void decider_mend(struct decider *d, uint32_t site, const int64_t by[COUNT_KINDS], struct effect *effect)
{
	cache_check(d->magic == DECIDER_MAGIC && d->restored);
	memset(effect, 0, sizeof(*effect));
	effect->kind = COMMAND_CHANGE;
	effect->site = site;
	memcpy(effect->by, by, sizeof(effect->by));
	book_decided(book_of(d, site), by);
	book_decided(d->study, by);
}

uint64_t decider_next_expiry_ms(const struct decider *d)
{
	const struct reservation *reservation = reservations_first(d->reservations);

	return reservation == NULL ? UINT64_MAX : reservation->expires_ms;
}

unsigned decider_reservations(const struct decider *d)
{
	return reservations_count(d->reservations);
}

bool decider_each_reservation(const struct decider *d, size_t *place, uint64_t *number, uint32_t *site, int64_t *amount, uint64_t *expires_ms)
{
	const struct reservation *reservation;

	*number = 0;
	if (!reservations_next(d->reservations, place, &reservation))
		return false;
	if (reservation == NULL)
		return true;
	*number = reservation->number;
	*site = reservation->site;
	*amount = reservation->amount;
	*expires_ms = reservation->expires_ms;
	return true;
}

/* --- from the beginning to the end ------------------------------------------------------------------------------------ */

struct decider *decider_new(struct count *count, unsigned cores, unsigned reservations_max)
{
	struct count_stats stats;
	struct decider *d;

	cache_check(cores > 0);
	count_stats(count, &stats);
	d = calloc(1, sizeof(*d) + stats.sites_max * sizeof(d->places[0]));
	cache_check(d != NULL);
	d->magic = DECIDER_MAGIC;
	d->count = count;
	d->cores = cores;
	d->sites_max = stats.sites_max;
	d->reservations_max = reservations_max;
	d->reservations = reservations_new();
	d->study = book_new(d, COUNT_STUDY, 0, WAY_NONE);
	d->none = book_new(d, COUNT_SITE_NONE, 0, WAY_NONE);
	return d;
}

void decider_free(struct decider *d)
{
	if (d == NULL)
		return;
	cache_check(d->magic == DECIDER_MAGIC);
	for (unsigned site = 0; site < d->sites_max; site++)
		free(d->places[site].book);
	reservations_free(d->reservations);
	free(d->study);
	free(d->none);
	free(d->closed);
	d->magic = 0;
	free(d);
}

void decider_publishes_early(struct decider *d)
{
	cache_check(d->magic == DECIDER_MAGIC && !d->restored);
	d->early = true;
}

void decider_restore_rules(struct decider *d, uint32_t site, const struct count_rules *rules)
{
	struct book *book = book_of(d, site);
	int64_t reserved = book->rules.reserved;

	cache_check(!d->restored);
	book->rules = *rules;
	book->rules.reserved = reserved;
}

void decider_restore_reservation(struct decider *d, uint64_t number, uint32_t site, int64_t amount, uint64_t expires_ms)
{
	cache_check(!d->restored);
	if (reservations_find(d->reservations, number) != NULL)
		return;
	reservations_add(d->reservations, number, site, amount, expires_ms);
	book_of(d, site)->rules.reserved += amount;
	d->study->rules.reserved += amount;
}

bool decider_restore_release(struct decider *d, uint64_t number)
{
	const struct reservation *reservation = reservations_find(d->reservations, number);

	cache_check(!d->restored);
	if (reservation == NULL)
		return false;
	book_of(d, reservation->site)->rules.reserved -= reservation->amount;
	d->study->rules.reserved -= reservation->amount;
	reservations_remove(d->reservations, number);
	return true;
}

void decider_restored(struct decider *d)
{
	struct count_stats stats;

	cache_check(d->magic == DECIDER_MAGIC && !d->restored);
	count_stats(d->count, &stats);
	d->closed = calloc(stats.sites + 1, sizeof(d->closed[0]));
	cache_check(d->closed != NULL);
	for (uint32_t site = 0; site < stats.sites; site++) {
		struct place *place = &d->places[site];

		place->base = count_read(d->count, site);
		if (place->book == NULL)
			continue;
		place->book->booked = place->base;
		d->closed[d->closed_count++] = site;
		count_rule(d->count, site, &place->book->rules);
	}
	d->study->booked = count_read(d->count, COUNT_STUDY);
	d->study_closed = d->study->rules.cap != COUNT_NO_CAP;
	for (unsigned core = 0; core < d->cores && !d->study_closed; core++)
		book_allot(d->study, core, PERMIT_UNBOUNDED);
	d->study_public = d->study->rules;
	count_rule(d->count, COUNT_STUDY, &d->study->rules);
	d->restored = true;
}

bool decider_closed(const struct decider *d, unsigned place, uint32_t *site)
{
	cache_check(d->magic == DECIDER_MAGIC && d->restored);
	if (place < d->closed_count)
		*site = d->closed[place];
	else if (place == d->closed_count && d->study_closed)
		*site = COUNT_STUDY;
	else
		return false;
	return true;
}

unsigned decider_sites_max(const struct decider *d)
{
	return d->sites_max;
}
