/* See gateway/upstream/pool.h. */
#include "gateway/upstream/pool.h"
#include "gateway/gateway.h"
#include "gateway/verdict.h"

#include <stdlib.h>

#define UPSTREAM_MAGIC 0x0b57eaa1u
#define SHUN_MS 1000u                    /* a server that refused is asked again after this */

/* ---- one connection --------------------------------------------------------------------------------------------------- */

static void upstream_ended(struct scope *scope)
{
	struct upstream *u = owner_of(scope, struct upstream, scope);
	struct worker *worker = u->pool->worker;

	check(u->magic == UPSTREAM_MAGIC);
	if (u->borrower)
		*u->borrower = NULL;
	if (!link_alone(&u->in_idle)) {
		link_remove(&u->in_idle);
		u->pool->idle_count--;
		metric_add(&worker->metrics.upstream_idle, (uint64_t)-1);
	} else if (u->server) {
		u->server->live--;
	}
	tcp_fini(&u->tcp);
	pipe_fini(&u->in);
	pipe_fini(&u->out);
	worker->upstream_count--;
	metric_add(&worker->metrics.upstream_live, (uint64_t)-1);
	u->magic = 0;
	free(u);
}

static const char *upstream_where(const struct scope *scope)
{
	const struct upstream *u = owner_of(scope, const struct upstream, scope);

	if (u->tcp.connecting)
		return "connecting";
	return u->borrower ? "in use" : "idle";
}

static size_t upstream_bytes(const struct scope *scope)
{
	const struct upstream *u = owner_of(scope, const struct upstream, scope);

	return u->in.bytes + u->out.bytes;
}

static const char *upstream_waits(const struct scope *scope, uint64_t *left_ms)
{
	const struct upstream *u = owner_of(scope, const struct upstream, scope);

	return tcp_waits(&u->tcp, left_ms);
}

static const struct scope_kind upstream_kind = {
	.waits = upstream_waits,
	.name = "upstream",
	.step = upstream_where,
	.bytes_held = upstream_bytes,
	.ended = upstream_ended,
};

/* Only idle connections wake this task: whatever the server does now, an end or bytes nobody asked for, ends it. */
static void upstream_step(struct task *task)
{
	struct upstream *u = owner_of(task, struct upstream, task);

	check(u->magic == UPSTREAM_MAGIC);
	if (!u->borrower && (u->in.ended || u->in.bytes > 0 || u->out.refusal))
		scope_close(&u->scope, &RING_DONE);
}

static struct upstream *upstream_open(struct upstream_pool *pool, struct upstream_server *server)
{
	struct worker *worker = pool->worker;
	struct upstream *u = calloc(1, sizeof *u);

	check(u);
	u->magic = UPSTREAM_MAGIC;
	u->pool = pool;
	u->server = server;
	link_init(&u->in_idle);
	scope_open(&u->scope, &worker->core.root, &upstream_kind);
	pipe_init(&u->in, &worker->core.pool, PIPE_BYTES_MAX);
	pipe_init(&u->out, &worker->core.pool, PIPE_BYTES_MAX);
	task_init(&u->task, &u->scope, "upstream", upstream_step);
	tcp_init(&u->tcp, &u->scope, -1, &u->in, &u->out);
	tcp_send_within(&u->tcp, worker->config->timeouts.send_ms);
	tcp_connect(&u->tcp, (const struct sockaddr *)&server->address->socket, server->address->length,
	            worker->config->timeouts.upstream_connect_ms);
	worker->upstream_count++;
	metric_add(&worker->metrics.upstream_live, 1);
	return u;
}

/* It was established, and is counted as that, once. */
static void count_opened(struct upstream *u)
{
	if (u->counted || u->tcp.connecting || u->tcp.fd < 0 || u->tcp.bytes_sent == 0)
		return;
	u->counted = true;
	metric_add(&u->pool->worker->metrics.upstream_opened, 1);
}

