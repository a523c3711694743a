/* gateway/upstream/pool.h — connections to the servers of one upstream, on one core.
 *
 * A connection has a scope of its own under the core's root. An exchange borrows it for one attempt: its pipes then wake the
 * exchange's task. It comes back when request and answer were whole and both sides keep it alive; otherwise its scope is
 * closed. Idle ones lie in a stack (the warm one first) and watch for the server's end.
 *
 *   pool_borrow ─▶ (connecting) ─▶ in use ──pool_put──▶ idle ──pool_borrow──▶ in use …
 *                                    └──pool_drop──▶ closing ─▶ gone
 *
 * Owner: the worker owns pools; a pool owns its connections.   Thread: its core's.   Units: ms.
 * Errors: reasons on the connection's pipes; NULL from pool_borrow when the limit of connections leaves no room, or when
 * health checks have taken every server out (pool_is_down tells which).
 * Limits: limits.connections_max to all upstreams of a core, upstream's keep_alive_max idle ones. */
#ifndef GATEWAY_UPSTREAM_POOL_H
#define GATEWAY_UPSTREAM_POOL_H

#include "gateway/config.h"
#include "ring/pipe.h"
#include "ring/scope.h"
#include "ring/task.h"
#include "ring/tcp.h"

struct upstream_pool;
struct worker;

struct upstream_server {
	const struct config_address *address;
	unsigned live;                   /* connections in use */
	struct link idle;                /* struct upstream.in_idle, the warm one first */
	uint64_t shunned_until_ms;       /* after a failed connect, other servers are asked first */
	bool down;                       /* health checks say so (gateway/upstream/health.h): it is asked nothing */
};

struct upstream_pool {
	struct worker *worker;
	const struct config_upstream *config;
	struct upstream_server *servers;
	unsigned next;                   /* round robin */
	unsigned idle_count;
	unsigned down_count;             /* servers */
};

struct upstream {
	uint32_t magic;
	struct scope scope;
	struct upstream_pool *pool;
	struct upstream_server *server;
	struct tcp tcp;
	struct pipe in;                  /* from the server */
	struct pipe out;                 /* to the server */
	struct task task;                /* runs while idle: has the server ended it? */
	struct link in_idle;
	struct upstream **borrower;      /* NULL while idle; set to NULL here when the connection ends */
	bool reused;                     /* it has carried a request before this one */
	bool counted;                    /* in upstream_opened */
};

void pool_init(struct upstream_pool *, struct worker *, const struct config_upstream *);
void pool_fini(struct upstream_pool *);

/* Idle connections are closed; for draining. */
void pool_close_idle(struct upstream_pool *, const struct reason *);

/* A health check's word. Going down closes its idle connections; those in use go on, and fail or succeed by themselves. */
void pool_server_down(struct upstream_pool *, struct upstream_server *, bool down);

/* Every server is: whoever wants one is told so at once. Without health checks none ever is. */
static inline bool pool_is_down(const struct upstream_pool *pool)
{
	return pool->down_count == pool->config->server_count;
}

/* A connection for one attempt, idle or newly connecting; bytes may be put into `out` at once. `task` is woken by both pipes.
 * `*place` holds the connection; it becomes NULL when the connection ends by itself. `client`, its address, chooses for hash and random_two;
 * `fresh`: none out of the stack (a retry after an old one turned out dead). */
struct upstream *pool_borrow(struct upstream_pool *, struct upstream **place, struct task *task, const char *client, bool fresh);

void pool_put(struct upstream *);    /* whole on both sides: for the next */
void pool_drop(struct upstream *, const struct reason *); /* cut short */

#endif
