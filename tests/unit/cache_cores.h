/* tests/unit/cache_cores.h — a gateway's cores around one decider, step by step, in one thread: every order of messages, commits and crashes that a
 * seed leads to.
 *
 *   client ─▶ core ─ permit ─▶ record in its stream ─ … ─▶ durable, published
 *                  ─ asks ───▶ core 0 ─ decides ─▶ record in stream 0 ─ … ─▶ durable, published
 *                                     ─ recalls ─▶ cores ─ … ─▶ answers
 *
 * Beside it runs a *truth*: what all records so far come to, added up in the plainest way. After each step the two are compared.
 * A step is a new request, the delivery of one message, records of one core becoming durable, a reservation running out, or a crash: then streams lose what is
 * not durable, each to its own extent, and everything is built anew from what is left. */
#ifndef TESTS_UNIT_CACHE_CORES_H
#define TESTS_UNIT_CACHE_CORES_H

#include "cache/replay.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORES_MAX 4
#define SITES 3
#define STUDY SITES /* in the arrays here */
#define RECORDS_MAX 6000
#define REQUESTS_MAX 8000
#define RESERVATIONS_MAX 12
#define KEYS_MAX 10000
#define MESSAGES_MAX 4096

static const uint8_t COUNT_SEED[COUNT_SEED_BYTES] = { 7 };
static const uint64_t KEYS_SEED[2] = { 1, 2 };

struct truth {
	int64_t n[SITES + 1][COUNT_KINDS];
	uint64_t changes[SITES + 1];     /* of lines */
	struct count_rules rules[SITES + 1];
	struct { uint64_t number, expires_ms; int64_t amount; unsigned site; } reservations[RESERVATIONS_MAX + 1];
	unsigned reservation_count;
};

struct entry {
	struct record record;
	struct effect effect;
	bool has_effect;                 /* else a core's own raise */
	struct condition match, none;    /* it was decided on these, so readers see a revision that they hold for until it is published */
};

struct stream {
	struct entry entries[RECORDS_MAX];
	unsigned count, durable;
	uint64_t stamp_ns, saw_ns;
	int64_t lines[SITES][COUNT_KINDS]; /* as recorded */
};

enum parcel_kind { PARCEL_COMMAND, PARCEL_GRANT, PARCEL_RECALL, PARCEL_ANSWER };

struct request {
	struct command command;
	unsigned asker;
	unsigned told_site, told_study;  /* RECALL, how often */
	bool over;
	char key[16];
	struct request *next;
};

struct parcel {
	enum parcel_kind kind;
	unsigned core;                   /* the other one than core 0 */
	struct request *request;
	unsigned site;
	int64_t room, study_room;
	uint64_t stamp_ns;
};

struct parcels { struct parcel list[MESSAGES_MAX]; unsigned first, end; };

/* A core has been asked, and what it spent is not durable yet. */
struct holding { bool is; unsigned until; int64_t room; };

struct cores {
	uint64_t random;
	unsigned count, streams;
	bool patient;                    /* while a recall is under way, commands it concerns are not even offered to the decider */
	uint64_t clock_ns, skew_ns[CORES_MAX];
	struct count *table;
	struct decider *decider;
	struct keys *keys;
	struct permits *permits[CORES_MAX];
	uint32_t site[SITES];
	struct stream stream[CORES_MAX];
	struct parcels down[CORES_MAX];  /* from core 0 */
	struct parcels commands[CORES_MAX], answers[CORES_MAX]; /* to it; they may overtake each other */
	struct holding holding[CORES_MAX][SITES + 1];
	unsigned missing[SITES + 1];     /* answers to a recall */
	bool asked[SITES + 1][CORES_MAX];
	struct request *waiting[SITES + 1];
	struct request *requests;        /* all there were */
	unsigned request_count, open;
	uint64_t reservation_number;
	struct truth truth;
	unsigned done[5], refused[10], recalls, grants, crashes; /* to see that a run met everything */
};

static uint64_t draw(struct cores *w, uint64_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random >> 11) % below;
}

static const char *const SITE_NAMES[SITES] = { "berlin-01", "köln", "s" };

static uint32_t number_of(const struct cores *w, unsigned site)
{
	return site == STUDY ? COUNT_STUDY : w->site[site];
}

static unsigned site_at(const struct cores *w, uint32_t number)
{
	unsigned site = 0;

	while (site < STUDY && w->site[site] != number)
		site++;
	return site;
}

static struct record_text text_of(const char *words)
{
	return (struct record_text){ words, strlen(words) };
}

static int64_t enrolled(const int64_t n[COUNT_KINDS])
{
	return n[COUNT_ENROLLED] - n[COUNT_WITHDRAWN];
}

