/* tests/sim/count.c — the whole count by seed: one to four cores, scripted clients on each, a rude disk, several lives.
 *
 *   a life: recovery ─▶ clients ask and look, by dice, at few sites with small caps ─▶ a drain, a stop, its deadline, a kill, a power cut
 *
 * Everything but HTTP is the program's own: gateway/counting/, gateway/journal/, cache/, the worker and its drain. A client does what serve/count.c and
 * serve/sites.c do: an exchange, change_begin, change_done, change_end; sometimes it goes away in the middle.
 *
 * What must hold, looked at when the next life has read what the last one left:
 *   - the calls of a life, and what was found after it, have each a moment (count_check.h)
 *   - a call that was acknowledged has one record, one that was refused has none, and no key is answered twice or in two ways
 *   - the journal as an auditor reads it (count_audit.h) is never over a cap nor below zero, and recovery makes the same of it
 *   - after an end in order that is what the last life showed to its readers
 *   - a drain ends by itself; nobody is told that it is late; nothing is left over
 * In the weaker modes of durability a power cut may take what was acknowledged, but not what makes room: rules, and what frees some under a cap. What
 * is left adds up all the same, and nothing has to be made good. */
#include "gateway/counting/change_inside.h"
#include "gateway/counting/refusal.h"
#include "gateway/gateway.h"
#include "gateway/journal/state.h"
#include "gateway/verdict.h"
#include "tests/sim/count_audit.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

#include <psa/postern_driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MOST 10u
#define LIVES_MOST 3u
#define CALLS_MOST (LIVES_MOST * COUNT_HISTORY_MAX)
#define CALLS_OF_CLIENTS 150u            /* of a life; the rest of a history is what runs out, and what is found afterwards */
#define LONG_DRAIN_MS 60000u
#define GOODBYE_ROUNDS 6u                /* as in gateway/run.c */
#define PLACES_MOST (2 * CALLS_MOST + 16)

/* Of a run: with caps, much is lowered and raised again just below them; without, just above zero; or what is allowed changes all the time, and
 * little by little all of it is used. */
enum mood { MOOD_ANY, MOOD_HIGH, MOOD_LOW, MOOD_RULES };

enum ending { END_DRAIN, END_AT_ONCE, END_DEADLINE, END_KILLED, END_POWER_CUT };

struct counts;

struct client {
	struct counts *all;
	struct worker *worker;
	struct scope scope;
	struct task task;
	struct timer timer;
	struct exchange *exchange;       /* NULL: it asks nothing just now */
	struct change *change;
	struct command command;
	struct call *call;
	int64_t capped_since[2];         /* how often rules of its site, and of the study, had changed when it asked; COUNT_NONE: there was no cap */
	bool leaves;
	unsigned left;                   /* calls that it will still make */
	unsigned rest_ms;
};

struct stop {
	struct counts *all;
	struct scope scope;
	struct task task;
	struct timer timer;
	unsigned told;
};

struct counts {
	struct sim *sim;
	struct disk *disk, *next;        /* next: what the life's end has left */
	struct gateway gateway;
	struct config config;
	struct postern_driver *drivers[WORLD_CORES_MAX];
	struct client clients[CLIENTS_MOST];
	unsigned client_count;
	struct stop stop;
	struct actor end, room;
	bool core_over[WORLD_CORES_MAX]; /* its journal is closed */

	/* Of the run. */
	enum mood mood;
	unsigned site_count;
	struct call calls[CALLS_MOST + LIVES_MOST * (COUNT_TOKENS + 1)];
	unsigned call_count;
	struct token tokens[COUNT_TOKENS];
	unsigned token_count;
	struct key_answer keys[COUNT_KEYS];
	unsigned key_first[COUNT_KEYS], key_count;
	uint64_t places, place_ms[PLACES_MOST]; /* events in their order, and when each was */
	uint64_t looked[COUNT_SITES];    /* the latest revision that anybody saw */

	/* Of the life. */
	enum config_durability was;      /* of the life before */
	unsigned first_call;
	unsigned budget;
	struct model start, live;
	uint64_t stream_ends[AUDIT_STREAMS_MAX];
	enum ending ending;
	bool cuts_between;
	bool ended;                      /* killed, or cut: what happens now has not happened */
	bool scarce;                     /* the disk was full at times */
	bool faulty;                     /* the disk says EIO at times */
	bool in_order;                   /* … and whole: what readers saw last is what must be found */
};

static struct dice *dice_of(struct counts *w)
{
	return &w->sim->world.dice;
}

static uint64_t wall_ms(struct counts *w)
{
	return kernel_wall_ns(w->gateway.workers[0]->core.kernel) / 1000000;
}

static uint64_t place_next(struct counts *w)
{
	check(w->places + 1 < PLACES_MOST);
	w->place_ms[++w->places] = wall_ms(w);
	return w->places;
}

/* ---- calls ---- */

static struct call *call_new(struct counts *w)
{
	struct call *call = &w->calls[w->call_count];

	check(w->call_count < array_count(w->calls));
	*call = (struct call){
		.number = w->call_count++, .begun = place_next(w), .ended = UINT64_MAX, .token = COUNT_NONE, .key = COUNT_NONE, .asked_key = COUNT_NONE,
		.cap = COUNT_NO_CAP,
	};
	call->variant = call->number;
	return call;
}

static void call_trace(struct counts *w, const struct call *call, const char *what)
{
	char text[400];

	if (!w->sim->world.trace)
		return;
	call_write(text, sizeof text, call);
	world_trace(&w->sim->world, "%s: %s", what, text);
}

static int64_t cap_roll(struct dice *dice)
{
	return dice_chance(dice, 25) ? COUNT_NO_CAP : (int64_t)dice_scaled(dice, 0, 300);
}

static void change_roll(struct counts *w, struct call *call)
{
	struct dice *dice = dice_of(w);
	const unsigned kind = dice_chance(dice, w->mood ? 95 : 70) ? COUNT_ENROLLED : (unsigned)dice_below(dice, 3);

	call->kind = CALL_CHANGE;
	if (w->mood == MOOD_HIGH && dice_chance(dice, 35)) {
		call->by[COUNT_ENROLLED] = dice_chance(dice, 75) ? -(int64_t)dice_between(dice, 20, 60) : (int64_t)dice_between(dice, 10, 60);
		return;
	}
	if (w->mood == MOOD_RULES && dice_chance(dice, 80)) {
		call->by[COUNT_ENROLLED] = (int64_t)dice_between(dice, 1, 6);
		return;
	}
	if (w->mood == MOOD_LOW && dice_chance(dice, 80)) {
		call->by[COUNT_ENROLLED] = (int64_t)dice_between(dice, 1, 15) * (dice_chance(dice, 55) ? -1 : 1);
		return;
	}
	switch (dice_below(dice, 10)) {
	case 0: case 1:
		call->by[kind] = -(int64_t)dice_scaled(dice, 1, 20);
		break;
	case 2:
		call->by[COUNT_WITHDRAWN] = (int64_t)dice_scaled(dice, 1, 10) * (dice_chance(dice, 75) ? 1 : -1);
		break;
	default:
		call->by[kind] = (int64_t)dice_scaled(dice, 1, 40);
		break;
	}
}

