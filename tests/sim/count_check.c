/* See tests/sim/count_check.h. */
#include "tests/sim/count_check.h"

#include "ring/base.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIED_MAX 20000u
#define TABLE 65536u                     /* a power of two well above it */
#define TAKEN_WORDS (COUNT_HISTORY_MAX / 64 + 1)

/* ---- the model ---- */

void model_init(struct model *model)
{
	memset(model, 0, sizeof *model);
	model->study_cap = COUNT_NO_CAP;
	for (unsigned site = 0; site < COUNT_SITES; site++)
		model->sites[site].cap = COUNT_NO_CAP;
}

static int64_t count_of(const int64_t n[COUNT_KINDS])
{
	return n[COUNT_ENROLLED] - n[COUNT_WITHDRAWN];
}

int64_t model_count(const struct model *model, unsigned site)
{
	int64_t sum = 0;

	if (site != COUNT_ALL)
		return count_of(model->sites[site].n);
	for (unsigned i = 0; i < COUNT_SITES; i++)
		sum += count_of(model->sites[i].n);
	return sum;
}

int64_t model_reserved(const struct model *model, const struct token *tokens, unsigned site)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < COUNT_TOKENS; i++)
		if (model->reservations >> i & 1 && (site == COUNT_ALL || tokens[i].site == site))
			sum += tokens[i].amount;
	return sum;
}

static unsigned cause(int refusal)
{
	return 1u << refusal;
}

/* What forbids that count and reservations of a site together rise by so many. */
static unsigned room_causes(const struct model *model, const struct token *tokens, unsigned site, int64_t more)
{
	unsigned causes = 0;

	if (more <= 0)
		return 0;
	if (model->sites[site].cap != COUNT_NO_CAP &&
	    model_count(model, site) + model_reserved(model, tokens, site) + more > model->sites[site].cap)
		causes |= cause(REFUSAL_SITE_CAP);
	if (model->study_cap != COUNT_NO_CAP &&
	    model_count(model, COUNT_ALL) + model_reserved(model, tokens, COUNT_ALL) + more > model->study_cap)
		causes |= cause(REFUSAL_STUDY_CAP);
	return causes;
}

static unsigned status_causes(const struct model_site *site)
{
	return site->status == COUNT_CLOSED ? cause(REFUSAL_SITE_CLOSED) : site->status == COUNT_PAUSED ? cause(REFUSAL_SITE_PAUSED) : 0;
}

static unsigned change_causes(const struct model *model, const struct token *tokens, const struct call *call)
{
	const struct model_site *site = &model->sites[call->site];
	const int64_t more = count_of(call->by);
	unsigned causes = 0;

	if (site->status == COUNT_CLOSED || call->by[COUNT_SCREENED] > 0 || call->by[COUNT_ENROLLED] > 0)
		causes |= status_causes(site);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (call->by[kind] < 0 && site->n[kind] + call->by[kind] < 0)
			causes |= cause(REFUSAL_BELOW_ZERO);
	if (more < 0 && count_of(site->n) + more < 0)
		causes |= cause(REFUSAL_BELOW_ZERO);
	return causes | room_causes(model, tokens, call->site, more);
}

static bool holds(const struct model *model, const struct token *tokens, const struct call *call)
{
	return call->token != COUNT_NONE && model->reservations >> call->token & 1 && tokens[call->token].site == call->site;
}

static unsigned confirm_causes(const struct model *model, const struct token *tokens, const struct call *call)
{
	const struct model_site *site = &model->sites[call->site];
	int64_t amount;
	unsigned causes;

	if (!holds(model, tokens, call))
		return cause(REFUSAL_RESERVATION_UNKNOWN);
	amount = tokens[call->token].amount;
	causes = status_causes(site);
	/* Its place is kept for it; but a cap may have been set below what there is. */
	if (site->cap != COUNT_NO_CAP && count_of(site->n) + amount > site->cap)
		causes |= cause(REFUSAL_SITE_CAP);
	if (model->study_cap != COUNT_NO_CAP && model_count(model, COUNT_ALL) + amount > model->study_cap)
		causes |= cause(REFUSAL_STUDY_CAP);
	return causes;
}

static bool meets(const struct model_site *site, uint64_t revision)
{
	return revision == 0 ? site->revision > 0 : site->revision == revision;
}

