/* cache/decide.c — books, commands, permits.
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
 * A site without a book is open to all cores, and its booked count is what it was when the gateway began (`base`). */
#include "cache/decide.h"

#include "cache/reservations.h"

#include <stdlib.h>
#include <string.h>

#define DECIDER_MAGIC 0x64656369u /* "deci" */
#define PERMITS_MAGIC 0x7065726du /* "perm" */
#define PERMITS_BLOCK_SITES 64u

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
	struct book *study;
	struct count_rules study_public; /* as published */
	struct reservations *reservations;
	uint32_t *closed;                /* sites that were open to no core when cores began; written once, for permits_new */
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

/* What a core may be permitted to do by itself. */
static bool is_plain_raise(const int64_t by[COUNT_KINDS])
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		if (by[kind] < 0)
			return false;
	}
	return by[COUNT_WITHDRAWN] == 0 && !is_nothing(by);
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

/* Would nothing be below zero? */
static enum fit book_fit_floor(const struct decider *d, const struct book *book, const int64_t by[COUNT_KINDS], uint64_t *seen_ns)
{
	bool lowers = count_of(by) < 0, is_short;
	struct count_site found;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		lowers |= by[kind] < 0;
	if (!lowers)
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
	book->booked += delta;
	book->freed += delta < 0 ? -delta : 0;
}