static void rules_roll(struct counts *w, struct call *call)
{
	struct dice *dice = dice_of(w);

	call->kind = CALL_RULES;
	if (w->mood == MOOD_HIGH && dice_chance(dice, 80)) {
		call->sets_cap = true;
		call->cap = (int64_t)dice_between(dice, 40, 150);
		return;
	}
	if (w->mood == MOOD_RULES && dice_chance(dice, 80)) {
		call->sets_status = dice_chance(dice, 50);
		call->sets_cap = !call->sets_status;
		call->status = dice_chance(dice, 60) ? COUNT_RECRUITING : COUNT_PAUSED;
		call->cap = call->sets_cap && dice_chance(dice, 60) ? (int64_t)dice_scaled(dice, 1, 600) : COUNT_NO_CAP;
		return;
	}
	if (dice_chance(dice, 30)) {
		call->site = COUNT_ALL;
		call->sets_cap = true;
		call->cap = dice_chance(dice, 40) ? COUNT_NO_CAP : (int64_t)dice_scaled(dice, 0, 600);
		return;
	}
	call->sets_status = dice_chance(dice, 50);
	call->sets_cap = !call->sets_status || dice_chance(dice, 50);
	call->status = dice_chance(dice, 65) ? COUNT_RECRUITING : dice_chance(dice, 60) ? COUNT_PAUSED : COUNT_CLOSED;
	call->cap = call->sets_cap ? cap_roll(dice) : COUNT_NO_CAP;
	call->if_match = dice_chance(dice, 15);
	call->if_none_match = dice_chance(dice, 8);
	/* Of a site that never changed no client can name a revision: 0 stands for "any". */
	if (call->if_match && dice_chance(dice, 80))
		call->match_revision = w->looked[call->site] + (dice_chance(dice, 10) ? dice_below(dice, 4) : 0);
	if (call->if_none_match && dice_chance(dice, 40))
		call->none_revision = w->looked[call->site];
}

static void reserve_roll(struct counts *w, struct call *call)
{
	struct dice *dice = dice_of(w);

	call->kind = CALL_RESERVE;
	call->token = (int)w->token_count++;
	w->tokens[call->token] = (struct token){
		.number = dice_next(dice) | 1, .site = call->site, .amount = (int64_t)dice_scaled(dice, 1, 20),
		.expires_ms = wall_ms(w) + (dice_chance(dice, 60) ? dice_scaled(dice, 1, 2000) : 3600000),
	};
}

static void reserved_roll(struct counts *w, struct call *call)
{
	struct dice *dice = dice_of(w);

	call->kind = dice_chance(dice, 60) ? CALL_CONFIRM : CALL_RELEASE;
	if (w->token_count == 0 || dice_chance(dice, 5))
		return;
	call->token = (int)dice_below(dice, w->token_count);
	if (dice_chance(dice, 95))
		call->site = w->tokens[call->token].site;
}

/* The same request again, or another one with the same key. */
static void key_roll(struct counts *w, struct call *call)
{
	struct dice *dice = dice_of(w);
	const struct call *first;

	if (w->key_count < COUNT_KEYS && (w->key_count == 0 || dice_chance(dice, 50))) {
		call->key = (int)w->key_count++;
		w->key_first[call->key] = call->number;
		return;
	}
	call->key = (int)(dice_chance(dice, 70) ? w->key_count - 1 - dice_below(dice, w->key_count < 4 ? w->key_count : 4) : dice_below(dice, w->key_count));
	first = &w->calls[w->key_first[call->key]];
	if (dice_chance(dice, 15))
		return;
	call->kind = first->kind;
	call->site = first->site;
	memcpy(call->by, first->by, sizeof call->by);
	call->variant = first->variant;
	call->sets_status = first->sets_status;
	call->sets_cap = first->sets_cap;
	call->status = first->status;
	call->cap = first->cap;
	call->if_match = first->if_match;
	call->if_none_match = first->if_none_match;
	call->match_revision = first->match_revision;
	call->none_revision = first->none_revision;
	if (first->kind != CALL_RESERVE) {
		call->token = first->token;
		return;
	}
	/* Every request to reserve brings a number of its own; the first one's is the answer. */
	call->token = (int)w->token_count++;
	w->tokens[call->token] = w->tokens[first->token];
	w->tokens[call->token].number = dice_next(dice) | 1;
	w->tokens[call->token].expires_ms = wall_ms(w) + 1000;
}

static void call_roll(struct counts *w, struct call *call)
{
	struct dice *dice = dice_of(w);
	uint64_t which = dice_below(dice, 100);

	if (w->mood == MOOD_RULES && which < 95)
		which = which < 80 ? 0 : 70;
	call->site = (unsigned)dice_below(dice, w->site_count);
	if (which < 66)
		change_roll(w, call);
	else if (which < 78 && (w->mood != MOOD_LOW || dice_chance(dice, 10)))
		rules_roll(w, call);
	else if (which < 89 && w->token_count < COUNT_TOKENS - 1)
		reserve_roll(w, call);
	else
		reserved_roll(w, call);
	if (w->token_count < COUNT_TOKENS - 1 && dice_chance(dice, 25))
		key_roll(w, call);
}

static struct condition condition_of(bool given, uint64_t revision)
{
	return (struct condition){ .given = given, .any = revision == 0, .revision_count = revision > 0, .revisions = { revision } };
}

static void command_make(const struct counts *w, const struct call *call, struct command *command)
{
	static const enum command_kind kinds[] = { COMMAND_CHANGE, COMMAND_RULES, COMMAND_RESERVE, COMMAND_CONFIRM, COMMAND_RELEASE };
	const struct token *token = call->token == COUNT_NONE ? NULL : &w->tokens[call->token];

	*command = (struct command){
		.kind = kinds[call->kind],
		.by = { call->by[0], call->by[1], call->by[2], call->by[3] },
		.sets_status = call->sets_status, .sets_cap = call->sets_cap, .status = (enum count_status)call->status, .cap = call->cap,
		.if_match = condition_of(call->if_match, call->match_revision),
		.if_none_match = condition_of(call->if_none_match, call->none_revision),
		.amount = token ? token->amount : 0, .reservation = token ? token->number : 77, .expires_ms = token ? token->expires_ms : 0,
	};
}

/* ---- answers ---- */

static bool another_variant(const struct counts *w, const struct call *call)
{
	for (unsigned i = 0; i < w->call_count; i++)
		if (&w->calls[i] != call && w->calls[i].asked_key == call->asked_key && w->calls[i].variant != call->variant)
			return true;
	return false;
}

