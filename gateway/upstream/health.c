/* See gateway/upstream/health.h.
 *
 *   timer ─▶ health_step ─▶ question_open: connect, GET ─▶ question_step: head, body ─▶ scope closed with the outcome
 *     ▲                                                            (or by its deadline)            │
 *     └───────────────────────── health_judge ◀──────────────── question_ended ◀───────────────────┘
 *
 * The outcome of a question is the reason its scope was closed with: RING_DONE is a good answer. */
#include "gateway/upstream/health.h"
#include "gateway/gateway.h"
#include "gateway/http/http1.h"
#include "gateway/upstream/pool.h"
#include "gateway/verdict.h"
#include "ring/tcp.h"

#include <stdio.h>
#include <stdlib.h>

#define HEALTH_MAGIC 0x4ea17400u
#define QUESTION_MAGIC 0x4ea17401u
#define FIRST_WITHIN_MS 1000u            /* from the start to the first question, however long `every` is */
#define INTERIMS_MAX 16u                 /* 1xx answers before a final one */
#define ARENA_BYTES 2048u

struct question {
	uint32_t magic;
	struct scope scope;              /* under its health's */
	struct health *health;
	struct task task;
	struct tcp tcp;
	struct pipe in, out;
	struct pipe body;                /* of the answer; thrown away */
	struct arena arena;
	struct http_head request, answer;
	struct http1_reader reader;
	unsigned interims;
	unsigned status;                 /* 0: the final head has not come */
	_Alignas(16) uint8_t memory[ARENA_BYTES];
};

/* ---- when ------------------------------------------------------------------------------------------------------------------ */

static uint64_t dice(const struct health *h, uint64_t below)
{
	uint64_t n = (h->worker->core.now_ns ^ (uint64_t)h->worker->core.index << 40 ^ (uint64_t)h->index << 20) + 1;

	n *= 0x9e3779b97f4a7c15u;
	return (n ^ n >> 29) % below;
}

static uint64_t every_ms(const struct health *h)
{
	return h->pool->config->health.every_ms;
}

static uint64_t question_ms(const struct health *h)
{
	const struct config_timeouts *timeouts = &h->worker->config->timeouts;
	const uint64_t answer_ms = (uint64_t)timeouts->upstream_connect_ms + timeouts->upstream_response_ms;

	return every_ms(h) < answer_ms ? every_ms(h) : answer_ms;
}

/* Counted from the last question's beginning, so that slow answers do not make the pace slower. */
static void next_plan(struct health *h)
{
	const uint64_t pause_ms = every_ms(h) - every_ms(h) / 8 + dice(h, every_ms(h) / 4 + 1);
	const uint64_t gone_ms = h->worker->core.now_ms - h->asked_ms;

	timer_set(&h->timer, pause_ms > gone_ms ? pause_ms - gone_ms : 0);
}

/* ---- what an outcome means ------------------------------------------------------------------------------------------------- */

static void say_down(const struct health *h, const struct reason *reason, unsigned status)
{
	char told[32] = "";

	if (status > 0)
		snprintf(told, sizeof told, ", answered %u", status);
	log_say(h->worker->log.level, CONFIG_LOG_WARN, "core %u: server %s of upstream %s is down: %s (%s%s)", h->worker->core.index,
	        h->server->address->text, h->pool->config->name, reason->sentence, reason->name, told);
}

static void health_judge(struct health *h, const struct reason *outcome, unsigned status)
{
	if (outcome == &RING_DONE) {
		h->failures = 0;
		if (h->server->down) {
			pool_server_down(h->pool, h->server, false);
			log_say(h->worker->log.level, CONFIG_LOG_INFO, "core %u: server %s of upstream %s is back, answered %u",
			        h->worker->core.index, h->server->address->text, h->pool->config->name, status);
		}
		return;
	}
	metric_add(&h->worker->metrics.upstream_checks_failed, 1);
	if (++h->failures >= HEALTH_FAILURES_MAX && !h->server->down) {
		pool_server_down(h->pool, h->server, true);
		say_down(h, outcome, status);
	}
}

