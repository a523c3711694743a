/* See gateway/counting/change.h. A change begins here, on the core of its client, and ends here. */
#include "gateway/counting/actor.h"
#include "gateway/counting/change_inside.h"
#include "gateway/counting/deciding.h"
#include "gateway/counting/refusal.h"
#include "gateway/gateway.h"
#include "gateway/verdict.h"
#include "cache/siphash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PATIENCE_MS 10000u               /* of a client; the change itself goes on */
#define REQUEST_ID_BYTES_MAX 128u

static void change_free(struct change *change)
{
	check(link_alone(&change->in_line) && link_alone(&change->followers));
	change->asker->under_way--;
	free(change);
}

static void change_over(struct change *change)
{
	struct worker *worker = change->asker->worker;

	change->done = true;
	if (change->exchange) {
		task_wake(&change->exchange->task);
	} else {
		change_free(change);
		worker_conn_ended(worker); /* a draining core may have waited for this one */
	}
}

static void change_returned(struct core *to, struct message *message)
{
	struct change *change = owner_of(message, struct change, message);

	check(change->asker->worker == to->gateway);
	counting_saw(change->asker, change->stamp_ns);
	change_over(change);
}

void change_return(struct counting *here, struct change *change)
{
	if (here == change->asker) {
		change_over(change);
		return;
	}
	change->message.deliver = change_returned;
	core_post(&here->worker->core, change->asker->worker->core.index, &change->message);
}

/* ---- done here ------------------------------------------------------------------------------------------------------------ */

static bool plainly_raises(const struct command *command)
{
	if (command->kind != COMMAND_CHANGE || command->by[COUNT_WITHDRAWN] != 0)
		return false;
	for (unsigned i = 0; i < COUNT_KINDS; i++)
		if (command->by[i] < 0)
			return false;
	return true;
}

static void raise_settled(struct journal_waiter *waiter, const struct reason *failure)
{
	struct change *change = owner_of(waiter, struct change, waiter);
	struct counting *counting = change->asker;
	const uint32_t site = change->command.site;

	change->failure = failure;
	if (!failure) {
		count_apply(counting->worker->gateway->count, counting->worker->core.index, site, change->command.by, change->record.stamp_ns);
		metric_add(&counting->worker->metrics.count_changes, 1);
		counting_published(counting, site);
	}
	change_over(change);
}

static void raise_here(struct change *change)
{
	struct counting *counting = change->asker;

	change->record.kind = RECORD_CHANGE;
	memcpy(change->record.by, change->command.by, sizeof change->record.by);
	counting_record_line(counting, change->command.site, change->command.by, change->record.before);
	change->waiter.settled = raise_settled;
	counting_append(counting, &change->record, &change->waiter);
}

/* ---- at core 0 ------------------------------------------------------------------------------------------------------------- */

static void command_deliver(struct core *to, struct message *message)
{
	struct worker *worker = to->gateway;

	deciding_take(worker->counting->deciding, owner_of(message, struct change, message));
}

static void ask_decider(struct change *change)
{
	struct counting *counting = change->asker;

	change->stamp_ns = counting_now_ns(counting);
	metric_add(&counting->worker->metrics.count_asked, 1);
	if (counting->deciding) {
		deciding_take(counting->deciding, change);
		return;
	}
	change->message.deliver = command_deliver;
	core_post(&counting->worker->core, 0, &change->message);
}

/* ---- what is recorded of the one who asks ------------------------------------------------------------------------------------ */

/* What is longer was refused before. */
static struct record_text keep(char **at, const char *bytes, size_t size, size_t most)
{
	struct record_text text = { *at, size };

	check(size <= most);
	if (text.size > 0)
		memcpy(*at, bytes, text.size);
	*at += text.size;
	return text;
}

static bool is_request_id(struct http_text text)
{
	if (text.size == 0 || text.size > REQUEST_ID_BYTES_MAX)
		return false;
	for (size_t i = 0; i < text.size; i++)
		if (text.bytes[i] < 0x21 || text.bytes[i] > 0x7e)
			return false;
	return true;
}

/* The client's own, or one that no other request of this gateway has. It is told in the answer. */
static struct http_text request_id_of(struct exchange *x)
{
	struct counting *counting = x->worker->counting;
	struct http_text given = http_known(&x->request, HTTP_NAME_X_REQUEST_ID);
	char *made;
	size_t n;

	if (is_request_id(given))
		return given;
	made = arena_take(&x->arena, 16 + 1 + 16);
	n = http_hex_write(made, counting->request_prefix, 16);
	made[n++] = '-';
	n += http_hex_write(made + n, counting->request_number++, 1);
	return (struct http_text){ made, n };
}

/* Which request a key belongs to, and whose: two clients who call theirs alike are told so. No secret: whoever finds two requests with one digest deceives himself alone. The words are
 * constants, because the digest is kept in the journal. */
static void digest_of(const struct exchange *x, struct http_text body, uint8_t digest[RECORD_DIGEST_BYTES])
{
	static const uint64_t SEEDS[2][2] = { { 0x706f737465726e31, 0x6b65792d64696731 }, { 0x706f737465726e32, 0x6b65792d64696732 } };
	const struct http_text method = x->request.method_text, path = x->request.path;
	const char *actor = actor_constant(x);
	const size_t size = method.size + 1 + path.size + 1 + strlen(actor) + 1 + body.size;
	char *whole = malloc(size), *at = whole;

	check(whole);
	at = (char *)memcpy(at, method.bytes, method.size) + method.size;
	*at++ = ' ';
	at = (char *)memcpy(at, path.bytes, path.size) + path.size;
	*at++ = '\n';
	at = (char *)memcpy(at, actor, strlen(actor)) + strlen(actor);
	*at++ = '\n';
	if (body.size > 0)
		memcpy(at, body.bytes, body.size);
	for (unsigned half = 0; half < 2; half++) {
		const uint64_t hash = siphash(SEEDS[half], (const uint8_t *)whole, size);

		for (unsigned i = 0; i < 8; i++)
			digest[8 * half + i] = (uint8_t)(hash >> (8 * i));
	}
	free(whole);
}