/* A refusal by name, of what is no rule of counts. False: there was no reason for it. */
static bool refusal_is_due(const struct client *client, const struct call *call, const struct reason *reason)
{
	struct counts *w = client->all;

	if (reason == &CHANGES_FULL)
		return !client->change && client->worker->counting->under_way >= w->config.limits.changes_max;
	if (reason == &IDEMPOTENCY_KEY_REUSED)
		return call->asked_key != COUNT_NONE && another_variant(w, call);
	if (reason == &IDEMPOTENCY_KEYS_FULL)
		return w->key_count > w->config.limits.idempotency_keys_max;
	if (reason == &COUNTING_ENDS)
		return atomic_load(&w->gateway.draining);
	if (reason == &COUNTING_LATE)
		return w->scarce || w->faulty;
	if (reason == &JOURNAL_FULL)
		return w->scarce;
	return reason == &JOURNAL_FAILED && w->faulty;
}

static int refusal_of(const struct reason *reason)
{
	if (reason == site_reason(COUNT_SITES_SPENT))
		return REFUSAL_SITES_FULL;
	if (reason == &SITE_UNKNOWN)
		return REFUSAL_SITE_NEW;
	for (int i = REFUSAL_SITE_CAP; i <= REFUSAL_RESERVATIONS_FULL; i++)
		if (refusal_reason((enum count_refusal)i) == reason)
			return i;
	return REFUSAL_NONE;
}

/* What a key was answered is answered each time. */
static void key_judge(struct counts *w, const struct call *call, int token)
{
	struct key_answer *known = &w->keys[call->key];

	if (known->known && (known->refusal != call->refusal || known->token != token))
		world_fail(&w->sim->world, "key %d was answered %d, reservation %d, and now %d, reservation %d", call->key, known->refusal, known->token,
			call->refusal, token);
	*known = (struct key_answer){ .known = true, .refusal = call->refusal, .token = token };
}

static int token_by_number(const struct counts *w, uint64_t number)
{
	for (unsigned i = 0; i < w->token_count; i++)
		if (w->tokens[i].number == number)
			return (int)i;
	return COUNT_NONE;
}

static void look(struct counts *, unsigned site, struct seen *);

static void sites_full_judge(struct counts *w, const struct call *call)
{
	struct count_stats stats;

	count_stats(w->gateway.count, &stats);
	if (stats.sites < w->config.limits.sites_max)
		world_fail(&w->sim->world, "call %u is told that there are too many sites, and there are %u", call->number, stats.sites);
}

/* A good moment for it: one stream has more on the disk than another that is not as far. */
static void cut_between(struct client *client, const struct call *call)
{
	struct counts *w = client->all;
	const struct journal *decides = w->gateway.workers[0]->counting->journal;

	struct seen seen;

	if (!w->cuts_between || call->kind != CALL_CHANGE || call->answer != CALL_DONE || client->worker->core.index == 0 || !decides ||
	    journal_appended(decides) == journal_settled(decides))
		return;
	/* The best of all: what it rests on would be gone. */
	look(w, call->site, &seen);
	if (dice_chance(dice_of(w), seen.cap != COUNT_NO_CAP && seen.count + seen.reserved > seen.cap ? 80 : 3))
		actor_in(&w->end, 1);
}

/* The cap of this site, or of the study, by the number of its rules' changes; COUNT_NONE: there is none. */
static int64_t capped(const struct counts *w, unsigned site)
{
	const struct count *count = w->gateway.count;
	const char id[2] = { (char)('a' + site), '\0' };
	uint32_t number = COUNT_STUDY;
	struct count_site found;

	if (site != COUNT_ALL && count_find(count, id, 1, &number) != COUNT_OK)
		return COUNT_NONE;
	count_look(count, number, &found);
	return found.rules.cap == COUNT_NO_CAP ? COUNT_NONE : (int64_t)found.rules.changes;
}

/* What is decided before a change is shown before it, so a cap that stood when it was asked for, and stands unchanged now, stood when it was decided.
 * Without a record of its own it is a repetition, or there was nothing to change. */
static bool is_kept(const struct client *client, const struct call *call)
{
	const struct counts *w = client->all;
	const struct record *record = &client->change->record;
	const bool under_cap = (client->capped_since[0] != COUNT_NONE && client->capped_since[0] == capped(w, call->site)) ||
	                       (client->capped_since[1] != COUNT_NONE && client->capped_since[1] == capped(w, COUNT_ALL));

	switch (record->kind) {
	case RECORD_RULES:
		return true;
	case RECORD_CHANGE:
		return under_cap && call->by[COUNT_ENROLLED] - call->by[COUNT_WITHDRAWN] < 0;
	case RECORD_RELEASE:
		return under_cap;
	default:
		return false;
	}
}

/* `asked`: it was not refused before anything was asked. */
static void answered(struct client *client, struct call *call, const struct reason *reason, bool asked)
{
	struct counts *w = client->all;
	int token = COUNT_NONE;

	if (w->ended)
		return;
	call->ended = place_next(w);
	call->lax = w->faulty;
	call->refusal = reason ? refusal_of(reason) : REFUSAL_NONE;
	call->answer = !reason ? CALL_DONE : call->refusal ? CALL_REFUSED : CALL_NEVER;
	if (reason && !call->refusal && !refusal_is_due(client, call, reason))
		world_fail(&w->sim->world, "call %u is refused without reason: %s", call->number, reason->name);
	/* Nobody knows: it goes on, or what the disk holds is not known. */
	if (asked && (reason == &COUNTING_LATE || reason == &JOURNAL_FULL || reason == &JOURNAL_FAILED)) {
		call->answer = CALL_LOST;
		call->ended = UINT64_MAX;
	}
	/* Such a key is not remembered. */
	if (!asked || call->refusal == REFUSAL_SITES_FULL)
		call->key = COUNT_NONE;
	if (call->refusal == REFUSAL_SITES_FULL)
		sites_full_judge(w, call);
	if (asked && call->answer == CALL_DONE)
		call->kept = is_kept(client, call);
	if (asked && call->kind == CALL_RULES && call->answer == CALL_DONE) {
		call->founds_known = true;
		call->founds = change_founded(client->change);
	}
	if (asked && call->kind == CALL_RESERVE && call->answer == CALL_DONE) {
		uint64_t number, expires_ms;

		change_reservation(client->change, &number, &expires_ms);
		token = token_by_number(w, number);
		if (token == COUNT_NONE || (call->key == COUNT_NONE && token != call->token) || w->tokens[token].expires_ms != expires_ms)
			world_fail(&w->sim->world, "call %u got a reservation that nobody asked for", call->number);
	}
	if (call->key != COUNT_NONE && (call->answer == CALL_DONE || call->answer == CALL_REFUSED))
		key_judge(w, call, token);
	call_trace(w, call, reason && !call->refusal ? reason->name : "answered");
	cut_between(client, call);
}

