/* gateway/serve/count.c — how many patients are enrolled at a site.
 *
 *   GET  /count?siteId=S            → 200 {"count":N}        a site never seen has 0, and is not entered by asking
 *   POST /count  siteId=S&reason=R  → 200 {"status":"ok"}    one more, and durable before it is answered
 *   /sites and what lies below it   ─▶ sites.c, sites_page.c, sites_events.c
 *
 * The numbers live in cache/count: each core adds to a line of its own, and a reader sums the lines, so nothing is locked and no
 * update can be lost. A change goes through gateway/counting/change.h. The answer of the GET is formatted by hand: it is asked most. */
#include "gateway/counting/change.h"
#include "gateway/counting/refusal.h"
#include "gateway/gateway.h"
#include "gateway/http/form.h"
#include "gateway/http/media_type.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/sites.h"
#include "gateway/serve/sites_json.h"
#include "gateway/verdict.h"

#include <string.h>

#define FORM_BYTES_MAX 4096u

struct raise {
	struct change *change;           /* NULL: not begun */
	struct http_text key;
	size_t bytes;
	char text[FORM_BYTES_MAX];
};

static bool site_find(struct exchange *x, struct http_text form, struct http_text *site)
{
	const struct reason *reason = http_form_find(&x->arena, form, "siteId", site);

	if (!reason && !site->bytes)
		reason = &SITE_MISSING;
	if (reason)
		exchange_refuse(x, reason);
	return !reason;
}

/* ---- GET ---------------------------------------------------------------------------------------------------------------------- */

static void answer_count(struct exchange *x, int64_t n)
{
	char body[40] = "{\"count\":";
	size_t size = strlen(body);

	if (n < 0)
		body[size++] = '-';
	size += http_number_write(body + size, (uint64_t)(n < 0 ? -n : n));
	body[size++] = '}';
	exchange_answer_text(x, 200, "application/json", body, size);
}

static void count_get(struct exchange *x)
{
	const struct count *count = x->worker->gateway->count;
	struct http_text site;
	enum count_answer answer;
	uint32_t number;

	if (!site_find(x, x->request.query, &site))
		return;
	answer = count_find(count, site.bytes, site.size, &number);
	if (answer == COUNT_OK)
		answer_count(x, count_read(count, number));
	else if (answer == COUNT_SITE_UNKNOWN)
		answer_count(x, 0);
	else
		exchange_refuse(x, site_reason(answer));
}

/* ---- POST --------------------------------------------------------------------------------------------------------------------- */

static const struct reason *raise_refused(struct exchange *x, struct http_text *key)
{
	/* A length of 0 is no form of any kind, and lacks the siteId. */
	const bool empty = x->request.body == HTTP_BODY_NONE || (x->request.has_length && x->request.content_length == 0);

	if (!empty && !http_media_type_is(http_known(&x->request, HTTP_NAME_CONTENT_TYPE), "application/x-www-form-urlencoded"))
		return &FORM_EXPECTED;
	if (x->request.has_length && x->request.content_length > FORM_BYTES_MAX)
		return &FORM_TOO_LARGE;
	return idempotency_key_read(&x->request, &x->arena, key);
}

static void raise_begin(struct exchange *x)
{
	struct http_text key;
	const struct reason *reason = raise_refused(x, &key);
	struct raise *raise;

	if (reason) {
		exchange_refuse(x, reason);
		return;
	}
	raise = arena_take(&x->arena, sizeof *raise);
	raise->change = NULL;
	raise->key = key;
	raise->bytes = 0;
	x->state = raise;
	task_wake(&x->task);
}

static void raise_change(struct exchange *x, struct raise *raise)
{
	struct command command = { .kind = COMMAND_CHANGE, .by = { [COUNT_ENROLLED] = 1 } };
	const struct http_text form = { raise->text, raise->bytes };
	struct change_words words = { .key = raise->key, .fingerprint_of = form };
	const struct reason *reason;

	if (!site_find(x, form, &words.site))
		return;
	reason = site_reason(count_judge(words.site.bytes, words.site.size));
	if (!reason)
		reason = http_form_find(&x->arena, form, "reason", &words.reason);
	if (!reason && !change_reason_is_good(words.reason))
		reason = &CHANGE_REASON_BAD;
	if (!reason)
		raise->change = change_begin(x, &command, &words, &reason);
	if (reason)
		exchange_refuse(x, reason);
}

static void raise_answer(struct exchange *x, struct raise *raise)
{
	static const char done[] = "{\"status\":\"ok\"}";
	const struct reason *failure = change_failure(raise->change);

	if (failure)
		exchange_refuse(x, failure);
	else
		exchange_answer_text(x, 200, "application/json", done, sizeof done - 1);
}

/* False: it was refused. */
static bool form_gather(struct exchange *x, struct raise *raise)
{
	const uint8_t *piece;
	size_t n;

	while ((piece = pipe_peek(x->in, &n))) {
		if (n > FORM_BYTES_MAX - raise->bytes) {
			exchange_refuse(x, &FORM_TOO_LARGE);
			return false;
		}
		memcpy(raise->text + raise->bytes, piece, n);
		raise->bytes += n;
		pipe_consume(x->in, n);
	}
	return true;
}

static void count_step(struct exchange *x)
{
	struct raise *raise = x->state;

	if (x->answered || !raise || !form_gather(x, raise))
		return;
	/* A broken body is answered by the carrier; half a form counts nothing. */
	if (!raise->change && pipe_at_end(x->in) && !x->in->reason)
		raise_change(x, raise);
	if (raise->change && change_done(raise->change))
		raise_answer(x, raise);
}

/* ---- the target --------------------------------------------------------------------------------------------------------------- */

static void count_of_site(struct exchange *x)
{
	switch (x->request.method) {
	case HTTP_METHOD_GET:
	case HTTP_METHOD_HEAD:
		count_get(x);
		break;
	case HTTP_METHOD_POST:
		raise_begin(x);
		break;
	default:
		x->allow = "GET, HEAD, POST";
		exchange_refuse(x, &METHOD_NOT_ALLOWED);
		break;
	}
}

/* On the admin socket there is no route. */
static void count_begin(struct exchange *x)
{
	const bool whole = x->route && x->route->match == CONFIG_MATCH_PATH;
	struct sites_target target;
	const struct reason *reason = sites_target_read(&target, &x->arena, x->route ? x->route->path : "/sites", whole, x->request.path);

	if (reason)
		exchange_refuse(x, reason);
	else if (target.place == COUNT_OF_SITE)
		count_of_site(x);
	else if (target.place == SITES_NOWHERE)
		exchange_refuse(x, &ROUTE_NONE);
	else
		sites_begin(x, &target);
}

static void count_ended(struct exchange *x)
{
	struct raise *raise = x->state;

	if (raise && raise->change)
		change_end(raise->change);
}

static const char *count_where(const struct exchange *x)
{
	const struct raise *raise = x->state;

	return raise && raise->change && !x->answered ? "count: being recorded" : "count";
}

const struct serve SERVE_COUNT = {
	.name = "count",
	.begin = count_begin,
	.step = count_step,
	.ended = count_ended,
	.where = count_where,
};
