/* See gateway/counting/deciding.h. */
#include "gateway/counting/deciding.h"
#include "gateway/counting/change_inside.h"
#include "gateway/counting/refusal.h"
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#define LOST_BY_CHOICE "raises before a power cut that durability did not wait for: what lowered them is here, and they are not"
#define FORGETTING_MS 60000u             /* keys whose window is over are forgotten so often … */
#define EXPIRING_AT_ONCE 256u            /* reservations in one turn; further ones in the next */
#define FORGETTING_AT_ONCE 1024u         /* … and so many in one turn */

struct deciding {
	struct counting *counting;
	struct decider *decider;
	struct keys *keys;
	struct link recalls;             /* struct recall.in_recalls */
	struct task task;                /* what runs out */
	struct timer timer;
	unsigned expiries;               /* under way */
	bool interrupted;                /* a core was stopped in the middle: what it held is not known, and nothing is decided any more */
};

/* What one core is asked for, and what it gives back. */
struct recall_part {
	struct message message;
	struct journal_waiter waiter;
	struct recall *recall;
	struct counting *holder;
	int64_t room;
	const struct reason *failure;    /* of a sync */
	uint64_t stamp_ns;
	bool ended;                      /* its core has ended meanwhile, and touched nothing */
};

struct recall {
	struct link in_recalls;
	struct deciding *deciding;
	uint32_t site;
	bool syncs;                      /* nothing is given back: what cores have published is to be on the disk */
	const struct reason *failure;    /* of one of these syncs */
	unsigned missing;                /* cores that have not answered */
	struct link waiting;             /* struct change.in_line: decided anew when all have */
	struct recall_part parts[];
};

struct grant {
	struct message message;
	uint32_t site;
	int64_t room, study_room;
	uint64_t stamp_ns;
};

/* What nobody asked for: a reservation's end by time, or what was lost and is made good. */
struct expiry {
	struct journal_waiter waiter;
	struct deciding *deciding;
	struct effect effect;
	struct record record;
};

static void decide(struct deciding *, struct change *);
static void expire_some(struct deciding *);

static uint64_t wall_ms(const struct deciding *d)
{
	return kernel_wall_ns(d->counting->worker->core.kernel) / 1000000;
}

static struct worker *worker_at(const struct deciding *d, unsigned core)
{
	return d->counting->worker->gateway->workers[core];
}

/* ---- the answer ------------------------------------------------------------------------------------------------------------ */

static void answer(struct deciding *d, struct change *change)
{
	struct link *link;

	if (change->key) {
		if (change->failure)
			keys_drop(d->keys, change->key);
		else
			keys_finish(d->keys, change->key, &change->result, wall_ms(d));
		change->key = NULL;
		task_wake(&d->task);
	}
	while ((link = link_take_first(&change->followers))) {
		struct change *follower = owner_of(link, struct change, in_line);

		follower->failure = change->failure;
		follower->result = change->result;
		follower->stamp_ns = change->stamp_ns;
		change_return(d->counting, follower);
	}
	change_return(d->counting, change);
}

static void fail(struct deciding *d, struct change *change, const struct reason *reason)
{
	decider_forget(d->decider, &change->command);
	change->failure = reason;
	answer(d, change);
}

/* ---- what was decided ------------------------------------------------------------------------------------------------------- */

static void effect_record(struct deciding *d, const struct effect *effect, struct record *record)
{
	static const int64_t none[COUNT_KINDS];

	switch (effect->kind) {
	case COMMAND_CHANGE:
		record->kind = RECORD_CHANGE;
		break;
	case COMMAND_RULES:
		record->kind = RECORD_RULES;
		record->status = effect->rules.status;
		record->status_before = effect->rules_before.status;
		record->cap = effect->rules.cap;
		record->cap_before = effect->rules_before.cap;
		record->rule_changes = (int64_t)effect->rules.changes;
		break;
	case COMMAND_RESERVE:
		record->kind = RECORD_RESERVE;
		record->expires_ms = effect->expires_ms;
		break;
	case COMMAND_CONFIRM:
		record->kind = RECORD_CONFIRM;
		break;
	case COMMAND_RELEASE:
		record->kind = effect->expired ? RECORD_EXPIRE : RECORD_RELEASE;
		break;
	}
	record->reservation = effect->reservation;
	record->amount = effect->amount;
	memcpy(record->by, effect->by, sizeof record->by);
	if (memcmp(effect->by, none, sizeof none) != 0)
		counting_record_line(d->counting, effect->site, effect->by, record->before);
}