/* --- the truth ---------------------------------------------------------------------------------------------------------- */

static void truth_begin(struct truth *t)
{
	memset(t, 0, sizeof(*t));
	for (unsigned site = 0; site <= STUDY; site++)
		t->rules[site].cap = COUNT_NO_CAP;
}

static void truth_line(struct truth *t, unsigned site, const int64_t by[COUNT_KINDS])
{
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		t->n[site][kind] += by[kind];
		t->n[STUDY][kind] += by[kind];
	}
	t->changes[site]++;
	t->changes[STUDY]++;
}

static void truth_reserved(struct truth *t, unsigned site, int64_t more, uint64_t stamp_ns)
{
	t->rules[site].reserved += more;
	t->rules[site].changes++;
	t->rules[site].stamp_ns = stamp_ns;
	t->rules[STUDY].reserved += more;
}

static unsigned truth_reservation(const struct truth *t, uint64_t number)
{
	unsigned i = 0;

	while (i < t->reservation_count && t->reservations[i].number != number)
		i++;
	return i;
}

static unsigned truth_site(const struct record *record)
{
	unsigned site = 0;

	while (site < STUDY && (record->site.size != strlen(SITE_NAMES[site]) || memcmp(record->site.bytes, SITE_NAMES[site], record->site.size) != 0))
		site++;
	return site;
}

static void truth_record(struct truth *t, const struct record *record)
{
	unsigned site = truth_site(record), i;

	switch (record->kind) {
	case RECORD_CHANGE:
		truth_line(t, site, record->by);
		break;
	case RECORD_RULES:
		t->rules[site].status = (enum count_status)record->status;
		t->rules[site].cap = record->cap;
		t->rules[site].changes++;
		t->rules[site].stamp_ns = record->stamp_ns;
		break;
	case RECORD_RESERVE:
		i = t->reservation_count++;
		cr_assert_leq(i, RESERVATIONS_MAX);
		t->reservations[i].number = record->reservation;
		t->reservations[i].expires_ms = record->expires_ms;
		t->reservations[i].amount = record->amount;
		t->reservations[i].site = site;
		truth_reserved(t, site, record->amount, record->stamp_ns);
		break;
	case RECORD_CONFIRM:
		truth_line(t, site, record->by);
		/* fall through */
	case RECORD_RELEASE:
	case RECORD_EXPIRE:
		i = truth_reservation(t, record->reservation);
		cr_assert_lt(i, t->reservation_count);
		truth_reserved(t, site, -t->reservations[i].amount, record->stamp_ns);
		t->reservations[i] = t->reservations[--t->reservation_count];
		break;
	case RECORD_REFUSE:
		break;
	default:
		cr_assert_fail();
	}
}

/* All streams, each up to `ends`, merged by stamp and stream: at every point nothing below zero, nothing raised above a cap or against a status. */
static void history_check(const struct cores *w, const unsigned ends[CORES_MAX], struct truth *t)
{
	unsigned at[CORES_MAX] = { 0 };

	truth_begin(t);
	for (;;) {
		unsigned next = w->streams;
		const struct record *record;
		unsigned site;
		int64_t more;

		for (unsigned i = 0; i < w->streams; i++) {
			if (at[i] < ends[i] && (next == w->streams || w->stream[i].entries[at[i]].record.stamp_ns < w->stream[next].entries[at[next]].record.stamp_ns))
				next = i;
		}
		if (next == w->streams)
			return;
		record = &w->stream[next].entries[at[next]++].record;
		site = truth_site(record);
		truth_record(t, record);
		more = enrolled(record->by);
		for (unsigned of = site;; of = STUDY) {
			const struct count_rules *rules = &t->rules[of];

			for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
				cr_assert_geq(t->n[of][kind], 0);
			cr_assert_geq(enrolled(t->n[of]), 0);
			cr_assert_geq(rules->reserved, 0);
			if (rules->cap != COUNT_NO_CAP && (record->kind == RECORD_RESERVE || (record->kind == RECORD_CHANGE && more > 0)))
				cr_assert_leq(enrolled(t->n[of]) + rules->reserved, rules->cap, "history of %u: over a cap", of);
			if (rules->cap != COUNT_NO_CAP && record->kind == RECORD_CONFIRM)
				cr_assert_leq(enrolled(t->n[of]), rules->cap);
			if (of == STUDY)
				break;
		}
		if (record->kind == RECORD_CHANGE) {
			cr_assert_neq(t->rules[site].status, COUNT_CLOSED);
			if (t->rules[site].status == COUNT_PAUSED)
				cr_assert(record->by[COUNT_SCREENED] <= 0 && record->by[COUNT_ENROLLED] <= 0);
		}
		if (record->kind == RECORD_CONFIRM || record->kind == RECORD_RESERVE)
			cr_assert_eq(t->rules[site].status, COUNT_RECRUITING);
	}
}

