/* See gateway/exchange.h. */
#include "gateway/exchange.h"
#include "gateway/gateway.h"
#include "gateway/route.h"
#include "gateway/serve/serve.h"
#include "gateway/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXCHANGE_MAGIC 0xe8c4a9e0u

static const char *exchange_where(const struct scope *scope)
{
	const struct exchange *x = owner_of(scope, const struct exchange, scope);

	if (!x->serve)
		return x->refusal ? "refused" : "head";
	return x->serve->where ? x->serve->where(x) : x->serve->name;
}

static size_t exchange_bytes(const struct scope *scope)
{
	const struct exchange *x = owner_of(scope, const struct exchange, scope);

	const size_t own = x->body_in.bytes + x->body_out.bytes + x->arena.bytes;

	return own + (x->serve && x->serve->bytes_held ? x->serve->bytes_held(x) : 0);
}

static void exchange_ended(struct scope *scope)
{
	struct exchange *x = owner_of(scope, struct exchange, scope);

	check(x->magic == EXCHANGE_MAGIC);
	if (x->serve && x->serve->ended)
		x->serve->ended(x);
	x->carrier->ended(x);
	pipe_fini(&x->body_in);
	pipe_fini(&x->body_out);
	arena_fini(&x->arena);
	x->magic = 0;
	free(x);
}

static const struct scope_kind exchange_kind = {
	.name = "exchange",
	.step = exchange_where,
	.bytes_held = exchange_bytes,
	.ended = exchange_ended,
};

/* A refused exchange has nothing more to do: its answer is whole, and what the target holds goes in `ended`. */
static void exchange_step(struct task *task)
{
	struct exchange *x = owner_of(task, struct exchange, task);

	check(x->magic == EXCHANGE_MAGIC);
	if (x->serve && !x->refused && x->serve->step)
		x->serve->step(x);
}

struct exchange *exchange_new(struct worker *worker, struct scope *parent, const struct carrier *carrier, void *carried_by)
{
	struct exchange *x = malloc(sizeof *x);

	check(x);
	memset(x, 0, offsetof(struct exchange, arena_own));
	x->magic = EXCHANGE_MAGIC;
	x->worker = worker;
	x->carrier = carrier;
	x->carried_by = carried_by;
	x->began_ns = worker->core.now_ns;
	scope_open(&x->scope, parent, &exchange_kind);
	task_init(&x->task, &x->scope, "exchange", exchange_step);
	arena_init(&x->arena, x->arena_own, sizeof x->arena_own);
	pipe_init(&x->body_in, &worker->core.pool, PIPE_BYTES_MAX);
	pipe_init(&x->body_out, &worker->core.pool, PIPE_BYTES_MAX);
	x->in = &x->body_in;
	x->out = &x->body_out;
	x->in->reader = &x->task;
	x->out->writer = &x->task;
	http_head_init(&x->answer, &x->arena);
	return x;
}

void exchange_begin(struct exchange *x, const struct serve *serve)
{
	if (!serve) {
		const struct reason *refusal;

		x->route = route_find(x->worker->config, x->request.host_name, x->request.path, x->client_identity, &refusal);
		if (!x->route) {
			exchange_refuse(x, refusal);
			return;
		}
		if (x->request.has_length && x->request.content_length > x->route->body_bytes_max) {
			exchange_refuse(x, &HTTP_BODY_TOO_LARGE);
			return;
		}
		serve = serve_of(x->route->target);
	}
	x->serve = serve;
	serve->begin(x);
}

void exchange_answer(struct exchange *x)
{
	check(!x->answered && x->answer.status >= 100);
	x->answered = true;
	x->carrier->wake(x);
}

void exchange_answer_text(struct exchange *x, unsigned status, const char *type, const void *body, size_t n)
{
	x->answer.status = status;
	x->answer.body = HTTP_BODY_LENGTH;
	x->answer.has_length = true;
	x->answer.content_length = n;
	http_add_known(&x->answer, HTTP_NAME_CONTENT_TYPE, http_text_of(type));
	if (x->request.method != HTTP_METHOD_HEAD)
		pipe_write(x->out, body, n);
	pipe_end(x->out);
	exchange_answer(x);
}

/* Names and sentences are ours and contain nothing that JSON would have to escape (a test sees to it). */
static void refuse_answer(struct exchange *x, const struct verdict *verdict)
{
	const struct reason *reason = verdict->reason;
	size_t size = strlen(reason->name) + strlen(reason->sentence) + 64;
	char *body = arena_take(&x->arena, size);
	int n = snprintf(body, size, "{\"error\":\"%s\",\"message\":\"%s\"}\n", reason->name, reason->sentence);

	http_head_init(&x->answer, &x->arena);
	if (verdict->status == 405)
		http_add_known(&x->answer, HTTP_NAME_ALLOW, http_text_of(x->allow ? x->allow : "GET"));
	if (verdict->status == 426) {
		x->answer.upgrade = HTTP_TEXT("websocket");
		http_add_known(&x->answer, HTTP_NAME_SEC_WEBSOCKET_VERSION, HTTP_TEXT("13"));
	}
	if (verdict->status == 503)
		http_add_known(&x->answer, HTTP_NAME_RETRY_AFTER, HTTP_TEXT("1"));
	exchange_answer_text(x, verdict->status, "application/json", body, (size_t)n);
}

void exchange_note(struct exchange *x, const struct reason *reason)
{
	if (x->refusal || reason == &RING_DONE)
		return;
	x->refusal = reason;
	metrics_refused(&x->worker->metrics, reason);
	log_refusal(&x->worker->log, x->client, reason);
}

void exchange_refuse(struct exchange *x, const struct reason *reason)
{
	const struct verdict *verdict = verdict_of(reason);

	if (x->refused)
		return;
	x->refused = true;
	exchange_note(x, reason);
	if (x->answered)
		pipe_break(x->out, reason);
	else
		refuse_answer(x, verdict->status ? verdict : verdict_of(NULL));
}

void exchange_done(struct exchange *x)
{
	check(x->upgraded);
	x->done = true;
	x->carrier->wake(x);
}

void exchange_wait(struct exchange *x, const struct tcp_wait *wait)
{
	x->carrier->wait(x, wait);
}

unsigned exchange_silences(const struct exchange *x)
{
	return x->carrier->silences(x);
}
