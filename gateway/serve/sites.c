/* gateway/serve/sites.c — one site: what it is, its rules, its changes, its reservations; and the study's cap.
 *
 *   GET    /sites/S                               200 SITE, 304, 404
 *   PUT    /sites/S {status, cap, reason}         200 SITE, 201, 412
 *   PUT    /sites   {cap, reason}                 200 {"study":…}
 *   POST   /sites/S/enrolments {by, reason}       200 {"status":"ok"}      and screenings, randomisations, withdrawals
 *   POST   /sites/S/reservations {by, ttl, …}     201 {"id":…}
 *   POST   /sites/S/reservations/ID/confirm       200 {"status":"ok"}
 *   DELETE /sites/S/reservations/ID               200 {"status":"ok"}
 *
 * All that changes goes the same way: the body is gathered and read, becomes a command, and is answered when that is durable. */
#include "gateway/counting/change.h"
#include "gateway/counting/refusal.h"
#include "gateway/gateway.h"
#include "gateway/http/media_type.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/sites.h"
#include "gateway/serve/sites_json.h"
#include "gateway/verdict.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define STUDY_JSON_BYTES_MAX 512u

struct sites {
	struct sites_target target;
	struct http_text key;
	struct change *change;           /* NULL: not begun */
	struct command command;
	size_t bytes;
	char text[SITES_BODY_BYTES_MAX];
};

static struct http_text text_print(struct exchange *x, const char *format, ...) __attribute__((format(printf, 2, 3)));

static struct http_text text_print(struct exchange *x, const char *format, ...)
{
	char text[64];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	check(n > 0 && (size_t)n < sizeof text);
	return (struct http_text){ arena_copy(&x->arena, text, (size_t)n), (size_t)n };
}

/* ---- what a site is ------------------------------------------------------------------------------------------------------------ */

/* False: nothing was ever said of it. */
static bool site_look(const struct exchange *x, struct http_text site, struct count_site *found)
{
	const struct count *count = x->worker->gateway->count;
	uint32_t number;

	if (count_find(count, site.bytes, site.size, &number) != COUNT_OK || !count_known(count, number))
		return false;
	count_look(count, number, found);
	return true;
}

static void answer_site(struct exchange *x, unsigned status, struct http_text site, const struct count_site *found)
{
	char body[SITE_JSON_BYTES_MAX];

	http_add_known(&x->answer, HTTP_NAME_ETAG, text_print(x, "\"%" PRIu64 "\"", found->revision));
	/* It may be kept, and is to be asked for again with If-None-Match. */
	http_add_known(&x->answer, HTTP_NAME_CACHE_CONTROL, HTTP_TEXT("no-cache"));
	if (status == 304) {
		x->answer.status = 304;
		pipe_end(x->out);
		exchange_answer(x);
		return;
	}
	exchange_answer_text(x, status, "application/json", body, site_json_write(body, false, site, found));
}

static bool condition_holds(const struct exchange *x, enum http_name name, uint64_t revision, bool weak)
{
	return condition_find(&x->request, name) == CONDITION_ANY || condition_has(&x->request, name, revision, weak);
}

static void site_get(struct exchange *x, struct http_text site)
{
	const bool match = condition_find(&x->request, HTTP_NAME_IF_MATCH) != CONDITION_NONE;
	struct count_site found;

	if (!site_look(x, site, &found))
		exchange_refuse(x, &SITE_UNKNOWN);
	else if (match && !condition_holds(x, HTTP_NAME_IF_MATCH, found.revision, false))
		exchange_refuse(x, &SITE_CHANGED);
	else if (condition_holds(x, HTTP_NAME_IF_NONE_MATCH, found.revision, true))
		answer_site(x, 304, site, &found);
	else
		answer_site(x, 200, site, &found);
}

/* ---- what may be asked ----------------------------------------------------------------------------------------------------------- */

static bool is_get(const struct exchange *x)
{
	return x->request.method == HTTP_METHOD_GET || x->request.method == HTTP_METHOD_HEAD;
}