static unsigned causes_of(const struct model *model, const struct rules_of_run *rules, const struct call *call)
{
	const struct model_site *site = call->site == COUNT_ALL ? NULL : &model->sites[call->site];

	switch (call->kind) {
	case CALL_CHANGE:
		return change_causes(model, rules->tokens, call);
	case CALL_RULES:
		if ((call->if_match && !meets(site, call->match_revision)) || (call->if_none_match && meets(site, call->none_revision)))
			return cause(REFUSAL_SITE_CHANGED);
		return 0;
	case CALL_RESERVE:
		return status_causes(site) | room_causes(model, rules->tokens, call->site, rules->tokens[call->token].amount) |
		       ((unsigned)__builtin_popcountll(model->reservations) >= rules->reservations_max ? cause(REFUSAL_RESERVATIONS_FULL) : 0);
	case CALL_CONFIRM:
		return confirm_causes(model, rules->tokens, call);
	case CALL_RELEASE:
	case CALL_EXPIRE:
		return holds(model, rules->tokens, call) ? 0 : cause(REFUSAL_RESERVATION_UNKNOWN);
	default:
		return 0;
	}
}

static void rules_done(struct model *model, const struct call *call)
{
	struct model_site *site;

	if (call->site == COUNT_ALL) {
		if (call->sets_cap)
			model->study_cap = call->cap;
		model->study_ruled = 1;
		return;
	}
	site = &model->sites[call->site];
	/* To say what stands already changes nothing, unless it is the first that is said of a site. */
	if (!(call->sets_status || call->sets_cap) ||
	    (site->ruled && (!call->sets_status || call->status == site->status) && (!call->sets_cap || call->cap == site->cap)))
		return;
	site->status = call->sets_status ? call->status : site->status;
	site->cap = call->sets_cap ? call->cap : site->cap;
	site->ruled = 1;
	site->revision++;
}

static void done(struct model *model, const struct token *tokens, const struct call *call)
{
	struct model_site *site = call->site == COUNT_ALL ? NULL : &model->sites[call->site];

	switch (call->kind) {
	case CALL_CHANGE:
		for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
			site->n[kind] += call->by[kind];
		site->revision++;
		break;
	case CALL_RULES:
		rules_done(model, call);
		break;
	case CALL_RESERVE:
		model->reservations |= 1ull << call->token;
		site->ruled = 1;
		site->revision++;
		break;
	case CALL_CONFIRM:
		site->n[COUNT_ENROLLED] += tokens[call->token].amount;
		site->revision++;
		/* fall through */
	case CALL_RELEASE:
	case CALL_EXPIRE:
		model->reservations &= ~(1ull << call->token);
		site->revision++;
		break;
	case CALL_LOOK:
	case CALL_WHOLE:
		break;
	}
}

static bool looks_so(const struct model *model, const struct token *tokens, const struct call *call)
{
	const struct seen *seen = &call->seen;
	const bool study = call->site == COUNT_ALL;
	int64_t n[COUNT_KINDS] = { 0 };

	for (unsigned site = 0; site < COUNT_SITES; site++)
		for (unsigned kind = 0; kind < COUNT_KINDS && (study || site == call->site); kind++)
			n[kind] += model->sites[site].n[kind];
	if (memcmp(n, seen->n, sizeof n) != 0 || seen->count != count_of(n) || seen->reserved != model_reserved(model, tokens, call->site))
		return false;
	if (study)
		return seen->cap == model->study_cap;
	return seen->cap == model->sites[call->site].cap && seen->status == model->sites[call->site].status &&
	       seen->revision == model->sites[call->site].revision;
}

/* Exactly one founds a site. Of a raise that others have under way the decider may not know yet. */
static bool founds_wrongly(const struct model *model, const struct call *call)
{
	if (!call->founds_known || call->site == COUNT_ALL)
		return false;
	return call->founds ? model->sites[call->site].ruled || call->site_known : model->sites[call->site].revision == 0;
}

/* The first with its key does it; all others hear what it was told. */
static bool keyed_step(struct model *model, const struct rules_of_run *rules, const struct call *call)
{
	const struct key_answer *answer = &rules->keys[call->key];
	const uint64_t bit = 1ull << call->key;
	unsigned causes;

	if (model->keys & bit)
		return call->answer != CALL_LOST && !(call->founds_known && call->founds);
	causes = call->late ? 0 : causes_of(model, rules, call);
	if (answer->known && answer->refusal != REFUSAL_NONE) {
		if (!(causes & cause(answer->refusal)) && !call->lax)
			return false;
		causes |= cause(answer->refusal);
	} else if (answer->known && (causes || (call->kind == CALL_RESERVE && answer->token != call->token))) {
		return false;
	}
	if (!causes && founds_wrongly(model, call))
		return false;
	model->keys |= bit;
	if (!causes)
		done(model, rules->tokens, call);
	return true;
}