/* --- records -------------------------------------------------------------------------------------------------------------- */

static uint64_t stamp_now(struct cores *w, unsigned core)
{
	uint64_t now = w->clock_ns + w->skew_ns[core];
	const struct stream *s = &w->stream[core];

	if (now <= s->stamp_ns)
		now = s->stamp_ns + 1;
	return now <= s->saw_ns ? s->saw_ns + 1 : now;
}

static void saw(struct cores *w, unsigned core, uint64_t stamp_ns)
{
	if (stamp_ns > w->stream[core].saw_ns)
		w->stream[core].saw_ns = stamp_ns;
}

static void append(struct cores *w, unsigned core, unsigned site, const struct record *record, const struct effect *effect)
{
	struct stream *s = &w->stream[core];
	struct entry *e = &s->entries[s->count];

	cr_assert_lt(s->count, RECORDS_MAX);
	memset(e, 0, sizeof(*e));
	e->record = *record;
	e->record.actor = text_of("anonymous");
	if (site != STUDY) {
		e->record.site = text_of(SITE_NAMES[site]);
		memcpy(e->record.before, s->lines[site], sizeof(e->record.before));
		for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
			s->lines[site][kind] += record->by[kind];
	}
	e->record.sequence = ++s->count;
	e->record.stamp_ns = s->stamp_ns = stamp_now(w, core);
	if (effect != NULL) {
		e->effect = *effect;
		e->has_effect = true;
	}
	truth_record(&w->truth, &e->record);
}

static void append_effect(struct cores *w, const struct effect *effect, const struct request *request)
{
	static const enum record_kind KINDS[] = { RECORD_CHANGE, RECORD_RULES, RECORD_RESERVE, RECORD_CONFIRM, RECORD_RELEASE };
	struct record record = { .kind = effect->expired ? RECORD_EXPIRE : KINDS[effect->kind], .reservation = effect->reservation,
		.expires_ms = effect->expires_ms, .amount = effect->amount };

	memcpy(record.by, effect->by, sizeof(record.by));
	if (effect->kind == COMMAND_RULES) {
		record.status = effect->rules.status;
		record.status_before = effect->rules_before.status;
		record.cap = effect->rules.cap;
		record.cap_before = effect->rules_before.cap;
		record.rule_changes = (int64_t)effect->rules.changes;
	}
	if (request != NULL)
		record.key = text_of(request->key);
	append(w, 0, site_at(w, effect->site), &record, effect);
	if (request != NULL) {
		struct entry *e = &w->stream[0].entries[w->stream[0].count - 1];

		e->match = request->command.if_match;
		e->none = request->command.if_none_match;
	}
}

static bool named(const struct condition *condition, uint64_t revision)
{
	bool found = condition->any && revision > 0;

	for (unsigned i = 0; i < condition->revision_count; i++)
		found |= condition->revisions[i] == revision;
	return found;
}

/* If-Match and If-None-Match, each of which may not be given. */
static bool holds(const struct condition *match, const struct condition *none, uint64_t revision)
{
	return (!match->given || named(match, revision)) && (!none->given || !named(none, revision));
}

/* Up to `most` more records of a core become durable: published, in their order. */
static void commit(struct cores *w, unsigned core, unsigned most)
{
	struct stream *s = &w->stream[core];

	for (; most > 0 && s->durable < s->count; most--) {
		struct entry *e = &s->entries[s->durable++];

		if (e->match.given || e->none.given) {
			struct count_site found;

			count_look(w->table, number_of(w, truth_site(&e->record)), &found);
			cr_assert(holds(&e->match, &e->none, found.revision));
		}
		if (e->has_effect)
			decider_publish(w->decider, &e->effect, e->record.stamp_ns);
		else if (e->record.kind == RECORD_CHANGE)
			count_apply(w->table, core, w->site[truth_site(&e->record)], e->record.by, e->record.stamp_ns);
		if (e->record.key.size > 0) {
			const struct keys_result result = { e->record.outcome, e->record.reservation, e->record.expires_ms };
			struct keys_result answer;
			struct key *key;

			cr_assert_eq(keys_enter(w->keys, e->record.key, e->record.digest, e->record.stamp_ns / 1000000, &key, &answer), KEYS_NEW);
			keys_finish(w->keys, key, &result, e->record.stamp_ns / 1000000);
		}
	}
}

/* --- messages -------------------------------------------------------------------------------------------------------------- */

static void post(struct parcels *to, struct parcel parcel)
{
	cr_assert_lt(to->end - to->first, MESSAGES_MAX);
	to->list[to->end++ % MESSAGES_MAX] = parcel;
}