static void effect_publish(struct deciding *d, const struct effect *effect, uint64_t stamp_ns)
{
	decider_publish(d->decider, effect, stamp_ns);
	metric_add(&d->counting->worker->metrics.count_changes, 1);
	counting_published(d->counting, effect->site);
}

static void change_settled(struct journal_waiter *waiter, const struct reason *failure)
{
	struct change *change = owner_of(waiter, struct change, waiter);
	struct deciding *d = change->asker->worker->gateway->workers[0]->counting->deciding;
	const bool effective = change->outcome.refusal == REFUSAL_NONE && !change->outcome.effect.nothing;

	change->failure = failure;
	change->stamp_ns = counting_now_ns(d->counting);
	if (!failure && effective)
		effect_publish(d, &change->outcome.effect, change->record.stamp_ns);
	answer(d, change);
}

/* Posted at once, so that a recall that is decided later comes behind it. */
static void grant_deliver(struct core *to, struct message *message)
{
	struct grant *grant = owner_of(message, struct grant, message);
	struct worker *worker = to->gateway;

	counting_saw(worker->counting, grant->stamp_ns);
	/* A core that has ended raises nothing more; its permits may be core 0's by now. */
	if (!scope_live(&to->root))
		grant->room = grant->study_room = 0;
	if (grant->room > 0)
		permits_grant(worker->counting->permits, grant->site, grant->room);
	if (grant->study_room > 0)
		permits_grant(worker->counting->permits, COUNT_STUDY, grant->study_room);
	free(grant);
}

static void grant_post(struct deciding *d, const struct change *change)
{
	const struct outcome *outcome = &change->outcome;
	struct grant *grant;

	if (outcome->grant_site == 0 && outcome->grant_study == 0)
		return;
	grant = malloc(sizeof *grant);
	check(grant);
	*grant = (struct grant){
		.message = { .deliver = grant_deliver },
		.site = change->command.site,
		.room = outcome->grant_site,
		.study_room = outcome->grant_study,
		.stamp_ns = counting_now_ns(d->counting),
	};
	metric_add(&d->counting->worker->metrics.count_allotments, 1);
	core_post(&d->counting->worker->core, change->asker->worker->core.index, &grant->message);
}

static void decided(struct deciding *d, struct change *change)
{
	struct outcome *outcome = &change->outcome;

	/* What is decided rests on what other cores have published: it comes later in the one history. */
	counting_saw(d->counting, outcome->seen_ns);
	change->result.outcome = outcome->refusal;
	change->waiter.settled = change_settled;
	grant_post(d, change);
	if (outcome->refusal == REFUSAL_NONE && !outcome->effect.nothing) {
		change->result.reservation = outcome->effect.reservation;
		change->result.expires_ms = outcome->effect.expires_ms;
		effect_record(d, &outcome->effect, &change->record);
		change->waiter.synced = outcome->effect.makes_room;
		counting_append(d->counting, &change->record, &change->waiter);
		task_wake(&d->task);
	} else if (change->key) {
		/* Also where there was nothing to change: when it is sent again there may be. */
		change->record.kind = RECORD_REFUSE;
		change->record.outcome = outcome->refusal;
		counting_append(d->counting, &change->record, &change->waiter);
	} else {
		/* It may rest on what is recorded and not durable yet; whoever hears of it must not look and find it otherwise. */
		counting_barrier(d->counting, &change->waiter);
	}
}

/* ---- recalls ------------------------------------------------------------------------------------------------------------------ */

static struct recall *recall_of(struct deciding *d, uint32_t site)
{
	for (struct link *link = d->recalls.next; link != &d->recalls; link = link->next) {
		struct recall *recall = owner_of(link, struct recall, in_recalls);

		if (recall->site == site)
			return recall;
	}
	return NULL;
}

static void recall_over(struct recall *);

static void sync_answered(struct recall_part *part)
{
	if (part->ended)
		part->recall->failure = &COUNTING_ENDS;
	if (part->failure)
		part->recall->failure = part->failure;
}

static void room_answered(struct recall_part *part)
{
	struct recall *recall = part->recall;
	struct deciding *d = recall->deciding;

	/* Of a core that was stopped in the middle there is nothing to book: nothing is decided any more. */
	if (part->ended)
		d->interrupted = true;
	else
		decider_recalled(d->decider, recall->site, part->holder->worker->core.index, part->room);
}

static void recall_answered(struct recall_part *part)
{
	struct recall *recall = part->recall;

	counting_saw(recall->deciding->counting, part->stamp_ns);
	if (recall->syncs)
		sync_answered(part);
	else
		room_answered(part);
	if (--recall->missing == 0)
		recall_over(recall);
}