bool model_step(struct model *model, const struct rules_of_run *rules, const struct call *call)
{
	static const unsigned spent = 1u << REFUSAL_SITE_CAP | 1u << REFUSAL_STUDY_CAP | 1u << REFUSAL_BELOW_ZERO | 1u << REFUSAL_RESERVATIONS_FULL |
	                              1u << REFUSAL_RESERVATION_UNKNOWN | 1u << REFUSAL_SITE_CHANGED;

	if (call->kind == CALL_LOOK)
		return looks_so(model, rules->tokens, call);
	if (call->kind == CALL_WHOLE)
		return memcmp(model, &call->whole, sizeof *model) == 0;
	if (call->answer == CALL_REFUSED && call->refusal == REFUSAL_SITE_NEW)
		return call->site != COUNT_ALL && model->sites[call->site].revision == 0;
	if (call->key != COUNT_NONE)
		return keyed_step(model, rules, call);

	const unsigned causes = call->late ? 0 : causes_of(model, rules, call);

	if (call->answer == CALL_REFUSED && call->refusal == REFUSAL_SITES_FULL)
		return (!causes || call->lax) && model->sites[call->site].revision == 0;
	if (call->answer == CALL_REFUSED)
		return causes & cause(call->refusal) || (call->lax && spent & cause(call->refusal));
	if (causes)
		return false;
	if (founds_wrongly(model, call))
		return false;
	done(model, rules->tokens, call);
	return true;
}

/* ---- the search ---- */

struct taken {
	uint64_t words[TAKEN_WORDS];
};

struct search {
	const struct rules_of_run *rules;
	struct call **calls;             /* by their beginnings */
	unsigned count;
	unsigned *ends;                  /* calls that must have had their moment, by their ends */
	unsigned end_count;
	uint64_t *tried;                 /* a table of hashes, open, a power of two; 0: free */
	uint64_t tried_count;
	unsigned furthest;
	bool undecided;
};

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
	return hash ^ hash >> 29;
}

/* False: it was here before. */
static bool is_new(struct search *search, unsigned at, const struct model *model, const struct taken *taken)
{
	uint64_t hash = mix(0x243F6A8885A308D3u, at + 1), words[sizeof *model / 8];
	size_t place;

	memcpy(words, model, sizeof words);
	for (size_t i = 0; i < array_count(words); i++)
		hash = mix(hash, words[i]);
	for (size_t i = 0; i < TAKEN_WORDS; i++)
		hash = mix(hash, taken->words[i]);
	hash |= 1;
	for (place = (size_t)(hash >> 20) % TABLE; search->tried[place]; place = (place + 1) % TABLE)
		if (search->tried[place] == hash)
			return false;
	search->tried[place] = hash;
	search->undecided |= ++search->tried_count >= TRIED_MAX;
	return true;
}

static bool is_taken(const struct taken *taken, unsigned i)
{
	return taken->words[i / 64] >> i % 64 & 1;
}

static void take(struct taken *taken, unsigned i)
{
	taken->words[i / 64] |= 1ull << i % 64;
}

static bool changes_nothing(const struct call *call)
{
	return call->kind == CALL_LOOK || call->kind == CALL_WHOLE || (call->answer == CALL_REFUSED && call->key == COUNT_NONE);
}

static bool search_on(struct search *search, unsigned at, struct model model, struct taken taken);

/* Tries those that could come next; the one that must comes first. */
static bool branch(struct search *search, unsigned at, const struct model *model, const struct taken *taken)
{
	const unsigned must = search->ends[at];
	const uint64_t end = search->calls[must]->ended;

	for (unsigned k = 0; k <= search->count; k++) {
		const unsigned i = k == 0 ? must : k - 1;
		struct model after = *model;
		struct taken with = *taken;

		if (k > 0 && (i == must || is_taken(taken, i)))
			continue;
		if (search->calls[i]->begun > end)
			break;
		if (changes_nothing(search->calls[i]) || !model_step(&after, search->rules, search->calls[i]))
			continue;
		/* Done, and nothing changed: later it may, so that is a branch too; lost and nothing changed is none. */
		if (search->calls[i]->answer == CALL_LOST && memcmp(&after, model, sizeof after) == 0)
			continue;
		take(&with, i);
		if (search_on(search, at, after, with))
			return true;
	}
	return false;
}