/* ---- a client ---- */

static void client_step_change(struct exchange *x)
{
	struct client *client = x->carried_by;

	if (!client->change || !change_done(client->change) || !scope_live(&x->scope))
		return;
	answered(client, client->call, change_failure(client->change), true);
	scope_close(&x->scope, &RING_DONE);
}

static void client_change_over(struct exchange *x)
{
	struct client *client = x->carried_by;

	if (client->change)
		change_end(client->change);
	client->change = NULL;
}

static void carrier_wake(struct exchange *x)
{
	(void)x;
}

static void carrier_ended(struct exchange *x)
{
	struct client *client = x->carried_by;

	client->exchange = NULL;
	task_wake(&client->task);
	worker_conn_ended(client->worker);
}

static const struct carrier carrier = { .wake = carrier_wake, .ended = carrier_ended };
static const struct serve serve = { .name = "count", .step = client_step_change, .ended = client_change_over };

static void client_asks(struct client *client)
{
	struct counts *w = client->all;
	struct call *call = client->call = call_new(w);
	struct exchange *x = exchange_new(client->worker, &client->scope, &carrier, client);
	struct change_words words = { 0 };
	const struct reason *reason = NULL;
	char site[2] = "", key[16], path[24], body[24], id[24];

	client->exchange = x;
	call_roll(w, call);
	if (call->site != COUNT_ALL)
		site[0] = (char)('a' + call->site);
	snprintf(path, sizeof path, "/sites/%s/%d", site, (int)call->kind);
	snprintf(body, sizeof body, "%u", call->variant);
	snprintf(id, sizeof id, "call-%u", call->number);
	x->serve = &serve;
	http_head_init(&x->request, &x->arena);
	x->request.method_text = HTTP_TEXT("POST");
	x->request.path = (struct http_text){ arena_copy(&x->arena, path, strlen(path)), strlen(path) };
	http_add_known(&x->request, HTTP_NAME_X_REQUEST_ID, (struct http_text){ arena_copy(&x->arena, id, strlen(id)), strlen(id) });
	words.site = http_text_of(site);
	words.fingerprint_of = http_text_of(body);
	if (call->key != COUNT_NONE) {
		snprintf(key, sizeof key, "key-%d", call->key);
		words.key = http_text_of(key);
	}
	call->asked_key = call->key;
	if (call->site != COUNT_ALL) {
		struct seen seen;

		look(w, call->site, &seen);
		call->site_known = seen.revision > 0;
	}
	client->capped_since[0] = call->site == COUNT_ALL ? COUNT_NONE : capped(w, call->site);
	client->capped_since[1] = capped(w, COUNT_ALL);
	command_make(w, call, &client->command);
	call_trace(w, call, "asks");
	client->change = change_begin(x, &client->command, &words, &reason);
	if (!client->change) {
		answered(client, call, reason, false);
		scope_close(&x->scope, &RING_DONE);
		return;
	}
	if (client->worker->counting->under_way > w->config.limits.changes_max)
		world_fail(&w->sim->world, "core %u has more changes under way than limits.changes_max", client->worker->core.index);
	client->leaves = dice_chance(dice_of(w), 10);
	if (client->leaves)
		timer_set(&client->timer, dice_scaled(dice_of(w), 1, 30));
}

static void look(struct counts *w, unsigned site, struct seen *seen)
{
	const struct count *count = w->gateway.count;
	const char id[2] = { (char)('a' + site), '\0' };
	uint32_t number = COUNT_STUDY;
	struct count_site found;

	*seen = (struct seen){ .cap = COUNT_NO_CAP };
	if (site != COUNT_ALL && count_find(count, id, 1, &number) != COUNT_OK)
		return;
	count_look(count, number, &found);
	if (count_read(count, number) != found.count)
		world_fail(&w->sim->world, "site %u: one way of reading says %lld, the other %lld", site, (long long)count_read(count, number),
			(long long)found.count);
	memcpy(seen->n, found.n, sizeof seen->n);
	seen->count = found.count;
	seen->reserved = found.rules.reserved;
	seen->cap = found.rules.cap;
	seen->status = found.rules.status;
	seen->revision = found.revision;
}

static void client_looks(struct client *client)
{
	struct counts *w = client->all;
	struct call *call = call_new(w);

	call->kind = CALL_LOOK;
	call->site = dice_chance(dice_of(w), 20) ? COUNT_ALL : (unsigned)dice_below(dice_of(w), w->site_count);
	look(w, call->site, &call->seen);
	if (call->site != COUNT_ALL)
		w->looked[call->site] = call->seen.revision;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (call->seen.n[kind] < 0 || call->seen.count < 0)
			world_fail(&w->sim->world, "site %u is below zero", call->site);
	call->ended = place_next(w);
	call->answer = CALL_DONE;
	call_trace(w, call, "looks");
}

static void client_step(struct task *task)
{
	struct client *client = owner_of(task, struct client, task);
	struct counts *w = client->all;
	struct dice *dice = dice_of(w);

	if (client->exchange) {
		if (client->leaves && client->timer.fired && scope_live(&client->exchange->scope)) {
			world_trace(&w->sim->world, "call %u: its client goes", client->call->number);
			scope_close(&client->exchange->scope, &RING_DONE);
		}
		return;
	}
	if (client->timer.set && !client->leaves)
		return;
	timer_clear(&client->timer);
	client->leaves = false;
	if (w->ended || client->left == 0 || client->worker->draining)
		return;
	client->left--;
	if (dice_chance(dice, 25))
		client_looks(client);
	else
		client_asks(client);
	if (!client->exchange) {
		if (client->rest_ms > 0 && dice_chance(dice, 60))
			timer_set(&client->timer, dice_scaled(dice, 1, client->rest_ms));
		else
			task_wake_later(&client->task);
	}
}

static const struct scope_kind client_kind = { .name = "client" };

static void clients_open(struct counts *w)
{
	struct dice *dice = dice_of(w);
	const unsigned cores = w->sim->cores.count;

	w->client_count = (unsigned)dice_between(dice, 2, CLIENTS_MOST);
	w->budget = (unsigned)dice_between(dice, 20, CALLS_OF_CLIENTS);
	for (unsigned i = 0; i < w->client_count; i++) {
		struct client *client = &w->clients[i];
		struct worker *worker = w->gateway.workers[dice_below(dice, cores)];

		*client = (struct client){ .all = w, .worker = worker, .left = w->budget / w->client_count,
			.rest_ms = dice_chance(dice, 50) ? (unsigned)dice_scaled(dice, 1, 200) : 0 };
		scope_open(&client->scope, &worker->core.root, &client_kind);
		task_init(&client->task, &client->scope, "client", client_step);
		timer_init(&client->timer, &client->scope, &client->task);
		task_wake(&client->task);
	}
}