static void part_returned(struct core *to, struct message *message)
{
	(void)to;
	recall_answered(owner_of(message, struct recall_part, message));
}

/* What this core spent is durable: only now is what it gives back all that there is. (Where its journal has failed, what was spent stays
 * spent until a restart has read what there is.) */
static void part_settled(struct journal_waiter *waiter, const struct reason *failure)
{
	struct recall_part *part = owner_of(waiter, struct recall_part, waiter);

	struct worker *worker = part->holder->worker;

	part->failure = failure;
	part->stamp_ns = counting_now_ns(part->holder);
	part->message.deliver = part_returned;
	core_post(&worker->core, 0, &part->message);
	worker->counting->asked--;
	worker_conn_ended(worker); /* a draining core may have waited for this */
}

/* A core that is being stopped has no say any more. */
static void part_deliver(struct core *to, struct message *message)
{
	struct recall_part *part = owner_of(message, struct recall_part, message);

	counting_saw(part->holder, part->stamp_ns);
	if (!scope_live(&to->root)) {
		part->ended = true;
		part->message.deliver = part_returned;
		core_post(to, 0, &part->message);
		return;
	}
	part->holder->asked++;
	part->waiter.settled = part_settled;
	if (part->recall->syncs) {
		counting_sync(part->holder, &part->waiter);
		return;
	}
	part->room = permits_recall(part->holder->permits, part->recall->site);
	counting_barrier(part->holder, &part->waiter);
}

/* All have answered. If one of them was stopped in the middle, nobody knows what it spent. Of who waits the first is the one that was told to:
 * without a sync that one is not decided. Those behind it may need none, and if they do they are told so themselves. */
static void recall_over(struct recall *recall)
{
	struct deciding *d = recall->deciding;
	struct link *link;

	link_remove(&recall->in_recalls);
	if (recall->failure)
		fail(d, owner_of(link_take_first(&recall->waiting), struct change, in_line), recall->failure);
	else if (recall->syncs)
		decider_synced(d->decider, recall->site);
	while ((link = link_take_first(&recall->waiting)))
		decide(d, owner_of(link, struct change, in_line));
	free(recall);
}

/* `waiting` waits for it. What core 0 lowers stands behind what it raised itself, which so needs no sync. */
static void recall_begin(struct deciding *d, uint32_t site, bool syncs, struct change *waiting)
{
	const unsigned cores = d->counting->worker->gateway->cores.count;
	struct recall *recall = calloc(1, sizeof *recall + cores * sizeof recall->parts[0]);

	check(recall);
	recall->deciding = d;
	recall->site = site;
	recall->syncs = syncs;
	link_init(&recall->waiting);
	link_put_last(&recall->waiting, &waiting->in_line);
	link_put_last(&d->recalls, &recall->in_recalls);
	metric_add(syncs ? &d->counting->worker->metrics.count_syncs : &d->counting->worker->metrics.count_recalls, 1);
	for (unsigned i = 0; i < cores; i++) {
		struct recall_part *part = &recall->parts[i];

		if (syncs ? i == 0 : !decider_holds(d->decider, site, i))
			continue;
		*part = (struct recall_part){
			.message = { .deliver = part_deliver },
			.recall = recall,
			.holder = worker_at(d, i)->counting,
			.stamp_ns = counting_now_ns(d->counting),
		};
		recall->missing++;
		core_post(&d->counting->worker->core, i, &part->message);
	}
	if (recall->missing == 0)
		recall_over(recall);
}

/* The recall that this command must wait for; NULL: none. While one is under way nobody is given anything of that site. */
static struct recall *recall_in_the_way(struct deciding *d, const struct command *command)
{
	struct recall *recall = recall_of(d, command->site);

	return recall ? recall : recall_of(d, COUNT_STUDY);
}

/* ---- a command ---------------------------------------------------------------------------------------------------------------- */

/* The site has a number, and its memory is here. */
static const struct reason *site_take(struct deciding *d, struct change *change, enum count_answer found, uint32_t site)
{
	if (found == COUNT_OK)
		found = count_reserve(d->counting->worker->gateway->count, 0, site);
	if (found == COUNT_OK)
		change->command.site = site;
	return site_reason(found);
}

/* Another core may have entered the site since it was looked for. */
static const struct reason *site_look_again(struct deciding *d, struct change *change)
{
	const struct record_text id = change->record.site;
	enum count_answer answer;
	uint32_t site;

	if (change->command.site != COUNT_SITE_NONE)
		return NULL;
	answer = count_find(d->counting->worker->gateway->count, id.bytes, id.size, &site);
	return answer == COUNT_SITE_UNKNOWN ? NULL : site_take(d, change, answer, answer == COUNT_OK ? site : COUNT_SITE_NONE);
}