static struct change *change_new(struct exchange *x, const struct command *command, const struct change_words *words)
{
	const char *address = x->client ? x->client : "";
	const struct http_text request_id = request_id_of(x), actor = actor_recorded(x);
	const size_t size = words->site.size + words->reason.size + words->key.size + actor.size + strlen(address) + request_id.size;
	struct change *change = calloc(1, sizeof *change + size);
	char *at;

	check(change);
	change->asker = x->worker->counting;
	change->exchange = x;
	change->command = *command;
	link_init(&change->in_line);
	link_init(&change->followers);
	timer_init(&change->patience, &x->scope, &x->task);
	at = change->bytes;
	change->record.site = keep(&at, words->site.bytes, words->site.size, COUNT_SITE_BYTES_MAX);
	change->record.reason = keep(&at, words->reason.bytes, words->reason.size, RECORD_TEXT_BYTES_MAX);
	change->record.key = keep(&at, words->key.bytes, words->key.size, KEYS_BYTES_MAX);
	change->record.actor = keep(&at, actor.bytes, actor.size, RECORD_TEXT_BYTES_MAX);
	change->record.address = keep(&at, address, strlen(address), RECORD_TEXT_BYTES_MAX);
	change->record.request_id = keep(&at, request_id.bytes, request_id.size, REQUEST_ID_BYTES_MAX);
	if (words->key.size > 0)
		digest_of(x, words->fingerprint_of, change->record.digest);
	http_add_known(&x->answer, HTTP_NAME_X_REQUEST_ID, request_id);
	change->asker->under_way++;
	return change;
}

/* ---- for targets ------------------------------------------------------------------------------------------------------------- */

/* A site comes into being with the first thing that is recorded of it, unless only rules may found one. */
static const struct reason *site_find(struct exchange *x, struct command *command, struct http_text site)
{
	const bool founds = command->kind == COMMAND_RULES || x->worker->config->count.new_sites;
	struct count *count = x->worker->gateway->count;
	enum count_answer answer;

	if (site.size == 0) {
		command->site = COUNT_STUDY;
		return NULL;
	}
	answer = count_find(count, site.bytes, site.size, &command->site);
	if (!founds && (answer == COUNT_SITE_UNKNOWN || (answer == COUNT_OK && !count_known(count, command->site))))
		return &SITE_UNKNOWN;
	if (answer == COUNT_SITE_UNKNOWN) {
		command->site = COUNT_SITE_NONE;
		return NULL;
	}
	if (answer == COUNT_OK)
		answer = count_reserve(count, x->worker->core.index, command->site);
	return site_reason(answer);
}

/* This core has the permit for it, so it is going to be recorded, and the site may be entered. */
static const struct reason *site_found(struct counting *counting, struct command *command, struct http_text site)
{
	const struct worker *worker = counting->worker;
	struct count *count = worker->gateway->count;
	enum count_answer answer = count_reserve(count, worker->core.index, COUNT_STUDY);

	if (answer == COUNT_OK)
		answer = count_enter(count, site.bytes, site.size, &command->site);
	if (answer == COUNT_OK)
		answer = count_reserve(count, worker->core.index, command->site);
	return site_reason(answer);
}

struct change *change_begin(struct exchange *x, struct command *command, const struct change_words *words, const struct reason **reason)
{
	struct counting *counting = x->worker->counting;
	const bool plain = words->key.size == 0 && plainly_raises(command);
	struct change *change;

	*reason = counting->under_way >= x->worker->config->limits.changes_max ? &CHANGES_FULL : counting_failure(counting);
	if (!*reason)
		*reason = site_find(x, command, words->site);
	if (!*reason && plain && command->site == COUNT_SITE_NONE && permits_may_found(counting->permits, command->by))
		*reason = site_found(counting, command, words->site);
	if (*reason)
		return NULL;
	change = change_new(x, command, words);
	timer_set(&change->patience, PATIENCE_MS);
	if (plain && command->site != COUNT_SITE_NONE && permits_take(counting->permits, command->site, command->by)) {
		raise_here(change);
	} else {
		if (words->key.size == 0)
			permits_ask(counting->permits, &change->command);
		ask_decider(change);
	}
	return change;
}

bool change_done(const struct change *change)
{
	return change->done || change->patience.fired;
}

const struct reason *change_failure(const struct change *change)
{
	if (!change->done)
		return &COUNTING_LATE;
	return change->failure ? change->failure : refusal_reason((enum count_refusal)change->result.outcome);
}

bool change_founded(const struct change *change)
{
	check(change->done);
	return change->outcome.founds;
}

void change_reservation(const struct change *change, uint64_t *reservation, uint64_t *expires_ms)
{
	check(change->done);
	*reservation = change->result.reservation;
	*expires_ms = change->result.expires_ms;
}

void change_end(struct change *change)
{
	timer_clear(&change->patience);
	change->exchange = NULL;
	if (change->done)
		change_free(change);
}