static bool clients_done(const struct counts *w)
{
	for (unsigned i = 0; i < w->client_count; i++)
		if (w->clients[i].left > 0 || w->clients[i].exchange)
			return false;
	return true;
}

/* ---- the end of a life ---- */

static void stop_step(struct task *task)
{
	struct stop *stop = owner_of(task, struct stop, task);
	struct counts *w = stop->all;
	struct dice *dice = dice_of(w);
	const bool at_once = w->ending == END_AT_ONCE && (stop->told > 0 || dice_chance(dice, 60));

	if (stop->timer.set)
		return;
	if (stop->told == 0 && !stop->timer.fired) {
		timer_set(&stop->timer, dice_chance(dice, 50) ? dice_scaled(dice, 1, 100) : dice_between(dice, 1, 1500));
		return;
	}
	if (w->ending == END_DRAIN && stop->told == 0 && w->budget % 3 > 0 && !clients_done(w)) {
		timer_set(&stop->timer, 50);
		return;
	}
	if (stop->told++ > 0 && !at_once)
		return;
	world_trace(&w->sim->world, at_once ? "stop at once" : "drain");
	gateway_drain(w->gateway.workers[0], at_once);
	if (w->ending == END_AT_ONCE && !at_once)
		timer_set(&stop->timer, dice_scaled(dice, 1, 50));
}

static void stop_open(struct counts *w)
{
	struct stop *stop = &w->stop;

	*stop = (struct stop){ .all = w };
	scope_open(&stop->scope, &w->gateway.workers[0]->core.root, &client_kind);
	task_init(&stop->task, &stop->scope, "signals", stop_step);
	timer_init(&stop->timer, &stop->scope, &stop->task);
	task_wake(&stop->task);
}

static void life_cut(struct actor *actor)
{
	struct counts *w = owner_of(actor, struct counts, end);

	w->ended = true;
	w->next = w->ending == END_POWER_CUT ? disk_after_power_cut(w->disk, dice_of(w)) : disk_after_kill(w->disk);
	world_trace(actor->world, w->ending == END_POWER_CUT ? "the power is cut" : "the process is killed");
}

static void room_changes(struct actor *actor)
{
	struct counts *w = owner_of(actor, struct counts, room);
	struct dice *dice = &actor->world->dice;

	w->disk->room = dice_chance(dice, 60) ? UINT64_MAX : dice_below(dice, 20000);
	world_trace(actor->world, "room on the disk: %lld", (long long)w->disk->room);
	actor_in(actor, dice_scaled(dice, WORLD_MS, 1500 * WORLD_MS));
}

/* On the core's thread, as soon as its root has ended; core 0's when all others have: gateway/run.c. */
static void core_is_over(struct counts *w, unsigned core)
{
	struct worker *worker = w->gateway.workers[core];

	w->core_over[core] = true;
	counting_close(worker);
	count_put(w->gateway.count, core);
}

static bool life_over(struct sim *sim)
{
	struct counts *w = sim->scenario;
	bool over = true;

	for (unsigned i = 1; i < sim->cores.count; i++)
		if (sim->ended[i] && !w->core_over[i] && dice_chance(&sim->world.dice, 50))
			core_is_over(w, i);
	for (unsigned i = 0; i < sim->cores.count; i++)
		over &= sim->ended[i];
	return over || w->ended;
}

static bool roots_ended(struct sim *sim)
{
	for (unsigned i = 0; i < sim->cores.count; i++)
		if (!sim->ended[i])
			return false;
	return true;
}

static void core_rests(struct world *world, unsigned core)
{
	struct counts *w = ((struct sim *)world->owner)->scenario;
	const struct counting *counting = w->gateway.workers[core]->counting;

	if (counting->journal)
		sim_journal_rests(world, counting->journal);
	if (!link_alone(&counting->settled))
		world_fail(world, "a quiet core with work left: something is settled and nobody was told");
	for (unsigned i = 0; i < w->client_count; i++) {
		const struct client *client = &w->clients[i];

		if (client->worker == w->gateway.workers[core] && client->exchange && client->change && scope_live(&client->exchange->scope) &&
		    change_done(client->change))
			world_fail(world, "a quiet core with work left: call %u is done and its client was not told", client->call->number);
	}
	if (w->gateway.workers[core]->draining && scope_live(&w->gateway.workers[core]->core.root) && counting_rests(w->gateway.workers[core]) &&
	    (core > 0 ? !atomic_load(&w->gateway.workers[core]->gone) : w->gateway.workers[0]->drained_count + 1 == w->gateway.cores.count))
		world_fail(world, "a quiet core with work left: nothing is under way on a draining core, and it goes on");
}

/* ---- what there is, in the model's words ---- */

static void gateway_model(struct counts *w, struct model *model)
{
	struct gateway *gateway = &w->gateway;
	struct record_text key;
	struct keys_result result;
	struct count_site found;
	const uint8_t *digest;
	uint64_t number, expires_ms, place = 0, at_ms;
	size_t at = 0;
	uint32_t site;
	int64_t amount;

	model_init(model);
	for (unsigned i = 0; i < COUNT_SITES; i++) {
		const char id[2] = { (char)('a' + i), '\0' };
		struct count_rules rules;

		if (count_find(gateway->count, id, 1, &site) != COUNT_OK)
			continue;
		count_look(gateway->count, site, &found);
		decider_rules(gateway->counting.decider, site, &rules);
		if (!w->faulty && (rules.cap != found.rules.cap || rules.status != found.rules.status || rules.reserved != found.rules.reserved))
			world_fail(&w->sim->world, "site %u: what is decided is not what is shown", i);
		memcpy(model->sites[i].n, found.n, sizeof found.n);
		model->sites[i].cap = found.rules.cap;
		model->sites[i].status = found.rules.status;
		model->sites[i].revision = found.revision;
		model->sites[i].ruled = found.rules.changes > 0;
	}
	count_look(gateway->count, COUNT_STUDY, &found);
	model->study_cap = found.rules.cap;
	model->study_ruled = found.rules.changes > 0;
	while (decider_each_reservation(gateway->counting.decider, &at, &number, &site, &amount, &expires_ms)) {
		const int token = token_by_number(w, number);

		if (number == 0)
			continue;
		if (token == COUNT_NONE || w->tokens[token].amount != amount || w->tokens[token].expires_ms != expires_ms)
			world_fail(&w->sim->world, "a reservation that nobody made");
		model->reservations |= 1ull << token;
	}
	while (keys_each(gateway->counting.keys, &place, &key, &digest, &result, &at_ms)) {
		const int k = audit_key(key);

		if (key.size == 0)
			continue;
		if (k < 0 || k >= (int)w->key_count)
			world_fail(&w->sim->world, "a key that nobody used");
		if (w->keys[k].known && (w->keys[k].refusal != result.outcome || (w->keys[k].token != COUNT_NONE &&
		    w->tokens[w->keys[k].token].number != result.reservation)))
			world_fail(&w->sim->world, "key %d was answered %d and is remembered as %d", k, w->keys[k].refusal, (int)result.outcome);
		model->keys |= 1ull << k;
	}
}