/* True: there are moments for all, or nobody can say. */
static bool search_on(struct search *search, unsigned at, struct model model, struct taken taken)
{
	for (bool settled = true; settled && !search->undecided;) {
		settled = false;
		while (at < search->end_count && is_taken(&taken, search->ends[at]))
			at++;
		if (at == search->end_count)
			return true;
		for (unsigned i = 0; i < search->count && search->calls[i]->begun <= search->calls[search->ends[at]]->ended; i++) {
			if (is_taken(&taken, i) || !changes_nothing(search->calls[i]) || !model_step(&model, search->rules, search->calls[i]))
				continue;
			take(&taken, i);
			settled = true;
		}
	}
	if (at > search->furthest)
		search->furthest = at;
	if (search->undecided)
		return true;
	return is_new(search, at, &model, &taken) && branch(search, at, &model, &taken);
}

static int by_begin(const void *a, const void *b)
{
	const struct call *x = *(struct call *const *)a, *y = *(struct call *const *)b;

	return x->begun < y->begun ? -1 : x->begun > y->begun;
}

static void ends_sort(struct search *search)
{
	for (unsigned i = 0; i < search->count; i++) {
		unsigned place = search->end_count;

		if (search->calls[i]->answer == CALL_LOST)
			continue;
		for (; place > 0 && search->calls[search->ends[place - 1]]->ended > search->calls[i]->ended; place--)
			search->ends[place] = search->ends[place - 1];
		search->ends[place] = i;
		search->end_count++;
	}
}

enum history_found history_check(const struct model *start, const struct rules_of_run *rules, struct call **calls, unsigned count,
	const struct call **bad, uint64_t *tried)
{
	struct search search = { .rules = rules, .calls = calls, .count = count };
	bool good;

	check(count <= COUNT_HISTORY_MAX);
	qsort(calls, count, sizeof *calls, by_begin);
	search.ends = calloc(count + 1, sizeof *search.ends);
	search.tried = calloc(TABLE, sizeof *search.tried);
	check(search.ends && search.tried);
	ends_sort(&search);
	good = search_on(&search, 0, *start, (struct taken){ { 0 } });
	*bad = good || search.end_count == 0 ? NULL : calls[search.ends[search.furthest]];
	*tried = search.tried_count;
	free(search.ends);
	free(search.tried);
	return search.undecided ? HISTORY_UNDECIDED : good ? HISTORY_GOOD : HISTORY_BAD;
}

/* ---- words ---- */

void call_write(char *text, size_t size, const struct call *call)
{
	static const char *const kinds[] = { "change", "rules", "reserve", "confirm", "release", "expire", "look", "whole" };
	static const char *const answers[] = { "lost", "done", "refused", "never" };
	const int64_t *n = call->kind == CALL_LOOK ? call->seen.n : call->by;

	snprintf(text, size, "call %u [%" PRIu64 ", %" PRIu64 "] %s site %u (%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 ") status %d cap %" PRId64
		" match %d token %d key %d: %s %d; seen revision %" PRIu64 " reserved %" PRId64 " status %" PRIu64 " cap %" PRId64, call->number, call->begun,
		call->ended == UINT64_MAX ? 0 : call->ended, kinds[call->kind], call->site, n[0], n[1], n[2], n[3], call->sets_status ? (int)call->status : -1,
		call->sets_cap ? call->cap : -2, call->if_match ? (int)call->match_revision : call->if_none_match ? -1 - (int)call->none_revision : -1000, call->token, call->key,
		answers[call->answer], call->refusal, call->seen.revision, call->seen.reserved, call->seen.status, call->seen.cap);
}

void model_write(char *text, size_t size, const struct model *model)
{
	size_t n = (size_t)snprintf(text, size, "study cap %" PRId64 ", reservations %" PRIx64 ", keys %" PRIx64, model->study_cap, model->reservations,
		model->keys);

	for (unsigned i = 0; i < COUNT_SITES && n < size; i++) {
		const struct model_site *site = &model->sites[i];

		n += (size_t)snprintf(text + n, size - n, "; %u: %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " cap %" PRId64 " status %" PRIu64 " revision %"
			PRIu64 " ruled %" PRIu64, i, site->n[0], site->n[1], site->n[2], site->n[3], site->cap, site->status, site->revision, site->ruled);
	}
}