static void request_over(struct cores *w, struct request *request)
{
	request->over = true;
	w->open--;
}

/* Recorded by permits, and not published. */
static uint64_t under_way(const struct cores *w, unsigned site)
{
	uint64_t changes = 0;

	for (unsigned i = 0; i < w->streams; i++) {
		const struct stream *stream = &w->stream[i];

		for (unsigned k = stream->durable; k < stream->count; k++) {
			const struct entry *e = &stream->entries[k];

			changes += e->record.kind == RECORD_CHANGE && !e->has_effect && truth_site(&e->record) == site;
		}
	}
	return changes;
}

/* Is this refusal what the truth says, of everything that was recorded anywhere? */
static void refusal_check(const struct cores *w, const struct command *command, enum count_refusal refusal)
{
	const struct truth *t = &w->truth;
	const unsigned site = site_at(w, command->site);
	const struct count_rules *rules = &t->rules[site], *study = &t->rules[STUDY];
	const unsigned kept = truth_reservation(t, command->reservation);
	int64_t more = command->kind == COMMAND_CHANGE ? enrolled(command->by) : command->amount;
	bool below = enrolled(t->n[site]) + enrolled(command->by) < 0;

	switch (refusal) {
	case REFUSAL_SITE_CAP:
	case REFUSAL_STUDY_CAP:
		if (refusal == REFUSAL_STUDY_CAP)
			rules = study;
		cr_assert_neq(rules->cap, COUNT_NO_CAP);
		if (command->kind == COMMAND_CONFIRM)
			cr_assert_gt(enrolled(t->n[refusal == REFUSAL_SITE_CAP ? site : STUDY]) + t->reservations[kept].amount, rules->cap);
		else
			cr_assert_gt(enrolled(t->n[refusal == REFUSAL_SITE_CAP ? site : STUDY]) + rules->reserved + more, rules->cap);
		break;
	case REFUSAL_SITE_PAUSED:
		cr_assert_eq(rules->status, COUNT_PAUSED);
		cr_assert(command->kind != COMMAND_CHANGE || command->by[COUNT_SCREENED] > 0 || command->by[COUNT_ENROLLED] > 0);
		break;
	case REFUSAL_SITE_CLOSED:
		cr_assert_eq(rules->status, COUNT_CLOSED);
		break;
	case REFUSAL_BELOW_ZERO:
		for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
			below |= t->n[site][kind] + command->by[kind] < 0;
		cr_assert(below);
		break;
	case REFUSAL_RESERVATION_UNKNOWN:
		cr_assert(kept == t->reservation_count || t->reservations[kept].site != site ||
		          t->reservations[kept].expires_ms <= w->clock_ns / 1000000);
		break;
	case REFUSAL_SITE_CHANGED:
		/* What cores have under way by themselves nobody has seen yet: it is judged before that. */
		cr_assert_not(holds(&command->if_match, &command->if_none_match, t->changes[site] + rules->changes - under_way(w, site)));
		break;
	case REFUSAL_RESERVATIONS_FULL:
		cr_assert_eq(t->reservation_count, RESERVATIONS_MAX);
		break;
	default:
		cr_assert_fail("refusal %d", refusal);
	}
}

static void decide_request(struct cores *, struct request *);

static void recall(struct cores *w, struct request *request, unsigned of)
{
	struct request **end = &w->waiting[of];

	w->recalls++;
	for (unsigned core = 0; core < w->count; core++) {
		if (!decider_holds(w->decider, number_of(w, of), core) || w->asked[of][core])
			continue;
		w->asked[of][core] = true;
		w->missing[of]++;
		post(&w->down[core], (struct parcel){ .kind = PARCEL_RECALL, .core = core, .site = of, .stamp_ns = stamp_now(w, 0) });
	}
	cr_assert_gt(w->missing[of], 0, "a recall of what nobody holds never ends");
	while (*end != NULL)
		end = &(*end)->next;
	request->next = NULL;
	*end = request;
}

static void wait_for(struct cores *w, struct request *request, unsigned of)
{
	struct request **end = &w->waiting[of];

	while (*end != NULL)
		end = &(*end)->next;
	request->next = NULL;
	*end = request;
}

