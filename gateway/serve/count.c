/* gateway/serve/count.c — how many patients are enrolled at a site.
 *
 *   GET  /count?siteId=S   → 200 {"count":N}        a site never seen has 0, and is not entered by asking
 *   POST /count  siteId=S  → 200 {"status":"ok"}    one more, on this core's shard
 *
 * The numbers live in cache/count: each core adds to a line of its own, and a reader sums the lines, so nothing is locked
 * and no update can be lost. They are kept in memory. Answers are formatted by hand. */
#include "gateway/gateway.h"
#include "gateway/serve/serve.h"
#include "gateway/verdict.h"

#include <string.h>

#define FORM_BYTES_MAX 4096u

struct form {
	size_t bytes;
	char text[FORM_BYTES_MAX];
};

static const struct reason *reason_of(enum count_answer answer)
{
	switch (answer) {
	case COUNT_OK:
	case COUNT_SITE_UNKNOWN:
		return NULL;
	case COUNT_SITE_EMPTY:
	case COUNT_SITE_TOO_LONG:
	case COUNT_SITE_NOT_UTF8:
	case COUNT_SITE_CONTROL:
		return &SITE_NAME_BAD;
	case COUNT_SITES_SPENT:
	case COUNT_MEMORY_SPENT:
		return &SITES_FULL;
	case COUNT_LINE_SPENT:
		return &SITE_COUNT_FULL;
	}
	return &SITE_NAME_BAD;
}

static bool site_find(struct exchange *x, struct http_text form, struct http_text *site)
{
	const struct reason *reason = http_form_find(&x->arena, form, "siteId", site);

	if (!reason && !site->bytes)
		reason = &SITE_MISSING;
	if (reason)
		exchange_refuse(x, reason);
	return !reason;
}

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
	struct http_text site;
	enum count_answer answer;
	uint32_t number;

	if (!site_find(x, x->request.query, &site))
		return;
	answer = count_find(x->worker->gateway->count, site.bytes, site.size, &number);
	if (answer == COUNT_OK)
		answer_count(x, count_read(x->worker->gateway->count, number));
	else if (answer == COUNT_SITE_UNKNOWN)
		answer_count(x, 0);
	else
		exchange_refuse(x, reason_of(answer));
}

static void count_raise(struct exchange *x, struct http_text form)
{
	static const char done[] = "{\"status\":\"ok\"}";
	struct count *count = x->worker->gateway->count;
	struct http_text site;
	enum count_answer answer;
	uint32_t number;

	if (!site_find(x, form, &site))
		return;
	answer = count_enter(count, site.bytes, site.size, &number);
	if (answer == COUNT_OK)
		answer = count_add(count, x->worker->core.index, number, 1);
	if (answer == COUNT_OK)
		exchange_answer_text(x, 200, "application/json", done, sizeof done - 1);
	else
		exchange_refuse(x, reason_of(answer));
}

/* The media type without its parameters (charset=UTF-8 is usual). */
static bool is_form(struct http_text type)
{
	const char *end = type.bytes ? memchr(type.bytes, ';', type.size) : NULL;

	if (end)
		type.size = (size_t)(end - type.bytes);
	while (type.size > 0 && (type.bytes[type.size - 1] == ' ' || type.bytes[type.size - 1] == '\t'))
		type.size--;
	return http_text_is_nocase(type, "application/x-www-form-urlencoded");
}

static void count_begin(struct exchange *x)
{
	/* /sites and what lies below it is the wider interface of a later version. */
	if (x->route->match != CONFIG_MATCH_PATH) {
		exchange_refuse(x, &TARGET_NOT_BUILT);
		return;
	}
	switch (x->request.method) {
	case HTTP_METHOD_GET:
	case HTTP_METHOD_HEAD:
		count_get(x);
		return;
	case HTTP_METHOD_POST:
		break;
	default:
		x->allow = "GET, HEAD, POST";
		exchange_refuse(x, &METHOD_NOT_ALLOWED);
		return;
	}
	if (x->request.body != HTTP_BODY_NONE && !is_form(http_known(&x->request, HTTP_NAME_CONTENT_TYPE))) {
		exchange_refuse(x, &FORM_EXPECTED);
		return;
	}
	if (x->request.has_length && x->request.content_length > FORM_BYTES_MAX) {
		exchange_refuse(x, &FORM_TOO_LARGE);
		return;
	}
	task_wake(&x->task);
}

static void count_step(struct exchange *x)
{
	struct form *form = x->state;
	size_t n;
	const uint8_t *piece;

	if (x->answered)
		return;
	if (!form) {
		x->state = form = arena_take(&x->arena, sizeof *form);
		form->bytes = 0;
	}
	while ((piece = pipe_peek(x->in, &n))) {
		if (n > FORM_BYTES_MAX - form->bytes) {
			exchange_refuse(x, &FORM_TOO_LARGE);
			return;
		}
		memcpy(form->text + form->bytes, piece, n);
		form->bytes += n;
		pipe_consume(x->in, n);
	}
	/* A broken body is answered by the carrier; half a form counts nothing. */
	if (pipe_at_end(x->in) && !x->in->reason)
		count_raise(x, (struct http_text){ form->text, form->bytes });
}

const struct serve SERVE_COUNT = {
	.name = "count",
	.begin = count_begin,
	.step = count_step,
};