/* ---- which server ------------------------------------------------------------------------------------------------------ */

/* A kept connection of whatever server of this worker: the coldest of the first that has one. */
static bool idle_give_up(struct worker *worker)
{
	for (unsigned i = 0; i < worker->config->upstream_count; i++) {
		struct upstream_pool *pool = &worker->pools[i];

		for (unsigned k = 0; k < pool->config->server_count; k++) {
			struct link *link = pool->servers[k].idle.previous;

			for (; link != &pool->servers[k].idle; link = link->previous) {
				struct upstream *u = owner_of(link, struct upstream, in_idle);

				if (scope_live(&u->scope)) {
					scope_close(&u->scope, &RING_DONE);
					return true;
				}
			}
		}
	}
	return false;
}

static uint64_t mix(uint64_t seed)
{
	seed ^= seed >> 31;
	seed *= 0x9e3779b97f4a7c15u;
	return seed ^ seed >> 29;
}

/* 0: it may be asked. 1: it has refused lately, and is asked when nobody else is left. 2: it is down. */
static unsigned shunned(const struct upstream_pool *pool, unsigned i)
{
	if (pool->servers[i].down)
		return 2;
	return pool->servers[i].shunned_until_ms > pool->worker->core.now_ms;
}

/* The wanted server, or the next one behind it that has not refused lately; when all have, the wanted one all the same, or the
 * next one behind it that is not down. */
static unsigned server_from(const struct upstream_pool *pool, unsigned wanted)
{
	const unsigned count = pool->config->server_count;

	for (unsigned degree = 0; degree < 2; degree++)
		for (unsigned i = 0; i < count; i++)
			if (shunned(pool, (wanted + i) % count) <= degree)
				return (wanted + i) % count;
	return wanted;
}

static unsigned less_busy(const struct upstream_pool *pool, unsigned a, unsigned b)
{
	if (shunned(pool, a) != shunned(pool, b))
		return shunned(pool, a) > shunned(pool, b) ? b : a;
	return pool->servers[b].live < pool->servers[a].live ? b : a;
}

static uint64_t seed_of(const char *client)
{
	uint64_t seed = 0xcbf29ce484222325u;

	for (const char *at = client; *at; at++)
		seed = (seed ^ (uint8_t)*at) * 0x100000001b3u;
	return seed;
}

static struct upstream_server *server_choose(struct upstream_pool *pool, const char *client)
{
	const unsigned count = pool->config->server_count;
	unsigned chosen = pool->next++ % count;
	uint64_t seed;

	switch (pool->config->balance) {
	case CONFIG_ROUND_ROBIN:
		break;
	case CONFIG_LEAST:
		/* Starting at a place that moves, so that equals take turns. */
		for (unsigned i = 1, first = chosen; i < count; i++)
			chosen = less_busy(pool, chosen, (first + i) % count);
		break;
	case CONFIG_RANDOM_TWO:
		seed = seed_of(client) ^ pool->worker->core.now_ns;
		chosen = less_busy(pool, (unsigned)(mix(seed) % count), (unsigned)(mix(seed ^ 0x517cc1b727220a95u) % count));
		break;
	case CONFIG_HASH:
		chosen = (unsigned)(mix(seed_of(client)) % count);
		break;
	}
	return &pool->servers[server_from(pool, chosen)];
}

/* ---- the pool ------------------------------------------------------------------------------------------------------------ */

void pool_init(struct upstream_pool *pool, struct worker *worker, const struct config_upstream *config)
{
	*pool = (struct upstream_pool){ .worker = worker, .config = config };
	pool->servers = calloc(config->server_count, sizeof *pool->servers);
	check(pool->servers);
	for (unsigned i = 0; i < config->server_count; i++) {
		pool->servers[i].address = &config->servers[i];
		link_init(&pool->servers[i].idle);
	}
}