static void decide_request(struct cores *w, struct request *request)
{
	struct command *command = &request->command;
	const unsigned site = site_at(w, command->site);
	struct outcome outcome;

	if (w->patient && (w->missing[site] > 0 || w->missing[STUDY] > 0)) {
		wait_for(w, request, w->missing[site] > 0 ? site : STUDY);
		return;
	}
	switch (decider_decide(w->decider, command, request->asker, w->clock_ns / 1000000, &outcome)) {
	case RECALL_SITE:
		cr_assert_eq(++request->told_site, 1, "a site is recalled once for a command");
		recall(w, request, site);
		return;
	case RECALL_STUDY:
		cr_assert_eq(++request->told_study, 1, "the study is recalled once for a command");
		recall(w, request, STUDY);
		return;
	case ENTER_SITE:
		cr_assert_fail("this site is entered");
		return;
	case SYNC_SITE:
		cr_assert_fail("nothing is published here before it is durable");
		return;
	case DECIDED:
		break;
	}
	saw(w, 0, outcome.seen_ns);
	request_over(w, request);
	if (outcome.refusal != REFUSAL_NONE) {
		refusal_check(w, command, outcome.refusal);
		w->refused[outcome.refusal]++;
		if (request->key[0] != '\0')
			append(w, 0, site, &(struct record){ .kind = RECORD_REFUSE, .outcome = outcome.refusal, .key = text_of(request->key) }, NULL);
		return;
	}
	w->done[command->kind]++;
	if (outcome.grant_site != 0 || outcome.grant_study != 0) {
		w->grants++;
		post(&w->down[request->asker], (struct parcel){ .kind = PARCEL_GRANT, .core = request->asker, .site = site, .room = outcome.grant_site,
			.study_room = outcome.grant_study, .stamp_ns = stamp_now(w, 0) });
	}
	if (!outcome.effect.nothing)
		append_effect(w, &outcome.effect, request);
}

static void answer_if_durable(struct cores *w, unsigned core, unsigned of)
{
	struct holding *holding = &w->holding[core][of];

	if (!holding->is || w->stream[core].durable < holding->until)
		return;
	holding->is = false;
	post(&w->answers[core], (struct parcel){ .kind = PARCEL_ANSWER, .core = core, .site = of, .room = holding->room, .stamp_ns = stamp_now(w, core) });
}

static void deliver(struct cores *w, struct parcels *from)
{
	struct parcel parcel = from->list[from->first++ % MESSAGES_MAX];
	struct permits *permits = w->permits[parcel.core];
	struct request *waiting;

	switch (parcel.kind) {
	case PARCEL_COMMAND:
		saw(w, 0, parcel.stamp_ns);
		decide_request(w, parcel.request);
		break;
	case PARCEL_GRANT:
		saw(w, parcel.core, parcel.stamp_ns);
		if (parcel.room > 0)
			permits_grant(permits, number_of(w, parcel.site), parcel.room);
		if (parcel.study_room > 0)
			permits_grant(permits, COUNT_STUDY, parcel.study_room);
		break;
	case PARCEL_RECALL:
		saw(w, parcel.core, parcel.stamp_ns);
		cr_assert_not(w->holding[parcel.core][parcel.site].is);
		w->holding[parcel.core][parcel.site] = (struct holding){ true, w->stream[parcel.core].count, permits_recall(permits, number_of(w, parcel.site)) };
		answer_if_durable(w, parcel.core, parcel.site);
		break;
	case PARCEL_ANSWER:
		saw(w, 0, parcel.stamp_ns);
		w->asked[parcel.site][parcel.core] = false;
		decider_recalled(w->decider, number_of(w, parcel.site), parcel.core, parcel.room);
		if (--w->missing[parcel.site] > 0)
			break;
		waiting = w->waiting[parcel.site];
		w->waiting[parcel.site] = NULL;
		while (waiting != NULL) {
			struct request *next = waiting->next;

			decide_request(w, waiting);
			waiting = next;
		}
		break;
	}
}

/* --- what must hold after every step ------------------------------------------------------------------------------------------ */

/* What a core may still spend of a book, wherever it is just now: in its permit, on its way there, or on its way back. */
static __int128 unspent(const struct cores *w, unsigned core, unsigned of)
{
	const struct permits *p = w->permits[core];
	const struct permit *permit = of == STUDY ? &p->study : permit_find(p, w->site[of]);
	struct permit then = permit == NULL ? (struct permit){ 0 } : *permit; /* when all has arrived that is on its way there */
	const struct parcels *down = &w->down[core], *answers = &w->answers[core];
	__int128 left = 0;

	if (w->holding[core][of].is)
		left += w->holding[core][of].room;
	for (unsigned i = answers->first; i < answers->end; i++) {
		if (answers->list[i % MESSAGES_MAX].site == of)
			left += answers->list[i % MESSAGES_MAX].room;
	}
	for (unsigned i = down->first; i < down->end; i++) {
		const struct parcel *parcel = &down->list[i % MESSAGES_MAX];
		int64_t room = of == STUDY ? parcel->study_room : parcel->site == of ? parcel->room : 0;

		if (parcel->kind != PARCEL_GRANT || room == 0)
			continue;
		then.way = room == PERMIT_UNBOUNDED ? PERMIT_OPEN : PERMIT_ALLOTTED;
		then.room += room;
	}
	return left + permit_left(&then);
}

