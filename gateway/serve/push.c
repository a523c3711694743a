/* gateway/serve/push.c — a notification for a patient, to every socket of his, on whichever core.
 *
 *   POST /push/P   {"body":…, "ttl":"1h"}   → 202 {"id":"…","delivered":n}    n sockets took it: it is written to them, or
 *                                                                          stands in the queue of a reader who is behind
 *   GET /push/P/ID                          → 501: what became of one is not kept in this version
 *
 * `ttl` is read and checked; for a patient who is away nothing is kept yet, and "delivered":0 says so. The answer waits
 * until every core has answered, for a bounded time: who has not is named in "cores_silent". */
#include "gateway/gateway.h"
#include "gateway/live/delivery.h"
#include "gateway/live/json.h"
#include "gateway/live/live.h"
#include "gateway/serve/serve.h"
#include "gateway/serve/websocket.h"
#include "gateway/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 2000u                /* for cores to answer */

struct push {
	size_t patient_size;
	char patient[PATIENT_BYTES_MAX];
	char *text;                      /* the request's body so far */
	size_t text_bytes, text_space;
	struct delivery *delivery;       /* NULL: not sent yet */
	struct timer patience;
	char id[NOTE_ID_SIZE + 1];
};

/* ---- where it leads ------------------------------------------------------------------------------------------------------ */

/* The path behind the route's: P, or P/ID. */
static struct http_text path_below(const struct exchange *x)
{
	size_t skip = strlen(x->route->path);
	struct http_text path = x->request.path;

	if (skip > path.size)
		skip = path.size;
	while (skip < path.size && path.bytes[skip] == '/')
		skip++;
	return (struct http_text){ path.bytes + skip, path.size - skip };
}

static void push_begin(struct exchange *x)
{
	struct http_text patient = path_below(x);
	const char *slash = patient.size > 0 ? memchr(patient.bytes, '/', patient.size) : NULL;
	const bool get = x->request.method == HTTP_METHOD_GET || x->request.method == HTTP_METHOD_HEAD;
	struct push *push = arena_take(&x->arena, sizeof *push);
	const struct reason *reason;

	*push = (struct push){ .text = NULL };
	timer_init(&push->patience, &x->scope, &x->task);
	x->state = push;
	if (slash)
		patient.size = (size_t)(slash - patient.bytes);
	reason = patient_of_segment(patient, push->patient, &push->patient_size);
	if (!reason && slash)
		reason = get ? &TARGET_NOT_BUILT : &METHOD_NOT_ALLOWED;
	else if (!reason && x->request.method != HTTP_METHOD_POST)
		reason = &METHOD_NOT_ALLOWED;
	else if (!reason && !websocket_own_page(x))
		reason = &PUSH_ORIGIN;
	else if (!reason && x->request.has_length && x->request.content_length > x->worker->config->limits.push_bytes_max)
		reason = &PUSH_TOO_LARGE;
	x->allow = slash ? "GET, HEAD" : "POST";
	if (reason)
		exchange_refuse(x, reason);
	else
		task_wake(&x->task);
}

/* ---- what is pushed -------------------------------------------------------------------------------------------------------- */

static void text_add(struct push *push, const uint8_t *bytes, size_t n)
{
	if (n > push->text_space - push->text_bytes) {
		push->text_space = 2 * push->text_space > push->text_bytes + n ? 2 * push->text_space : push->text_bytes + n;
		push->text = realloc(push->text, push->text_space);
		check(push->text);
	}
	memcpy(push->text + push->text_bytes, bytes, n);
	push->text_bytes += n;
}

static void push_send(struct exchange *x, struct push *push)
{
	struct push_text text;
	const struct reason *reason = push_text_read(&text, (struct http_text){ push->text, push->text_bytes });

	if (reason) {
		exchange_refuse(x, reason);
	} else {
		note_id_make(push->id);
		metric_add(&x->worker->metrics.live_pushes, 1);
		push->delivery = delivery_begin(x, (struct http_text){ push->patient, push->patient_size },
		                                note_new(push->id, text.body.bytes, text.body.size));
		timer_set(&push->patience, PATIENCE_MS);
	}
	/* The note has the body; the rest was waste as soon as it was read. */
	free(push->text);
	push->text = NULL;
	push->text_bytes = push->text_space = 0;
}

static size_t push_bytes(const struct exchange *x)
{
	const struct push *push = x->state;

	return push ? push->text_space : 0;
}

/* ---- the answer ------------------------------------------------------------------------------------------------------------ */

static void push_answer(struct exchange *x, struct push *push)
{
	const unsigned cores = x->worker->gateway->cores.count;
	const size_t size = 128 + 12 * (size_t)cores;
	char *body = arena_take(&x->arena, size);
	int n = snprintf(body, size, "{\"id\":\"%s\",\"delivered\":%u", push->id, delivery_count(push->delivery));

	timer_clear(&push->patience);
	for (unsigned i = 0, silent = 0; i < cores; i++)
		if (delivery_silent(push->delivery, i))
			n += snprintf(body + n, size - (size_t)n, "%s%u", silent++ == 0 ? ",\"cores_silent\":[" : ",", i);
	n += snprintf(body + n, size - (size_t)n, "%s}\n", delivery_complete(push->delivery) ? "" : "]");
	exchange_answer_text(x, 202, "application/json", body, (size_t)n);
}

static void push_step(struct exchange *x)
{
	struct push *push = x->state;
	const uint8_t *piece;
	size_t n;

	if (x->answered)
		return;
	while ((piece = pipe_peek(x->in, &n))) {
		if (n > x->worker->config->limits.push_bytes_max - push->text_bytes) {
			exchange_refuse(x, &PUSH_TOO_LARGE);
			return;
		}
		text_add(push, piece, n);
		pipe_consume(x->in, n);
	}
	/* A broken body is answered by the carrier; half a push is none. */
	if (!push->delivery && pipe_at_end(x->in) && !x->in->reason)
		push_send(x, push);
	if (push->delivery && (delivery_complete(push->delivery) || push->patience.fired))
		push_answer(x, push);
}

static void push_ended(struct exchange *x)
{
	struct push *push = x->state;

	if (push->delivery)
		delivery_end(push->delivery);
	free(push->text);
}

static const char *push_where(const struct exchange *x)
{
	const struct push *push = x->state;

	return push && push->delivery ? "push: cores are asked" : "push";
}

const struct serve SERVE_PUSH = {
	.name = "push",
	.begin = push_begin,
	.step = push_step,
	.ended = push_ended,
	.where = push_where,
	.bytes_held = push_bytes,
};