/* NULL: this method is known at this place. */
static const struct reason *method_check(struct exchange *x, enum sites_place place)
{
	static const char *const allowed[] = {
		[SITES_ALL] = "GET, HEAD, PUT",
		[SITES_EVENTS] = "GET",
		[SITES_ONE] = "GET, HEAD, PUT",
		[SITES_CHANGE] = "POST",
		[SITES_RESERVE] = "POST",
		[SITES_RESERVATION] = "DELETE",
		[SITES_CONFIRM] = "POST",
	};
	const enum http_method method = x->request.method;
	bool known = false;

	x->allow = allowed[place];
	switch (place) {
	case SITES_ALL:
	case SITES_ONE:
		known = is_get(x) || method == HTTP_METHOD_PUT;
		break;
	case SITES_EVENTS:
		known = method == HTTP_METHOD_GET;
		break;
	case SITES_RESERVATION:
		known = method == HTTP_METHOD_DELETE;
		break;
	default:
		known = method == HTTP_METHOD_POST;
		break;
	}
	return known ? NULL : &METHOD_NOT_ALLOWED;
}

/* RFC 9110 §13.1.1: a server that receives If-Match "MUST evaluate" it. Where there is no revision to hold it against, a change
 * that its client wants under a condition is not made without one. */
static const struct reason *conditions_check(const struct exchange *x, enum sites_place place)
{
	const enum condition_found match = condition_find(&x->request, HTTP_NAME_IF_MATCH);
	const enum condition_found none = condition_find(&x->request, HTTP_NAME_IF_NONE_MATCH);

	if (place == SITES_ONE)
		return match == CONDITION_MALFORMED || none == CONDITION_MALFORMED ? &CONDITION_BAD : NULL;
	if (is_get(x))
		return NULL;
	return match != CONDITION_NONE || none != CONDITION_NONE ? &CONDITION_BAD : NULL;
}

static const struct reason *body_check(const struct exchange *x)
{
	if (x->request.body == HTTP_BODY_NONE || (x->request.has_length && x->request.content_length == 0))
		return NULL;
	if (!http_media_type_is(http_known(&x->request, HTTP_NAME_CONTENT_TYPE), "application/json"))
		return &JSON_EXPECTED;
	return x->request.has_length && x->request.content_length > SITES_BODY_BYTES_MAX ? &JSON_TOO_LARGE : NULL;
}

/* ---- commands ------------------------------------------------------------------------------------------------------------------------ */

static unsigned members_of(const struct sites *s)
{
	switch (s->target.place) {
	case SITES_ALL:
		return SITES_MAY_CAP | SITES_MAY_REASON;
	case SITES_ONE:
		return SITES_MAY_STATUS | SITES_MAY_CAP | SITES_MAY_REASON;
	case SITES_CHANGE:
		return SITES_MAY_BY | SITES_MAY_LOWER | SITES_MAY_REASON;
	case SITES_RESERVE:
		return SITES_MAY_BY | SITES_MAY_TTL | SITES_MAY_REASON;
	default:
		return SITES_MAY_REASON;
	}
}

/* The decider judges them, at the moment of the change. RFC 9110 §13.1.2: If-None-Match compares weakly, If-Match (§13.1.1) strongly. */
static const struct reason *conditions_take(const struct exchange *x, struct command *command)
{
	if (!condition_read(&x->request, HTTP_NAME_IF_MATCH, false, &command->if_match) ||
	    !condition_read(&x->request, HTTP_NAME_IF_NONE_MATCH, true, &command->if_none_match))
		return &CONDITION_BAD;
	return NULL;
}

static uint64_t reservation_new(void)
{
	uint64_t number = 0;

	while (number == 0)
		check(getrandom(&number, sizeof number, 0) == sizeof number);
	return number;
}