static void check_book(const struct cores *w, unsigned of)
{
	const struct book *book = book_find(w->decider, number_of(w, of));
	const struct truth *t = &w->truth;
	__int128 held = 0, left = 0;

	if (book == NULL)
		return;
	for (unsigned core = 0; core < w->count; core++) {
		left += unspent(w, core, of);
		held += book->held[core].way == WAY_UNBOUNDED ? PERMIT_UNBOUNDED : book->held[core].room;
	}
	cr_assert(enrolled(t->n[of]) + left == book->booked + held, "site %u", of);
	cr_assert_eq(t->rules[of].status, book->rules.status);
	cr_assert_eq(t->rules[of].cap, book->rules.cap);
	cr_assert_eq(t->rules[of].reserved, book->rules.reserved);
	cr_assert_eq(t->rules[of].changes, book->rules.changes);
	if (book->rules.cap != COUNT_NO_CAP)
		cr_assert(enrolled(t->n[of]) + left + book->rules.reserved + book_free(book) == book->rules.cap);
	/* Less than nothing is free only where the cap was set below what was there; then nobody holds anything. */
	if (book->rules.cap != COUNT_NO_CAP && book_free(book) < 0)
		cr_assert_eq(book->holders, 0);
	if (book->rules.status != COUNT_RECRUITING)
		cr_assert_eq(left, 0, "a site is closed for all cores when that is decided");
}

/* Readers see what is durable, all of it and nothing else. */
static void check_published(const struct cores *w)
{
	struct truth t;

	truth_begin(&t);
	for (unsigned i = 0; i < w->streams; i++) {
		for (unsigned k = 0; k < w->stream[i].durable; k++)
			truth_record(&t, &w->stream[i].entries[k].record);
	}
	for (unsigned of = 0; of <= STUDY; of++) {
		struct count_site found;

		count_look(w->table, number_of(w, of), &found);
		cr_assert_arr_eq(found.n, t.n[of], sizeof(found.n));
		cr_assert_eq(found.rules.status, t.rules[of].status);
		cr_assert_eq(found.rules.cap, t.rules[of].cap);
		cr_assert_eq(found.rules.reserved, t.rules[of].reserved);
		cr_assert_eq(found.rules.changes, t.rules[of].changes);
		cr_assert_eq(found.rules.stamp_ns, t.rules[of].stamp_ns);
		cr_assert_eq(found.revision, t.changes[of] + t.rules[of].changes);
	}
}

static void check_all(const struct cores *w)
{
	for (unsigned of = 0; of <= STUDY; of++)
		check_book(w, of);
	cr_assert_eq(decider_reservations(w->decider), w->truth.reservation_count);
}

/* --- building and rebuilding ---------------------------------------------------------------------------------------------------- */

static void tables_open(struct cores *w)
{
	w->table = count_new(w->streams, SITES, COUNT_SEED);
	cr_assert_not_null(w->table);
	w->decider = decider_new(w->table, w->count, RESERVATIONS_MAX);
	w->keys = keys_new(KEYS_MAX, UINT64_MAX, KEYS_SEED);
	for (unsigned i = 0; i < w->streams; i++)
		count_take(w->table, i);
}

static void tables_restored(struct cores *w)
{
	decider_restored(w->decider);
	for (unsigned site = 0; site < SITES; site++)
		cr_assert_eq(count_enter(w->table, SITE_NAMES[site], strlen(SITE_NAMES[site]), &w->site[site]), COUNT_OK);
	for (unsigned core = 0; core < w->count; core++)
		w->permits[core] = permits_new(w->decider);
	for (unsigned core = 0; core < w->streams; core++) {
		for (unsigned site = 0; site < SITES; site++)
			cr_assert_eq(count_reserve(w->table, core, w->site[site]), COUNT_OK);
	}
}

static void tables_close(struct cores *w)
{
	for (unsigned core = 0; core < w->count; core++)
		permits_free(w->permits[core]);
	for (unsigned i = 0; i < w->streams; i++)
		count_put(w->table, i);
	decider_free(w->decider);
	keys_free(w->keys);
	count_free(w->table);
}

static struct cores *cores_open(unsigned count, bool patient, uint64_t seed)
{
	struct cores *w = calloc(1, sizeof(*w));

	cr_assert_not_null(w);
	w->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	w->count = w->streams = count;
	w->patient = patient;
	w->clock_ns = UINT64_C(1000000000000);
	for (unsigned core = 0; core < count; core++)
		w->skew_ns[core] = draw(w, 50000000);
	w->requests = calloc(REQUESTS_MAX, sizeof(w->requests[0]));
	truth_begin(&w->truth);
	tables_open(w);
	tables_restored(w);
	return w;
}

