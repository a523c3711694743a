/* gateway/upstream/health.h — is a server well? It is asked, by each core for itself, for as long as the core serves.
 *
 *   well ──2 failures in a row──▶ down (pool_server_down: it is given no request) ──1 success──▶ well
 *
 * A question is `GET path` on a connection of its own, every `every` and up to an eighth sooner or later, so that the cores and
 * the gateways of a site do not ask in step. Good is a whole answer 2xx or 3xx within the shorter of `every` and
 * timeouts.upstream_connect + upstream_response. What is our own want (no descriptor, no buffer) is neither good nor bad.
 * A server begins as well: a gateway that has just started knows nothing against it.
 *
 * Between two questions a server's health is a scope and a timer, nothing else; a question has a scope of its own below.
 *
 * Owner: the worker.   Thread: its core's.   Units: ms.   Errors: reasons, in a line on standard error and in metrics.
 * Limits: one question a server and core at a time, beside limits.connections_max; HEALTH_BODY_BYTES_MAX of an answer. */
#ifndef GATEWAY_UPSTREAM_HEALTH_H
#define GATEWAY_UPSTREAM_HEALTH_H

#include "ring/scope.h"
#include "ring/task.h"
#include "ring/timer.h"

#define HEALTH_FAILURES_MAX 2u           /* in a row: then it is down */
#define HEALTH_BODY_BYTES_MAX (64u * 1024u) /* read for politeness; an answer that is longer has said enough */

struct question;
struct upstream_pool;
struct upstream_server;
struct worker;

/* One server, as one core sees it. */
struct health {
	uint32_t magic;
	unsigned index;                  /* in worker->health */
	struct scope scope;              /* under the core's root */
	struct worker *worker;
	struct upstream_pool *pool;
	struct upstream_server *server;
	struct timer timer;              /* until the next question */
	struct task task;
	struct question *question;       /* NULL between two */
	uint64_t asked_ms;               /* when the last one began */
	unsigned failures;               /* in a row */
};

/* For every server of the worker's pools whose upstream has a health.path. */
void health_open(struct worker *);

/* No more questions, for draining: the one under way is given up. What is down stays so. Harmless twice. */
void health_close(struct worker *, const struct reason *);

/* After the core has run. */
void health_fini(struct worker *);

#endif