static const struct reason *command_make(const struct exchange *x, struct sites *s, const struct sites_body *body)
{
	struct command *command = &s->command;

	*command = (struct command){ .kind = COMMAND_RULES };
	switch (s->target.place) {
	case SITES_CHANGE:
		command->kind = COMMAND_CHANGE;
		command->by[s->target.kind] = body->by;
		return NULL;
	case SITES_RESERVE:
		command->kind = COMMAND_RESERVE;
		command->amount = body->by;
		command->reservation = reservation_new();
		command->expires_ms = kernel_wall_ns(x->worker->core.kernel) / 1000000 +
		                      (body->ttl_ms > 0 ? body->ttl_ms : x->worker->config->timeouts.reservation_ms);
		return NULL;
	case SITES_CONFIRM:
	case SITES_RESERVATION:
		command->kind = s->target.place == SITES_CONFIRM ? COMMAND_CONFIRM : COMMAND_RELEASE;
		command->reservation = s->target.reservation;
		return command->reservation > 0 ? NULL : &RESERVATION_UNKNOWN;
	default:
		command->sets_status = body->sets_status;
		command->sets_cap = body->sets_cap;
		command->status = body->status;
		command->cap = body->cap;
		return s->target.place == SITES_ONE ? conditions_take(x, command) : NULL;
	}
}

/* As exchange_refuse, with a message that says what is wrong with this body. */
static void refuse_json(struct exchange *x, const struct sites_fault *fault)
{
	char body[64 + JSON_STRING_BYTES_MAX(sizeof fault->sentence)] = "{\"error\":\"json_bad\",\"message\":";
	size_t n = strlen(body);

	n += json_string_write(body + n, http_text_of(fault->sentence));
	memcpy(body + n, "}\n", 2);
	exchange_note(x, &JSON_BAD);
	exchange_answer_text(x, verdict_of(&JSON_BAD)->status, "application/json", body, n + 2);
}

/* The body, and behind it the conditions where there are any: the same rules under another condition are another request. */
static struct http_text fingerprint_of(struct exchange *x, const struct sites *s)
{
	static const enum http_name names[] = { HTTP_NAME_IF_MATCH, HTTP_NAME_IF_NONE_MATCH };
	const struct http_field *field = NULL;
	size_t size = s->bytes;
	char *text, *at;

	for (unsigned i = 0; i < array_count(names); i++)
		while ((field = http_known_next(&x->request, names[i], field)))
			size += 2 + field->value.size;
	if (s->key.size == 0 || size == s->bytes)
		return (struct http_text){ s->text, s->bytes };
	text = arena_take(&x->arena, size);
	at = (char *)memcpy(text, s->text, s->bytes) + s->bytes;
	for (unsigned i = 0; i < array_count(names); i++)
		while ((field = http_known_next(&x->request, names[i], field))) {
			*at++ = '\n';
			*at++ = (char)('0' + i);
			at = (char *)memcpy(at, field->value.bytes, field->value.size) + field->value.size;
		}
	return (struct http_text){ text, size };
}