/* ---- one question ---------------------------------------------------------------------------------------------------------- */

/* Where we had no descriptor, or no buffer to receive into, nothing was learned about the server. Taking that for its failure
 * would take out every server at once, under the very load that needs them. */
static bool our_own_want(const struct question *q, const struct reason *outcome)
{
	return outcome == &TCP_DESCRIPTORS_SPENT || outcome == &TCP_STARVED || (outcome == &HEALTH_LATE && q->tcp.held);
}

static void question_ended(struct scope *scope)
{
	struct question *q = owner_of(scope, struct question, scope);
	struct health *h = q->health;

	check(q->magic == QUESTION_MAGIC && h->magic == HEALTH_MAGIC && h->question == q);
	h->question = NULL;
	if (scope_live(&h->scope)) {
		if (!our_own_want(q, scope->reason))
			health_judge(h, scope->reason, q->status);
		next_plan(h);
	}
	tcp_fini(&q->tcp);
	pipe_fini(&q->in);
	pipe_fini(&q->out);
	pipe_fini(&q->body);
	arena_fini(&q->arena);
	q->magic = 0;
	free(q);
}

static const char *question_where(const struct scope *scope)
{
	const struct question *q = owner_of(scope, const struct question, scope);

	if (q->tcp.connecting)
		return "connecting";
	return q->status > 0 ? "reading body" : "waiting for answer";
}

static size_t question_bytes(const struct scope *scope)
{
	const struct question *q = owner_of(scope, const struct question, scope);

	return q->in.bytes + q->out.bytes + q->arena.bytes;
}

static const struct scope_kind question_kind = {
	.name = "health question",
	.step = question_where,
	.bytes_held = question_bytes,
	.ended = question_ended,
};

static void answer_begin(struct question *q)
{
	struct http_limits limits = HTTP_LIMITS_USUAL;

	limits.body_bytes_max = UINT64_MAX;
	http1_reader_begin_answer(&q->reader, &q->answer, &q->arena, &limits, &q->request);
}

/* True: the final head is there. */
static bool read_head(struct question *q)
{
	for (; q->interims <= INTERIMS_MAX; q->interims++) {
		switch (http1_read_head(&q->reader, &q->in)) {
		case HTTP1_MORE:
			return false;
		case HTTP1_HEAD:
			if (!http_status_interim(q->answer.status)) {
				q->status = q->answer.status;
				return true;
			}
			answer_begin(q);
			break;
		case HTTP1_END:
			scope_close(&q->scope, &UPSTREAM_CLOSED);
			return false;
		default:
			scope_close(&q->scope, q->reader.reason);
			return false;
		}
	}
	scope_close(&q->scope, &UPSTREAM_ANSWER_BAD);
	return false;
}

/* The body is read, not because it matters, but because a server whose writing fails every few seconds fills its log. */
static void read_body(struct question *q)
{
	const struct reason *outcome = q->status >= 200 && q->status < 400 ? &RING_DONE : &HEALTH_STATUS;

	for (;;) {
		enum http1 read = http1_read_body(&q->reader, &q->in, &q->body);

		pipe_consume(&q->body, q->body.bytes);
		if (read == HTTP1_DONE || q->reader.body_bytes > HEALTH_BODY_BYTES_MAX)
			scope_close(&q->scope, outcome);
		else if (read == HTTP1_BROKEN)
			scope_close(&q->scope, q->reader.reason);
		if (read != HTTP1_FULL || !scope_live(&q->scope))
			return;
	}
}

static void question_step(struct task *task)
{
	struct question *q = owner_of(task, struct question, task);

	check(q->magic == QUESTION_MAGIC);
	if (q->status > 0 || read_head(q))
		read_body(q);
}

static struct http_text host_of(const struct config_address *address)
{
	/* A UNIX socket's path is no authority (RFC 9110 §7.2); it is on this machine. */
	return address->socket.ss_family == AF_UNIX ? HTTP_TEXT("localhost") : http_text_of(address->text);
}