static void models_same(struct counts *w, const char *one, const struct model *a, const char *other, const struct model *b)
{
	char x[800], y[800];

	if (memcmp(a, b, sizeof *a) == 0)
		return;
	model_write(x, sizeof x, a);
	model_write(y, sizeof y, b);
	world_fail(&w->sim->world, "%s and %s differ:\n  %s\n  %s", one, other, x, y);
}

/* ---- the life that was, judged ---- */

static uint64_t place_at(const struct counts *w, uint64_t ms)
{
	uint64_t place = 1;

	while (place < w->places && w->place_ms[place] < ms)
		place++;
	return place;
}

static struct call *call_found(struct counts *w, uint64_t begun)
{
	struct call *call = &w->calls[w->call_count];

	check(w->call_count < array_count(w->calls));
	*call = (struct call){ .number = w->call_count++, .begun = begun, .ended = w->places, .token = COUNT_NONE, .key = COUNT_NONE,
		.asked_key = COUNT_NONE };
	return call;
}

/* Of each call: was it recorded, and may it have been? */
static void calls_resolve(struct counts *w, const struct audit *audit)
{
	struct world *world = &w->sim->world;

	for (size_t i = 0; i < audit->count; i++) {
		const struct audit_record *record = &audit->records[i];
		struct call *call;

		if (record->call != COUNT_NONE) {
			check(record->call < (int64_t)w->call_count);
			call = &w->calls[record->call];
			if (record->sequence <= w->stream_ends[record->stream])
				continue;
			if (call->recorded)
				world_fail(world, "call %u is recorded twice", call->number);
			call->recorded = true;
			/* One that is kept for its key may be of rules that were so already: done, and nothing was changed. */
			if (call->answer == CALL_NEVER || (call->answer == CALL_REFUSED && record->kind != RECORD_REFUSE))
				world_fail(world, "call %u was refused, and is recorded", call->number);
			if (record->kind == RECORD_REFUSE && record->outcome == REFUSAL_NONE && call->kind != CALL_RULES)
				world_fail(world, "call %u is no rules, and is recorded as nothing to change", call->number);
			if (call->answer == CALL_DONE && record->kind == RECORD_REFUSE && record->outcome != REFUSAL_NONE)
				world_fail(world, "call %u was acknowledged, and is recorded as refused", call->number);
			if (call->answer == CALL_LOST) {
				call->late = w->faulty && record->kind == RECORD_CHANGE;
				call->refusal = record->kind == RECORD_REFUSE ? (int)record->outcome : REFUSAL_NONE;
				call->answer = call->refusal ? CALL_REFUSED : CALL_DONE;
				call->ended = w->places;
			}
			if (call->key != COUNT_NONE && !w->keys[call->key].known)
				w->keys[call->key] = (struct key_answer){ .known = true, .refusal = call->refusal,
					.token = call->kind == CALL_RESERVE && !call->refusal ? call->token : COUNT_NONE };
		} else if (record->kind == RECORD_EXPIRE && record->sequence > w->stream_ends[record->stream]) {
			const int token = token_by_number(w, record->reservation);

			call = call_found(w, place_at(w, w->tokens[token].expires_ms));
			call->kind = CALL_EXPIRE;
			call->site = record->site;
			call->token = token;
			call->answer = CALL_DONE;
		}
	}
}

static void calls_acknowledged(struct counts *w, const struct audit *audit)
{
	for (unsigned i = w->first_call; i < w->call_count; i++) {
		struct call *call = &w->calls[i];

		if (call->kind >= CALL_EXPIRE)
			continue;
		if (call->answer == CALL_LOST)
			call->answer = CALL_NEVER;
		if (call->key != COUNT_NONE && (call->answer == CALL_DONE || call->answer == CALL_REFUSED)) {
			if (!(audit->model.keys >> call->key & 1))
				world_fail(&w->sim->world, "call %u was answered, and its key %d is forgotten", call->number, call->key);
		} else if (call->answer == CALL_DONE && !call->recorded && (call->kind != CALL_RULES || call->kept)) {
			world_fail(&w->sim->world, "call %u was acknowledged, and is lost", call->number);
		}
	}
}

static void history_judge(struct counts *w, const struct audit *audit, bool whole)
{
	const struct rules_of_run rules = { .tokens = w->tokens, .keys = w->keys, .reservations_max = (unsigned)w->config.limits.reservations_max };
	struct call *calls[COUNT_HISTORY_MAX];
	const struct call *bad;
	unsigned count = 0;
	uint64_t tried;
	char text[400];

	if (whole) {
		struct call *last = call_found(w, w->places);

		last->kind = CALL_WHOLE;
		last->begun = last->ended = w->places + 1;
		last->answer = CALL_DONE;
		last->whole = audit->model;
	}
	for (unsigned i = w->first_call; i < w->call_count; i++)
		if (w->calls[i].answer != CALL_NEVER && count < COUNT_HISTORY_MAX)
			calls[count++] = &w->calls[i];
	switch (history_check(&w->start, &rules, calls, count, &bad, &tried)) {
	case HISTORY_GOOD:
		world_trace(&w->sim->world, "%u calls have their moments; %llu tried", count, (unsigned long long)tried);
		break;
	case HISTORY_UNDECIDED:
		world_trace(&w->sim->world, "undecided: %u calls", count);
		break;
	case HISTORY_BAD:
		call_write(text, sizeof text, bad);
		for (unsigned i = 0; i < count; i++)
			call_trace(w, calls[i], "history");
		if (bad->kind == CALL_WHOLE)
			model_write(text, sizeof text, &bad->whole);
		world_fail(&w->sim->world, "no moment for %s%s", bad->kind == CALL_WHOLE ? "what was found afterwards: " : "", text);
	}
}

/* In the weaker modes what was acknowledged may be gone, but for what others may rest on, and nobody knows what of the rest had been there. */
static void calls_lossy(struct counts *w, const struct audit *audit)
{
	for (size_t i = 0; i < audit->count; i++)
		if (audit->records[i].call != COUNT_NONE)
			w->calls[audit->records[i].call].recorded = true;
	for (unsigned i = w->first_call; i < w->call_count; i++)
		if (w->calls[i].kept && !w->calls[i].recorded)
			world_fail(&w->sim->world, "call %u made room and was acknowledged, and is lost", w->calls[i].number);
	for (unsigned i = 0; i < w->token_count; i++) {
		struct call *call;

		if (w->call_count - w->first_call >= COUNT_HISTORY_MAX || !(w->tokens[i].expires_ms <= w->place_ms[w->places]))
			continue;
		call = call_found(w, place_at(w, w->tokens[i].expires_ms));
		call->kind = CALL_EXPIRE;
		call->site = w->tokens[i].site;
		call->token = (int)i;
		call->answer = CALL_LOST;
	}
}