static void sites_change(struct exchange *x, struct sites *s)
{
	const struct http_text text = { s->text, s->bytes };
	struct change_words words = { .site = s->target.site, .key = s->key, .fingerprint_of = fingerprint_of(x, s) };
	const struct reason *reason;
	struct sites_body body;
	struct sites_fault fault;

	if (!sites_body_read(&body, text, members_of(s), &fault)) {
		refuse_json(x, &fault);
	} else {
		words.reason = body.reason;
		reason = command_make(x, s, &body);
		if (!reason)
			s->change = change_begin(x, &s->command, &words, &reason);
		if (reason)
			exchange_refuse(x, reason);
	}
	sites_body_fini(&body);
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------------- */

static void answer_reservation(struct exchange *x, struct sites *s)
{
	const struct http_text base = s->target.base, segment = s->target.segment;
	char body[256 + JSON_STRING_BYTES_MAX(COUNT_SITE_BYTES_MAX)];
	char *location = arena_take(&x->arena, base.size + segment.size + 64);
	uint64_t id, expires_ms;
	size_t n;
	int size;

	change_reservation(s->change, &id, &expires_ms);
	size = sprintf(location, "%.*s/%.*s/reservations/%016" PRIx64, (int)base.size, base.bytes, (int)segment.size, segment.bytes, id);
	http_add_known(&x->answer, HTTP_NAME_LOCATION, (struct http_text){ location, (size_t)size });
	n = (size_t)sprintf(body, "{\"id\":\"%016" PRIx64 "\",\"site\":", id);
	n += json_string_write(body + n, s->target.site);
	n += (size_t)sprintf(body + n, ",\"by\":%" PRId64 ",\"expires\":\"", s->command.amount);
	utc_write(body + n, expires_ms);
	n += UTC_BYTES;
	memcpy(body + n, "\"}", 2);
	exchange_answer_text(x, 201, "application/json", body, n + 2);
}

static void answer_study(struct exchange *x)
{
	char body[STUDY_JSON_BYTES_MAX] = "{\"study\":";
	struct count_site study;
	size_t n = strlen(body);

	count_look(x->worker->gateway->count, COUNT_STUDY, &study);
	n += study_json_write(body + n, false, &study);
	body[n++] = '}';
	exchange_answer_text(x, 200, "application/json", body, n);
}

static void sites_answer(struct exchange *x, struct sites *s)
{
	static const char done[] = "{\"status\":\"ok\"}";
	const struct reason *failure = change_failure(s->change);
	struct count_site found;

	if (failure) {
		exchange_refuse(x, failure);
		return;
	}
	switch (s->target.place) {
	case SITES_ALL:
		answer_study(x);
		break;
	case SITES_ONE:
		/* By its name: where an earlier request of this key founded it, this one may have come when there was no such site. Now there
		 * is: the first rules of a site are recorded whatever they say, and a site stays. */
		check(site_look(x, s->target.site, &found));
		answer_site(x, change_founded(s->change) ? 201 : 200, s->target.site, &found);
		break;
	case SITES_RESERVE:
		answer_reservation(x, s);
		break;
	default:
		exchange_answer_text(x, 200, "application/json", done, sizeof done - 1);
		break;
	}
}

/* ---- the target ------------------------------------------------------------------------------------------------------------------------ */

void sites_begin(struct exchange *x, const struct sites_target *target)
{
	const struct reason *reason = method_check(x, target->place);
	struct http_text key = { NULL, 0 };
	struct sites *s;

	x->serve = &SERVE_SITES;
	if (!reason)
		reason = conditions_check(x, target->place);
	if (!reason && !is_get(x))
		reason = body_check(x);
	/* Of a PUT, too: what is said again later would undo what others have said since. */
	if (!reason && !is_get(x))
		reason = idempotency_key_read(&x->request, &x->arena, &key);
	if (reason) {
		exchange_refuse(x, reason);
	} else if (target->place == SITES_EVENTS) {
		sites_events_begin(x);
	} else if (is_get(x) && target->place == SITES_ALL) {
		sites_page_begin(x);
	} else if (is_get(x)) {
		site_get(x, target->site);
	} else {
		s = arena_take(&x->arena, sizeof *s);
		s->target = *target;
		s->key = key;
		s->change = NULL;
		s->bytes = 0;
		x->state = s;
		task_wake(&x->task);
	}
}

/* False: it was refused. */
static bool body_gather(struct exchange *x, struct sites *s)
{
	const uint8_t *piece;
	size_t n;

	while ((piece = pipe_peek(x->in, &n))) {
		if (n > SITES_BODY_BYTES_MAX - s->bytes) {
			exchange_refuse(x, &JSON_TOO_LARGE);
			return false;
		}
		memcpy(s->text + s->bytes, piece, n);
		s->bytes += n;
		pipe_consume(x->in, n);
	}
	return true;
}

static void sites_step(struct exchange *x)
{
	struct sites *s = x->state;

	if (x->answered || !s || !body_gather(x, s))
		return;
	/* A broken body is answered by the carrier; half of one changes nothing. */
	if (!s->change && pipe_at_end(x->in) && !x->in->reason)
		sites_change(x, s);
	if (s->change && change_done(s->change))
		sites_answer(x, s);
}

static void sites_ended(struct exchange *x)
{
	struct sites *s = x->state;

	if (s && s->change)
		change_end(s->change);
}

static const char *sites_where(const struct exchange *x)
{
	const struct sites *s = x->state;

	return s && s->change && !x->answered ? "sites: being recorded" : "sites";
}

/* Begun by SERVE_COUNT. */
const struct serve SERVE_SITES = {
	.name = "count",
	.step = sites_step,
	.ended = sites_ended,
	.where = sites_where,
};