static void request_make(struct question *q)
{
	struct http_head *request = &q->request;

	http_head_init(request, &q->arena);
	request->method = HTTP_METHOD_GET;
	request->method_text = HTTP_TEXT("GET");
	request->path = http_text_of(q->health->pool->config->health.path);
	request->host = host_of(q->health->server->address);
	request->keep_alive = false;
	http_add_known(request, HTTP_NAME_USER_AGENT, HTTP_TEXT("postern-health"));
}

static void question_open(struct health *h)
{
	struct worker *worker = h->worker;
	const struct config_address *address = h->server->address;
	const uint32_t within_ms = (uint32_t)question_ms(h), connect_ms = worker->config->timeouts.upstream_connect_ms;
	struct question *q = calloc(1, sizeof *q);

	check(q);
	q->magic = QUESTION_MAGIC;
	q->health = h;
	h->question = q;
	h->asked_ms = worker->core.now_ms;
	scope_open(&q->scope, &h->scope, &question_kind);
	scope_deadline(&q->scope, within_ms, &HEALTH_LATE);
	task_init(&q->task, &q->scope, "health question", question_step);
	pipe_init(&q->in, &worker->core.pool, PIPE_BYTES_MAX);
	pipe_init(&q->out, &worker->core.pool, PIPE_BYTES_MAX);
	pipe_init(&q->body, &worker->core.pool, PIPE_BYTES_MAX);
	arena_init(&q->arena, q->memory, sizeof q->memory);
	tcp_init(&q->tcp, &q->scope, -1, &q->in, &q->out);
	q->in.reader = q->out.writer = q->tcp.watcher = &q->task;
	tcp_send_within(&q->tcp, within_ms);
	request_make(q);
	answer_begin(q);
	http1_write_head(&q->out, &q->request);
	tcp_connect(&q->tcp, (const struct sockaddr *)&address->socket, address->length,
	            connect_ms < within_ms ? connect_ms : within_ms);
}

/* ---- one server ------------------------------------------------------------------------------------------------------------ */

static void health_step(struct task *task)
{
	struct health *h = owner_of(task, struct health, task);

	check(h->magic == HEALTH_MAGIC);
	if (!h->question && !h->timer.set)
		question_open(h);
}

static const char *health_where(const struct scope *scope)
{
	const struct health *h = owner_of(scope, const struct health, scope);

	if (h->server->down)
		return h->question ? "down: asking" : "down: resting";
	return h->question ? "well: asking" : "well: resting";
}

static const struct scope_kind health_kind = {
	.name = "health check",
	.step = health_where,
};

static void server_open(struct worker *worker, struct upstream_pool *pool, struct upstream_server *server)
{
	struct health *h = &worker->health[worker->health_count];
	uint64_t first_ms;

	*h = (struct health){ .magic = HEALTH_MAGIC, .index = worker->health_count++, .worker = worker, .pool = pool, .server = server };
	scope_open(&h->scope, &worker->core.root, &health_kind);
	task_init(&h->task, &h->scope, "health check", health_step);
	timer_init(&h->timer, &h->scope, &h->task);
	first_ms = every_ms(h) < FIRST_WITHIN_MS ? every_ms(h) : FIRST_WITHIN_MS;
	timer_set(&h->timer, dice(h, first_ms) + 1);
}

void health_open(struct worker *worker)
{
	const struct config *config = worker->config;
	unsigned count = 0;

	for (unsigned i = 0; i < config->upstream_count; i++)
		count += config->upstreams[i].health.path ? config->upstreams[i].server_count : 0;
	worker->health = calloc(count + 1, sizeof *worker->health);
	check(worker->health);
	for (unsigned i = 0; i < config->upstream_count; i++)
		for (unsigned k = 0; config->upstreams[i].health.path && k < config->upstreams[i].server_count; k++)
			server_open(worker, &worker->pools[i], &worker->pools[i].servers[k]);
	check(worker->health_count == count);
}

void health_close(struct worker *worker, const struct reason *reason)
{
	for (unsigned i = 0; i < worker->health_count; i++)
		scope_close(&worker->health[i].scope, reason);
}

void health_fini(struct worker *worker)
{
	free(worker->health);
	worker->health = NULL;
	worker->health_count = 0;
}