static void life_judge(struct counts *w, bool first)
{
	struct model found;
	struct audit audit;
	/* A sync that failed has lost what it was to save, and an end in order is followed by a cut here. */
	const bool cut = w->ending == END_POWER_CUT || (w->ending != END_KILLED && w->faulty);
	const bool lossy_now = cut && w->was != CONFIG_DURABILITY_ALWAYS && !first;

	audit_read(&audit, &w->sim->world, w->tokens);
	gateway_model(w, &found);
	models_same(w, "what recovery made of the journal", &found, "what an auditor reads", &audit.model);
	if (!first && w->in_order)
		models_same(w, "what was shown at an end in order", &w->live, "what is found", &audit.model);
	if (!first && lossy_now) {
		calls_lossy(w, &audit);
		history_judge(w, &audit, false);
		for (unsigned i = 0; i < COUNT_KEYS; i++)
			w->keys[i].known &= audit.model.keys >> i & 1;
	} else if (!first) {
		calls_resolve(w, &audit);
		calls_acknowledged(w, &audit);
		history_judge(w, &audit, true);
	}
	w->start = audit.model;
	memcpy(w->stream_ends, audit.ends, sizeof w->stream_ends);
	audit_free(&audit);
}

/* ---- a life ---- */

static void on_core(struct sim *sim, unsigned core)
{
	struct counts *w = sim->scenario;

	postern_driver_set(w->drivers[core]);
}

static void recover(struct counts *w, unsigned cores, bool first)
{
	struct recovery_fault fault;
	bool good;

	w->gateway = (struct gateway){ .config = &w->config, .cores = { .count = cores } };
	w->sim->world.habits.descriptors_spent = 0;
	w->disk->polite = true;
	w->was = w->config.count.durability;
	w->config.count.durability = dice_chance(dice_of(w), 50) ? CONFIG_DURABILITY_ALWAYS
	                             : dice_chance(dice_of(w), 50) ? CONFIG_DURABILITY_EVERYSEC : CONFIG_DURABILITY_MEMORY;
	world_quiet(&w->sim->world);
	good = counting_recover(&w->gateway, &fault);
	world_loud(&w->sim->world);
	if (!good)
		world_fail(&w->sim->world, "recovery refuses: %s", fault.sentence);
	if (w->gateway.counting.lost_count > 0)
		world_fail(&w->sim->world, "recovery misses what something rests on: %s", fault.sentence);
	life_judge(w, first);
}

static void workers_open(struct counts *w, unsigned cores)
{
	struct gateway *gateway = &w->gateway;
	struct sim *sim = w->sim;
	struct dice *dice = dice_of(w);

	gateway->workers = calloc(cores, sizeof *gateway->workers);
	gateway->materials = calloc(1, sizeof *gateway->materials);
	check(gateway->workers && gateway->materials);
	for (unsigned i = 0; i < cores; i++) {
		struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) / 64 * 64);

		check(worker);
		memset(worker, 0, sizeof *worker);
		worker->gateway = gateway;
		worker->config = &w->config;
		gateway->workers[i] = worker;
		sim->all[i] = &worker->core;
	}
	sim_open(sim, cores, 4, 64);
	gateway->cores = sim->cores;
	ticket_store_open(&gateway->tickets, NULL, w->config.timeouts.ticket_lifetime_ms, cores, kernel_wall_ns(sim->all[0]->kernel) / 1000000000,
		CONFIG_LOG_ERROR);
	for (unsigned i = 0; i < cores; i++) {
		struct worker *worker = gateway->workers[i];

		worker->core.gateway = worker;
		count_take(gateway->count, i);
		postern_driver_set(NULL);
		check(worker_open(worker, &(struct worker_sockets){ .listeners = NULL, .admin = -1, .log = -1 }));
		w->drivers[i] = postern_driver_get();
		/* What takes megabytes in the program is to happen here, too. */
		worker->counting->journal->settings.snapshot_bytes = dice_chance(dice, 80) ? dice_between(dice, 500, 8000) : UINT64_MAX;
	}
	sim->on_core = on_core;
}

static void workers_close(struct counts *w)
{
	struct gateway *gateway = &w->gateway;
	struct sim *sim = w->sim;
	const unsigned cores = sim->cores.count;

	for (unsigned i = cores; i-- > 0;)
		if (!w->core_over[i])
			core_is_over(w, i);
	for (unsigned round = 0; round < GOODBYE_ROUNDS; round++)
		for (unsigned i = 0; i < cores; i++)
			mailbox_deliver(&gateway->workers[i]->core);
	w->in_order = w->ending < END_KILLED && !w->scarce && !w->faulty;
	if (w->in_order)
		gateway_model(w, &w->live);
	for (unsigned i = 0; i < cores; i++) {
		on_core(sim, i);
		ticket_store_detach(&gateway->tickets, &gateway->workers[i]->core);
	}
	for (unsigned i = 0; i < cores; i++) {
		on_core(sim, i);
		worker_close(gateway->workers[i]);
		if (gateway->workers[i]->counting->under_way + gateway->workers[i]->counting->asked > 0)
			world_fail(&sim->world, "core %u at the end: %u changes are under way", i, gateway->workers[i]->counting->under_way);
	}
}

static void gateway_end(struct counts *w)
{
	struct gateway *gateway = &w->gateway;
	const unsigned cores = w->sim->cores.count;

	w->sim->on_core = NULL;
	recovery_free(&gateway->counting.recovery);
	sim_finish(w->sim);
	for (unsigned i = 0; i < cores; i++) {
		worker_fini(gateway->workers[i]);
		free(gateway->workers[i]);
	}
	ticket_store_close(&gateway->tickets);
	free(gateway->materials);
	free(gateway->workers);
	counting_forget(gateway);
}

static void life_rolls(struct counts *w)
{
	struct dice *dice = dice_of(w);
	struct config *config = &w->config;

	w->ending = (enum ending)dice_below(dice, 5);
	if (dice_chance(dice, 20))
		w->ending = w->mood == MOOD_HIGH || w->mood == MOOD_RULES ? END_POWER_CUT : END_DRAIN;
	w->cuts_between = w->ending == END_POWER_CUT && dice_chance(dice, w->mood == MOOD_HIGH ? 80 : 30);
	config->count.segment_bytes = dice_chance(dice, 50) ? dice_between(dice, 2000, 10000) : 64 << 20;
	config->timeouts.drain_ms = w->ending == END_DEADLINE ? dice_scaled(dice, 1, 60) : LONG_DRAIN_MS;
	w->disk->polite = w->disk->failed = false;
	w->disk->indirect = dice_chance(dice, 15);
	w->disk->room = UINT64_MAX;
	w->disk->write_fails = w->disk->sync_fails = 0;
	w->faulty = dice_chance(dice, 12);
	if (w->faulty) {
		w->disk->write_fails = (unsigned)dice_between(dice, 0, 30);
		w->disk->sync_fails = (unsigned)dice_between(dice, 0, 30);
	}
	w->scarce = dice_chance(dice, 12);
	w->ended = false;
	memset(w->core_over, 0, sizeof w->core_over);
}