static void book_published(struct book *book, const int64_t by[COUNT_KINDS])
{
	int64_t delta = count_of(by);

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		book->pending[kind] -= by[kind];
	book->pending_changes--;
	book->freed -= delta < 0 ? -delta : 0;
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

static enum decision refused(struct outcome *outcome, enum count_refusal refusal)
{
	outcome->refusal = refusal;
	return DECIDED;
}

/* The decider records, so its own line and the memory for what it will publish come first. */
static bool line_has_room(struct decider *d, uint32_t site)
{
	enum count_answer answer = count_reserve(d->count, 0, site);

	cache_check(answer == COUNT_OK || answer == COUNT_LINE_SPENT);
	return answer == COUNT_OK;
}

/* What a core would be given of a book for a raise. False: it goes on asking. 0: it has enough. */
static bool book_offer(const struct decider *d, const struct book *book, unsigned core, int64_t taken, int64_t *room)
{
	const struct held *held = &book->held[core];
	int64_t share, left;

	*room = 0;
	if (book->waiting > 0 || book->asked > 0 || book->pending_rules > 0 || book->rules.status != COUNT_RECRUITING)
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

	if (!command->asks || !is_plain_raise(command->by))
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

static enum decision decide_change(struct decider *d, struct book *book, struct command *command, unsigned asker, struct outcome *outcome)
{
	const int64_t *by = command->by, more = count_of(by);
	struct effect *effect = &outcome->effect;
	enum fit floor, site, study;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		cache_check(by[kind] >= -COUNT_BY_MAX && by[kind] <= COUNT_BY_MAX);
	if (book->rules.status == COUNT_CLOSED)
		return refused(outcome, REFUSAL_SITE_CLOSED);
	if (book->rules.status == COUNT_PAUSED && (by[COUNT_SCREENED] > 0 || by[COUNT_ENROLLED] > 0))
		return refused(outcome, REFUSAL_SITE_PAUSED);
	floor = book_fit_floor(d, book, by, &outcome->seen_ns);
	if (floor == FITS_NOT)
		return refused(outcome, REFUSAL_BELOW_ZERO);
	site = book_fit_room(d, book, more, &outcome->seen_ns);
	if (site == FITS_NOT)
		return refused(outcome, REFUSAL_SITE_CAP);
	study = book_fit_room(d, d->study, more, &outcome->seen_ns);
	if (study == FITS_NOT)
		return refused(outcome, REFUSAL_STUDY_CAP);
	if (!line_has_room(d, book->site))
		return refused(outcome, REFUSAL_COUNT_FULL);
	if (floor == FITS_PERHAPS || site == FITS_PERHAPS)
		return told(d, book, &command->waits_site, RECALL_SITE);
	if (study == FITS_PERHAPS)
		return told(d, d->study, &command->waits_study, RECALL_STUDY);

	memcpy(effect->by, by, sizeof(effect->by));
	effect->nothing = is_nothing(by);
	if (!effect->nothing) {
		book_decided(book, by);
		book_decided(d->study, by);
	}
	offer(d, book, command, asker, outcome);
	return DECIDED;
}

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

static enum decision decide_rules(struct decider *d, struct book *book, struct command *command, struct outcome *outcome)
{
	const bool of_study = book == d->study;
	bool *waits = of_study ? &command->waits_study : &command->waits_site;
	const enum decision recall = of_study ? RECALL_STUDY : RECALL_SITE;
	struct effect *effect = &outcome->effect;
	struct count_rules rules = book->rules;
	struct count_site found;

	cache_check(!of_study || (!command->sets_status && !command->if_match && !command->if_none_match));
	cache_check(!command->sets_cap || (command->cap >= COUNT_NO_CAP && command->cap <= SHARD_LINE_MAX));
	if (command->if_match || command->if_none_match) {
		book_look(d, book, &found, &outcome->seen_ns);
		/* It may be higher by what others have under way: a revision that has passed does not come again, and of one that is to come nobody can
		 * know. */
		if ((command->if_match && found.revision != command->revision) || (command->if_none_match && found.revision != 0))
			return refused(outcome, REFUSAL_SITE_CHANGED);
		if (book->holders > 0)
			return told(d, book, waits, recall);
	}
	if (command->sets_status)
		rules.status = command->status;
	if (command->sets_cap)
		rules.cap = command->cap;
	effect->rules_before = book->rules;
	/* The first rules of a site are recorded whatever they are: from then on the site is known. */
	if (!(command->sets_status || command->sets_cap) ||
	    (rules.changes > 0 && rules.status == book->rules.status && rules.cap == book->rules.cap)) {
		effect->rules = rules;
		effect->nothing = true;
		return DECIDED;
	}
	if (!line_has_room(d, book->site))
		return refused(outcome, REFUSAL_COUNT_FULL);
	if (forbids(book, &rules))
		return told(d, book, waits, recall);
	rules.changes++;
	book->rules = rules;
	book->pending_changes++;
	book->pending_rules++;
	effect->rules = rules;
	return DECIDED;
}

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

static enum decision decide_reserve(struct decider *d, struct book *book, struct command *command, struct outcome *outcome)
{
	struct effect *effect = &outcome->effect;
	enum fit site, study;

	cache_check(command->amount >= 1 && command->amount <= COUNT_BY_MAX && command->reservation != 0);
	if (book->rules.status != COUNT_RECRUITING)
		return refused(outcome, book->rules.status == COUNT_CLOSED ? REFUSAL_SITE_CLOSED : REFUSAL_SITE_PAUSED);
	if (reservations_count(d->reservations) >= d->reservations_max)
		return refused(outcome, REFUSAL_RESERVATIONS_FULL);
	site = book_fit_room(d, book, command->amount, &outcome->seen_ns);
	if (site == FITS_NOT)
		return refused(outcome, REFUSAL_SITE_CAP);
	study = book_fit_room(d, d->study, command->amount, &outcome->seen_ns);
	if (study == FITS_NOT)
		return refused(outcome, REFUSAL_STUDY_CAP);
	if (!line_has_room(d, book->site))
		return refused(outcome, REFUSAL_COUNT_FULL);
	if (site == FITS_PERHAPS)
		return told(d, book, &command->waits_site, RECALL_SITE);
	if (study == FITS_PERHAPS)
		return told(d, d->study, &command->waits_study, RECALL_STUDY);
	reservations_add(d->reservations, command->reservation, book->site, command->amount, command->expires_ms);
	reserve_decided(d, book, command->amount, effect);
	effect->reservation = command->reservation;
	effect->expires_ms = command->expires_ms;
	effect->amount = command->amount;
	return DECIDED;
}

static enum decision decide_confirm(struct decider *d, struct book *book, struct command *command, const struct reservation *reservation,
	struct outcome *outcome)
{
	const int64_t amount = reservation->amount;
	struct effect *effect = &outcome->effect;
	enum fit site, study;

	if (book->rules.status != COUNT_RECRUITING)
		return refused(outcome, book->rules.status == COUNT_CLOSED ? REFUSAL_SITE_CLOSED : REFUSAL_SITE_PAUSED);
	site = book_fit_confirm(d, book, amount, &outcome->seen_ns);
	if (site == FITS_NOT)
		return refused(outcome, REFUSAL_SITE_CAP);
	study = book_fit_confirm(d, d->study, amount, &outcome->seen_ns);
	if (study == FITS_NOT)
		return refused(outcome, REFUSAL_STUDY_CAP);
	if (!line_has_room(d, book->site))
		return refused(outcome, REFUSAL_COUNT_FULL);
	if (site == FITS_PERHAPS)
		return told(d, book, &command->waits_site, RECALL_SITE);
	if (study == FITS_PERHAPS)
		return told(d, d->study, &command->waits_study, RECALL_STUDY);
	effect->reservation = command->reservation;
	effect->amount = amount;
	effect->by[COUNT_ENROLLED] = amount;
	reservations_remove(d->reservations, command->reservation);
	reserve_decided(d, book, -amount, effect);
	book_decided(book, effect->by);
	book_decided(d->study, effect->by);
	return DECIDED;
}

static void release(struct decider *d, struct book *book, const struct reservation *reservation, struct effect *effect)
{
	effect->kind = COMMAND_RELEASE;
	effect->site = book->site;
	effect->reservation = reservation->number;
	effect->amount = reservation->amount;
	reservations_remove(d->reservations, effect->reservation);
	reserve_decided(d, book, -effect->amount, effect);
	book->freed += effect->amount;
	d->study->freed += effect->amount;
}

static enum decision decide_reserved(struct decider *d, struct book *book, struct command *command, uint64_t now_ms, struct outcome *outcome)
{
	const struct reservation *reservation = reservations_find(d->reservations, command->reservation);

	if (reservation == NULL || reservation->site != book->site || reservation->expires_ms <= now_ms)
		return refused(outcome, REFUSAL_RESERVATION_UNKNOWN);
	if (command->kind == COMMAND_CONFIRM)
		return decide_confirm(d, book, command, reservation, outcome);
	release(d, book, reservation, &outcome->effect);
	return DECIDED;
}

enum decision decider_decide(struct decider *d, struct command *command, unsigned asker, uint64_t now_ms, struct outcome *outcome)
{
	struct book *book = book_of(d, command->site);
	enum decision decision = DECIDED;

	cache_check(d->restored && asker < d->cores);
	cache_check(command->site != COUNT_STUDY || command->kind == COMMAND_RULES);
	memset(outcome, 0, sizeof(*outcome));
	outcome->effect.kind = command->kind;
	outcome->effect.site = command->site;
	switch (command->kind) {
	case COMMAND_CHANGE:
		decision = decide_change(d, book, command, asker, outcome);
		break;
	case COMMAND_RULES:
		decision = decide_rules(d, book, command, outcome);
		break;
	case COMMAND_RESERVE:
		decision = decide_reserve(d, book, command, outcome);
		break;
	case COMMAND_CONFIRM:
	case COMMAND_RELEASE:
		decision = decide_reserved(d, book, command, now_ms, outcome);
		break;
	}
	if (decision == DECIDED)
		decider_forget(d, command);
	return decision;
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

void decider_publish(struct decider *d, const struct effect *effect, uint64_t stamp_ns)
{
	struct book *book = book_of(d, effect->site);
	const struct count_rules *study = NULL;
	struct count_rules rules = effect->rules;
	const bool counts = !is_nothing(effect->by);

	if (effect->nothing)
		return;
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

	cache_check(d->magic == DECIDER_MAGIC && d->restored);
	if (reservation == NULL || reservation->expires_ms > now_ms)
		return false;
	memset(effect, 0, sizeof(*effect));
	effect->expired = true;
	release(d, book_of(d, reservation->site), reservation, effect);
	return true;
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
	const struct reservation *reservation = reservations_next(d->reservations, place);

	if (reservation == NULL)
		return false;
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
	free(d->closed);
	d->magic = 0;
	free(d);
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

/* --- permits ----------------------------------------------------------------------------------------------------------- */

enum permit_way { PERMIT_OPEN /* the first, so that zeroed memory says it */, PERMIT_ALLOTTED, PERMIT_CLOSED };

/* `taken` may be below 0: what was given back after a recall had told it as spent. The decider has it booked, so it may be spent. */
struct permit {
	int64_t room;                    /* PERMIT_ALLOTTED: since the last recall */
	int64_t taken;                   /* … of it */
	enum permit_way way;
};

struct permits {
	uint32_t magic;
	unsigned sites_max;
	struct permit study;
	struct permit *blocks[];         /* NULL: all open, nothing taken */
};

static struct permit *permit_find(const struct permits *p, uint32_t site)
{
	struct permit *block;

	cache_check(p->magic == PERMITS_MAGIC);
	cache_check(site < p->sites_max);
	block = p->blocks[site / PERMITS_BLOCK_SITES];
	return block == NULL ? NULL : &block[site % PERMITS_BLOCK_SITES];
}

static struct permit *permit_of(struct permits *p, uint32_t site)
{
	if (site == COUNT_STUDY)
		return &p->study;
	if (permit_find(p, site) == NULL) {
		struct permit *block = calloc(PERMITS_BLOCK_SITES, sizeof(*block));

		cache_check(block != NULL);
		p->blocks[site / PERMITS_BLOCK_SITES] = block;
	}
	return permit_find(p, site);
}

static int64_t permit_left(const struct permit *permit)
{
	switch (permit->way) {
	case PERMIT_OPEN:
		return PERMIT_UNBOUNDED - permit->taken;
	case PERMIT_ALLOTTED:
		return permit->room - permit->taken;
	case PERMIT_CLOSED:
		break;
	}
	return 0;
}

struct permits *permits_new(const struct decider *d, unsigned core)
{
	struct permits *p;

	cache_check(d->magic == DECIDER_MAGIC && core < d->cores);
	p = calloc(1, sizeof(*p) + (d->sites_max / PERMITS_BLOCK_SITES + 1) * sizeof(p->blocks[0]));
	cache_check(p != NULL);
	p->magic = PERMITS_MAGIC;
	p->sites_max = d->sites_max;
	for (unsigned i = 0; i < d->closed_count; i++)
		permit_of(p, d->closed[i])->way = PERMIT_CLOSED;
	if (d->study_closed)
		p->study.way = PERMIT_CLOSED;
	return p;
}

void permits_free(struct permits *p)
{
	if (p == NULL)
		return;
	cache_check(p->magic == PERMITS_MAGIC);
	for (unsigned i = 0; i <= p->sites_max / PERMITS_BLOCK_SITES; i++)
		free(p->blocks[i]);
	p->magic = 0;
	free(p);
}

bool permits_take(struct permits *p, uint32_t site, const int64_t by[COUNT_KINDS])
{
	struct permit *permit = permit_of(p, site);
	const int64_t more = count_of(by);

	if (!is_plain_raise(by) || permit->way == PERMIT_CLOSED)
		return false;
	/* What does not move the count needs no room, and the study has nothing to say to it. */
	if (more > 0 && (permit_left(permit) < more || permit_left(&p->study) < more))
		return false;
	permit->taken += more;
	p->study.taken += more;
	return true;
}

void permits_give_back(struct permits *p, uint32_t site, const int64_t by[COUNT_KINDS])
{
	permit_of(p, site)->taken -= count_of(by);
	p->study.taken -= count_of(by);
}

void permits_ask(const struct permits *p, struct command *command)
{
	const struct permit *permit;

	if (command->kind != COMMAND_CHANGE || !is_plain_raise(command->by))
		return;
	permit = permit_find(p, command->site);
	command->asks = true;
	command->taken_site = permit == NULL ? 0 : permit->taken;
	command->taken_study = p->study.taken;
}

void permits_grant(struct permits *p, uint32_t site, int64_t room)
{
	struct permit *permit = permit_of(p, site);

	cache_check(room > 0);
	if (room == PERMIT_UNBOUNDED) {
		permit->way = PERMIT_OPEN;
		permit->room = 0;
		return;
	}
	cache_check(permit->way != PERMIT_OPEN);
	permit->way = PERMIT_ALLOTTED;
	permit->room += room;
}

int64_t permits_recall(struct permits *p, uint32_t site)
{
	struct permit *permit = permit_of(p, site);
	int64_t left = permit_left(permit);

	cache_check(permit->way != PERMIT_CLOSED);
	*permit = (struct permit){ .way = PERMIT_CLOSED };
	return left;
}