void pool_fini(struct upstream_pool *pool)
{
	free(pool->servers);
	pool->servers = NULL;
}

static void server_close_idle(struct upstream_server *server, const struct reason *reason)
{
	for (struct link *link = server->idle.next; link != &server->idle; link = link->next)
		scope_close(&owner_of(link, struct upstream, in_idle)->scope, reason);
}

void pool_close_idle(struct upstream_pool *pool, const struct reason *reason)
{
	for (unsigned i = 0; i < pool->config->server_count; i++)
		server_close_idle(&pool->servers[i], reason);
}

void pool_server_down(struct upstream_pool *pool, struct upstream_server *server, bool down)
{
	if (server->down == down)
		return;
	server->down = down;
	pool->down_count += down ? 1u : -1u;
	metric_add(&pool->worker->metrics.upstream_down, down ? 1 : (uint64_t)-1);
	if (down)
		server_close_idle(server, &UPSTREAM_DOWN);
}

/* The warmest idle one that is still good; those that have just been closed are in the list until they have ended. */
static struct upstream *idle_take(struct upstream_pool *pool, struct upstream_server *server)
{
	for (struct link *link = server->idle.next; link != &server->idle; link = link->next) {
		struct upstream *u = owner_of(link, struct upstream, in_idle);

		if (scope_live(&u->scope) && !u->in.ended && u->in.bytes == 0 && !u->out.refusal) {
			link_remove(&u->in_idle);
			pool->idle_count--;
			metric_add(&pool->worker->metrics.upstream_idle, (uint64_t)-1);
			u->reused = true;
			return u;
		}
	}
	return NULL;
}

struct upstream *pool_borrow(struct upstream_pool *pool, struct upstream **place, struct task *task, const char *client, bool fresh)
{
	struct upstream_server *server = server_choose(pool, client);
	struct upstream *u;

	check(!*place);
	if (pool_is_down(pool))
		return NULL;
	u = fresh ? NULL : idle_take(pool, server);
	if (u)
		metric_add(&pool->worker->metrics.upstream_reused, 1);
	else if (pool->worker->upstream_count >= pool->worker->config->limits.connections_max && !idle_give_up(pool->worker))
		return NULL;
	else
		u = upstream_open(pool, server);
	server->live++;
	u->borrower = place;
	u->in.reader = u->out.writer = u->tcp.watcher = task;
	*place = u;
	return u;
}

void pool_put(struct upstream *u)
{
	struct upstream_pool *pool = u->pool;
	const struct tcp_wait idle = {
		.name = "next request",
		.ms = pool->worker->config->timeouts.upstream_keep_alive_ms,
		.late = &RING_DONE,
	};

	if (!scope_live(&u->scope) || pool->worker->draining || u->server->down || u->in.ended || u->in.bytes > 0 || u->out.refusal ||
	    pool->idle_count >= pool->config->keep_alive_max) {
		pool_drop(u, &RING_DONE);
		return;
	}
	*u->borrower = NULL;
	u->borrower = NULL;
	u->server->live--;
	count_opened(u);
	u->in.reader = u->out.writer = u->tcp.watcher = &u->task;
	link_put_first(&u->server->idle, &u->in_idle);
	pool->idle_count++;
	metric_add(&pool->worker->metrics.upstream_idle, 1);
	tcp_receive_within(&u->tcp, &idle);
}

void pool_drop(struct upstream *u, const struct reason *reason)
{
	if (u->borrower)
		*u->borrower = NULL;
	u->borrower = NULL;
	count_opened(u);
	u->in.reader = u->out.writer = u->tcp.watcher = &u->task;
	if (u->tcp.failure == &TCP_REFUSED || u->tcp.failure == &TCP_CONNECT_LATE || u->tcp.failure == &TCP_UNREACHABLE)
		u->server->shunned_until_ms = u->pool->worker->core.now_ms + SHUN_MS;
	scope_close(&u->scope, reason);
}