/* A core's clock behind another's, and a disk slow for one stream beside others that are fast. */
static void clocks_and_disks_roll(struct counts *w, unsigned cores)
{
	struct world *world = &w->sim->world;
	struct dice *dice = dice_of(w);

	if (dice_chance(dice, w->mood == MOOD_LOW ? 80 : 30))
		for (unsigned i = 1; i < cores; i++)
			world->wall_ns[i] = (int64_t)dice_scaled(dice, WORLD_MS / 100, 2000 * WORLD_MS) * (dice_chance(dice, 30) ? -1 : 1);
	if (dice_chance(dice, w->mood == MOOD_HIGH ? 80 : 20))
		world->disk_late_ns[dice_chance(dice, 80) ? 0 : dice_below(dice, cores)] = dice_scaled(dice, WORLD_MS, 100 * WORLD_MS);
}

static void life(struct counts *w, unsigned cores)
{
	static const char *const endings[] = { "a drain", "a stop at once", "a drain's deadline", "a kill", "a power cut" };
	struct sim *sim = w->sim;
	struct dice *dice = dice_of(w);
	uint64_t ends_ns;

	life_rolls(w);
	sim->scenario = w;
	world_quiet(&sim->world);
	clocks_and_disks_roll(w, cores);
	workers_open(w, cores);
	sim->world.sleeps = core_rests;
	w->places++;
	w->place_ms[w->places] = wall_ms(w);
	w->first_call = w->call_count;
	clients_open(w);
	if (w->ending < END_KILLED)
		stop_open(w);
	world_trace(&sim->world, "a life of %u cores, %u clients, %s, that ends by %s", cores, w->client_count,
		config_durability_word(w->config.count.durability), endings[w->ending]);
	ends_ns = dice_scaled(dice, WORLD_MS / 2, 1500 * WORLD_MS) + (w->cuts_between ? 300 * WORLD_MS : 0);
	actor_init(&w->end, &sim->world, life_cut, w->ending >= END_KILLED ? ends_ns : ACTOR_ASLEEP);
	actor_init(&w->room, &sim->world, room_changes, w->scarce ? dice_scaled(dice, WORLD_MS, 500 * WORLD_MS) : ACTOR_ASLEEP);
	if (!sim_run(sim, life_over))
		world_fail(&sim->world, "nothing happens any more, and it has not ended");
	link_remove(&w->end.in_world);
	link_remove(&w->room.in_world);
	sim->world.sleeps = NULL;
	if (w->ended) {
		for (unsigned i = 0; i < cores; i++) {
			scope_close(&sim->all[i]->root, &RING_DRAINED);
			kernel_wakes(sim->all[i]->kernel);
		}
		if (!sim_run(sim, roots_ended))
			world_fail(&sim->world, "the root scope does not end");
	}
	for (unsigned i = 0; i < cores && w->ending == END_DRAIN && !w->scarce && !w->faulty; i++)
		if (sim->all[i]->root.reason != &RING_DONE)
			world_fail(&sim->world, "core %u: a drain came to its deadline, and nothing was in its way", i);
	world_trace(&sim->world, "%llu allotments, %llu recalls, %u reservations left",
		(unsigned long long)metric_read(&w->gateway.workers[0]->metrics.count_allotments),
		(unsigned long long)metric_read(&w->gateway.workers[0]->metrics.count_recalls), decider_reservations(w->gateway.counting.decider));
	workers_close(w);
	w->places++;
	w->place_ms[w->places] = wall_ms(w);
	world_loud(&sim->world);
	if (!w->next)
		w->next = disk_after_power_cut(w->disk, dice);
}

/* What stays the same through all lives. */
static void run_rolls(struct counts *w)
{
	struct dice *dice = dice_of(w);
	struct config *config = &w->config;

	config_default(config);
	config->state = "state";
	config->log.level = CONFIG_LOG_ERROR;
	w->mood = dice_chance(dice, 60) ? MOOD_ANY : (enum mood)dice_between(dice, MOOD_HIGH, MOOD_RULES);
	w->site_count = w->mood ? (unsigned)dice_between(dice, 1, 2) : (unsigned)dice_between(dice, 2, COUNT_SITES);
	config->limits.sites_max = dice_chance(dice, 80) ? 8 : dice_between(dice, 1, w->site_count);
	config->limits.changes_max = dice_chance(dice, 75) ? 1000 : dice_between(dice, 1, 4);
	config->limits.reservations_max = dice_chance(dice, 80) ? 1000 : dice_between(dice, 1, 5);
	config->limits.idempotency_keys_max = dice_chance(dice, 80) ? 1000 : dice_between(dice, 1, 8);
	config->count.new_sites = dice_chance(dice, 85);
	model_init(&w->start);
}

static void count_run(struct sim *sim)
{
	struct counts *w = calloc(1, sizeof *w);
	unsigned lives;

	check(w);
	w->sim = sim;
	w->disk = disk_new();
	run_rolls(w);
	lives = (unsigned)dice_between(dice_of(w), 1, LIVES_MOST);
	for (unsigned i = 0; i <= lives; i++) {
		const unsigned cores = (unsigned)dice_between(dice_of(w), w->mood ? 2 : 1, w->mood ? 3 : WORLD_CORES_MAX);
		uint64_t dice_state, now_ns;

		disk_use(w->disk, &sim->world);
		recover(w, cores, i == 0);
		if (i < lives) {
			life(w, cores);
			gateway_end(w);
		} else {
			counting_forget(&w->gateway);
			sim_open(sim, 1, 4, 64);
			sim_finish(sim);
		}
		dice_state = sim->world.dice.state;
		now_ns = sim->world.now_ns;
		disk_free(w->disk);
		w->disk = w->next;
		w->next = NULL;
		if (i == lives)
			break;
		sim_init(sim, sim->world.scenario, sim->world.seed, sim->world.trace);
		sim->world.dice.state = dice_state;
		sim->world.now_ns = now_ns + dice_scaled(dice_of(w), 1, 5000) * WORLD_MS;
	}
	free(w);
}

const struct scenario SCENARIO_COUNT = {
	.name = "count",
	.sentence = "the whole count: clients on one to four cores, caps, recalls, keys, a rude disk, several lives",
	.share = 4,
	.run = count_run,
};