static void cores_close(struct cores *w)
{
	tables_close(w);
	free(w->requests);
	free(w);
}

/* The process ends here: of each stream there is left what is durable, and perhaps some of what is not. Then the next one starts. */
static void crash(struct cores *w)
{
	unsigned ends[CORES_MAX];
	char fault[512] = "";
	struct replay *replay;

	w->crashes++;
	tables_close(w);
	for (unsigned i = 0; i < w->streams; i++) {
		struct stream *s = &w->stream[i];

		s->count = s->durable + (unsigned)draw(w, s->count - s->durable + 1);
		ends[i] = s->durable = s->count;
	}
	history_check(w, ends, &w->truth);
	tables_open(w);
	replay = replay_new(w->table, w->decider, w->keys, w->clock_ns / 1000000, w->streams);
	for (unsigned i = 0; i < w->streams; i++) {
		for (unsigned k = 0; k < ends[i]; k++)
			cr_assert(replay_record(replay, i, &w->stream[i].entries[k].record, fault, sizeof(fault)), "%s", fault);
	}
	cr_assert_eq(replay_end(replay, fault, sizeof(fault)), REPLAY_ADDS_UP, "%s", fault);
	replay_free(replay);
	tables_restored(w);
	memset(w->down, 0, sizeof(w->down));
	memset(w->commands, 0, sizeof(w->commands));
	memset(w->answers, 0, sizeof(w->answers));
	memset(w->holding, 0, sizeof(w->holding));
	memset(w->missing, 0, sizeof(w->missing));
	memset(w->asked, 0, sizeof(w->asked));
	memset(w->waiting, 0, sizeof(w->waiting));
	w->open = 0;
	for (unsigned i = 0; i < w->streams; i++) {
		struct stream *s = &w->stream[i];

		for (unsigned site = 0; site < SITES; site++) {
			struct line line;

			count_line(w->table, i, w->site[site], &line);
			memcpy(s->lines[site], line.n, sizeof(line.n));
		}
		/* Whoever starts has seen all there is. */
		for (unsigned k = 0; k < w->streams; k++)
			saw(w, k, s->count == 0 ? 0 : s->entries[s->count - 1].record.stamp_ns);
		s->stamp_ns = s->count == 0 ? 0 : s->entries[s->count - 1].record.stamp_ns;
	}
	check_published(w);
	check_all(w);
}

/* --- steps ------------------------------------------------------------------------------------------------------------------------ */

/* Most often a revision that is, sometimes one that is over or to come, and several. */
static void condition_draw(struct cores *w, struct condition *condition, uint64_t revision)
{
	condition->given = true;
	condition->any = draw(w, 12) == 0;
	for (uint64_t more = 1 + draw(w, 2); !condition->any && more > 0; more--) {
		const uint64_t one = revision + draw(w, 3);

		if (one > 1)
			condition->revisions[condition->revision_count++] = one - 1;
	}
}

static void request_draw(struct cores *w, struct command *command)
{
	const unsigned site = (unsigned)draw(w, SITES);
	const struct truth *t = &w->truth;
	unsigned at;

	command->site = w->site[site];
	switch (draw(w, 24)) {
	default:
		command->kind = COMMAND_CHANGE;
		command->by[draw(w, 3)] = 1;
		if (draw(w, 3) > 0)
			command->by[COUNT_ENROLLED] = 1 + (draw(w, 12) == 0 ? (int64_t)draw(w, 40) : 0);
		break;
	case 0: case 1: case 2:
		command->kind = COMMAND_CHANGE;
		command->by[draw(w, COUNT_KINDS)] = -1 - (int64_t)draw(w, 4);
		break;
	case 3:
		command->kind = COMMAND_CHANGE;
		command->by[COUNT_WITHDRAWN] = 1 + (int64_t)draw(w, draw(w, 3) == 0 ? 3 : (uint64_t)enrolled(t->n[site]) + 1);
		break;
	case 4:
		command->kind = COMMAND_CHANGE;
		for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
			command->by[kind] = (int64_t)draw(w, 5) - 2;
		break;
	case 5: case 6:
		command->kind = COMMAND_RULES;
		if (draw(w, 3) == 0)
			command->site = COUNT_STUDY;
		else if ((command->sets_status = draw(w, 2) == 0))
			command->status = (enum count_status)(draw(w, 2) == 0 ? COUNT_RECRUITING : draw(w, 3));
		if (command->site != COUNT_STUDY && draw(w, 3) == 0) {
			struct count_site found;

			/* A client knows what it could read. */
			count_look(w->table, command->site, &found);
			condition_draw(w, draw(w, 4) > 0 ? &command->if_match : &command->if_none_match, found.revision);
		} else if (command->site != COUNT_STUDY && draw(w, 8) == 0) {
			command->if_none_match = (struct condition){ .given = true, .any = true };
		}
		command->sets_cap = !command->sets_status || draw(w, 2) == 0;
		command->cap = draw(w, 5) == 0 ? COUNT_NO_CAP : enrolled(t->n[command->site == COUNT_STUDY ? STUDY : site]) + (int64_t)draw(w, 120) - 10;
		if (command->cap < COUNT_NO_CAP)
			command->cap = 0;
		break;
	case 7: case 8:
		command->kind = COMMAND_RESERVE;
		command->amount = 1 + (int64_t)draw(w, 5);
		command->reservation = ++w->reservation_number * UINT64_C(0x9E3779B97F4A7C15);
		command->expires_ms = w->clock_ns / 1000000 + draw(w, 200);
		break;
	case 9: case 10: case 11:
		command->kind = draw(w, 3) == 0 ? COMMAND_RELEASE : COMMAND_CONFIRM;
		command->reservation = 1 + draw(w, 5);
		if (t->reservation_count > 0 && draw(w, 10) > 0) {
			at = (unsigned)draw(w, t->reservation_count);
			command->reservation = t->reservations[at].number;
			command->site = w->site[t->reservations[at].site];
		}
		break;
	}
}