/* The change is going to be recorded. */
static const struct reason *site_enter(struct deciding *d, struct change *change)
{
	const struct record_text id = change->record.site;
	enum count_answer answer;
	uint32_t site;

	answer = count_enter(d->counting->worker->gateway->count, id.bytes, id.size, &site);
	return site_take(d, change, answer, answer == COUNT_OK ? site : COUNT_SITE_NONE);
}

static void fail_settled(struct journal_waiter *waiter, const struct reason *failure)
{
	struct change *change = owner_of(waiter, struct change, waiter);
	struct deciding *d = change->asker->worker->gateway->workers[0]->counting->deciding;

	change->stamp_ns = counting_now_ns(d->counting);
	if (failure)
		change->failure = failure;
	answer(d, change);
}

/* That no rule refused it may rest on what is recorded and not durable yet. */
static void fail_later(struct deciding *d, struct change *change, const struct reason *reason)
{
	decider_forget(d->decider, &change->command);
	change->failure = reason;
	change->waiter.settled = fail_settled;
	counting_barrier(d->counting, &change->waiter);
}

static void decide(struct deciding *d, struct change *change)
{
	const bool live = scope_live(&d->counting->worker->core.root) && !d->interrupted;
	const struct reason *failure = live ? site_look_again(d, change) : &COUNTING_ENDS;
	struct recall *recall = recall_in_the_way(d, &change->command);

	/* What has run out still holds room until it is said. */
	if (live && !recall)
		expire_some(d);
	if (!failure)
		failure = counting_failure(d->counting);
	if (failure) {
		fail(d, change, failure);
		return;
	}
	if (!recall) {
		switch (decider_decide(d->decider, &change->command, change->asker->worker->core.index, wall_ms(d), &change->outcome)) {
		case DECIDED:
			decided(d, change);
			return;
		case RECALL_SITE:
			recall_begin(d, change->command.site, false, change);
			return;
		case SYNC_SITE:
			recall_begin(d, change->command.site, true, change);
			return;
		case RECALL_STUDY:
			recall_begin(d, COUNT_STUDY, false, change);
			return;
		case ENTER_SITE:
			failure = site_enter(d, change);
			if (failure)
				fail_later(d, change, failure);
			else
				decide(d, change); /* once more, and no further: it has its number now */
			return;
		}
	}
	link_put_last(&recall->waiting, &change->in_line);
}

void deciding_take(struct deciding *d, struct change *change)
{
	const uint32_t site = change->command.site;
	enum count_answer memory;

	/* A core that has ended opens its mail still, and its lines are nobody's. */
	if (!scope_live(&d->counting->worker->core.root) || d->interrupted) {
		fail(d, change, &COUNTING_ENDS);
		return;
	}
	memory = site == COUNT_STUDY || site == COUNT_SITE_NONE ? COUNT_OK : count_reserve(d->counting->worker->gateway->count, 0, site);
	counting_saw(d->counting, change->stamp_ns);
	if (memory != COUNT_OK) {
		fail(d, change, site_reason(memory));
		return;
	}
	if (change->record.key.size == 0) {
		decide(d, change);
		return;
	}
	switch (keys_enter(d->keys, change->record.key, change->record.digest, wall_ms(d), &change->key, &change->result)) {
	case KEYS_NEW:
		*key_user(change->key) = change;
		decide(d, change);
		break;
	case KEYS_ANSWERED:
		change->key = NULL;
		change_return(d->counting, change);
		break;
	case KEYS_UNDER_WAY: {
		struct change *first = *key_user(change->key);

		change->key = NULL;
		link_put_last(&first->followers, &change->in_line);
		break;
	}
	case KEYS_OTHER:
		change->key = NULL;
		fail(d, change, &IDEMPOTENCY_KEY_REUSED);
		break;
	case KEYS_FULL:
		change->key = NULL;
		fail(d, change, &IDEMPOTENCY_KEYS_FULL);
		break;
	}
}

/* ---- what runs out --------------------------------------------------------------------------------------------------------------- */

static void expiry_settled(struct journal_waiter *waiter, const struct reason *failure)
{
	struct expiry *expiry = owner_of(waiter, struct expiry, waiter);
	struct deciding *d = expiry->deciding;

	if (!failure)
		effect_publish(d, &expiry->effect, expiry->record.stamp_ns);
	d->expiries--;
	free(expiry);
	worker_conn_ended(d->counting->worker);
}

/* Recorded as done by us. Its site's memory is here. */
static void own_record(struct deciding *d, const struct effect *effect, struct record_text reason)
{
	struct expiry *own = calloc(1, sizeof *own);

	check(own);
	own->deciding = d;
	own->effect = *effect;
	own->waiter.settled = expiry_settled;
	own->record.site.size = count_id(d->counting->worker->gateway->count, effect->site, &own->record.site.bytes);
	own->record.actor = (struct record_text){ "postern", 7 };
	own->record.reason = reason;
	effect_record(d, &own->effect, &own->record);
	own->waiter.synced = effect->makes_room;
	d->expiries++;
	counting_append(d->counting, &own->record, &own->waiter);
}

static bool expire_one(struct deciding *d)
{
	struct effect effect;

	if (counting_failure(d->counting) || !decider_expire(d->decider, wall_ms(d), &effect))
		return false;
	check(count_reserve(d->counting->worker->gateway->count, 0, effect.site) == COUNT_OK);
	own_record(d, &effect, (struct record_text){ 0 });
	return true;
}

/* No change is beyond COUNT_BY_MAX, so what is may take several. */
static bool mend_some(struct deciding *d, uint32_t site, int64_t left[COUNT_KINDS])
{
	struct count *count = d->counting->worker->gateway->count;
	int64_t by[COUNT_KINDS];
	struct effect effect;

	if ((counting_failure(d->counting) && !counting_flush(d->counting)) || count_reserve(count, 0, site) != COUNT_OK)
		return false;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
		by[kind] = left[kind] < COUNT_BY_MAX ? left[kind] : COUNT_BY_MAX;
		left[kind] -= by[kind];
	}
	decider_mend(d->decider, site, by, &effect);
	own_record(d, &effect, (struct record_text){ LOST_BY_CHOICE, sizeof LOST_BY_CHOICE - 1 });
	return true;
}

bool deciding_mend(struct deciding *d, uint32_t site, const int64_t by[COUNT_KINDS])
{
	static const int64_t none[COUNT_KINDS];
	int64_t left[COUNT_KINDS];

	memcpy(left, by, sizeof left);
	while (memcmp(left, none, sizeof left) != 0)
		if (!mend_some(d, site, left))
			return false;
	return true;
}

static void expire_some(struct deciding *d)
{
	for (unsigned i = 0; i < EXPIRING_AT_ONCE && expire_one(d); i++)
		;
}

static void gauge_set(metric *gauge, uint64_t value)
{
	metric_add(gauge, value - metric_read(gauge));
}

static void deciding_step(struct task *task)
{
	struct deciding *d = owner_of(task, struct deciding, task);
	const uint64_t now_ms = wall_ms(d);
	uint64_t next_ms;

	expire_some(d);
	keys_expire(d->keys, now_ms, FORGETTING_AT_ONCE);
	gauge_set(&d->counting->worker->metrics.count_keys, keys_count(d->keys));
	gauge_set(&d->counting->worker->metrics.count_reservations, decider_reservations(d->decider));
	next_ms = decider_next_expiry_ms(d->decider);
	next_ms = next_ms == UINT64_MAX ? UINT64_MAX : next_ms > now_ms ? next_ms - now_ms + 1 : counting_failure(d->counting) ? 1000 : 1;
	if (keys_count(d->keys) > 0 && next_ms > FORGETTING_MS)
		next_ms = FORGETTING_MS;
	if (next_ms != UINT64_MAX)
		timer_set(&d->timer, next_ms < FORGETTING_MS ? next_ms : FORGETTING_MS);
}

/* ---- for counting.c ----------------------------------------------------------------------------------------------------------------- */

struct deciding *deciding_open(struct counting *counting, struct decider *decider, struct keys *keys)
{
	struct deciding *d = calloc(1, sizeof *d);

	check(d);
	d->counting = counting;
	d->decider = decider;
	d->keys = keys;
	link_init(&d->recalls);
	task_init(&d->task, &counting->worker->core.root, "reservations", deciding_step);
	timer_init(&d->timer, &counting->worker->core.root, &d->task);
	task_wake(&d->task);
	return d;
}

void deciding_free(struct deciding *d)
{
	if (!d)
		return;
	check(link_alone(&d->recalls) && d->expiries == 0);
	free(d);
}

struct decider *deciding_decider(struct deciding *d)
{
	return d->decider;
}

struct keys *deciding_keys(struct deciding *d)
{
	return d->keys;
}

bool deciding_rests(const struct deciding *d)
{
	return link_alone(&d->recalls) && d->expiries == 0;
}