static void request_step(struct cores *w)
{
	struct request *request = &w->requests[w->request_count++];
	const unsigned core = (unsigned)draw(w, w->count);
	struct command *command = &request->command;
	bool keyed = draw(w, 8) == 0;

	request->asker = core;
	request_draw(w, command);
	w->open++;
	if (!keyed && command->kind == COMMAND_CHANGE && permits_take(w->permits[core], command->site, command->by)) {
		struct record record = { .kind = RECORD_CHANGE };

		memcpy(record.by, command->by, sizeof(record.by));
		append(w, core, site_at(w, command->site), &record, NULL);
		w->done[COMMAND_CHANGE]++;
		request_over(w, request);
		return;
	}
	if (keyed)
		snprintf(request->key, sizeof(request->key), "%u", w->request_count);
	else
		permits_ask(w->permits[core], command);
	if (core == 0)
		decide_request(w, request);
	else
		post(&w->commands[core], (struct parcel){ .kind = PARCEL_COMMAND, .core = core, .request = request, .stamp_ns = stamp_now(w, core) });
}

static bool deliver_step(struct cores *w)
{
	struct parcels *full[3 * CORES_MAX];
	unsigned count = 0;

	for (unsigned core = 0; core < w->count; core++) {
		struct parcels *all[] = { &w->down[core], &w->commands[core], &w->answers[core] };

		for (unsigned i = 0; i < 3; i++) {
			if (all[i]->first < all[i]->end)
				full[count++] = all[i];
		}
	}
	if (count == 0)
		return false;
	deliver(w, full[draw(w, count)]);
	return true;
}

static void commit_step(struct cores *w, unsigned core)
{
	commit(w, core, 1 + (unsigned)draw(w, 8));
	for (unsigned of = 0; of <= STUDY; of++)
		answer_if_durable(w, core, of);
}

static void expire_step(struct cores *w)
{
	struct effect effect;

	if (decider_expire(w->decider, w->clock_ns / 1000000, &effect))
		append_effect(w, &effect, NULL);
}

/* One step. `commits`: how often, in 100, it is records becoming durable; the less often, the more is under way. */
static void step(struct cores *w, unsigned commits)
{
	const uint64_t what = draw(w, 100);

	w->clock_ns += draw(w, 2000000);
	/* Core 0's disk is the slowest, so that others can act on what it has not written. */
	if (what < commits)
		commit_step(w, draw(w, 8) == 0 || w->count == 1 ? 0 : 1 + (unsigned)draw(w, w->count - 1));
	else if (what < commits + 2)
		expire_step(w);
	else if (what < 60 || !deliver_step(w))
		request_step(w);
	check_all(w);
}

/* No more requests: everything that is under way comes to its end. */
static void rest(struct cores *w)
{
	for (unsigned steps = 0; w->open > 0 || steps < 100; steps++) {
		cr_assert_lt(steps, 100000, "%u commands are never decided", w->open);
		while (deliver_step(w))
			check_all(w);
		commit_step(w, (unsigned)draw(w, w->count));
	}
	while (deliver_step(w))
		;
	for (unsigned core = 0; core < w->count; core++)
		commit(w, core, RECORDS_MAX);
	check_all(w);
	check_published(w);
}

#endif
