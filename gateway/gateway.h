/* gateway/gateway.h — the program: what all cores share, and what each has for itself.
 *
 *   struct gateway       immutable once the cores run: configuration, the table of counts, the list of cores
 *   struct worker        one for each core: its listeners, pools of upstream connections, metrics, log
 *
 * Owner: main.   Thread: gateway any (read only, and its atomics); worker its core's, its metrics may be read by any.
 * Units: as named.   Errors: none here.   Limits: config.limits. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "cache/count.h"
#include "gateway/config.h"
#include "gateway/counting/counting.h"
#include "gateway/log.h"
#include "gateway/metric.h"
#include "gateway/ticket_store.h"
#include "ring/core.h"
#include "ring/listener.h"
#include "ring/timer.h"
#include "tls/thread.h"

#include <stdatomic.h>

struct health;
struct live;
struct reload;
struct tls_context;
struct tls_material;
struct upstream_pool;
struct worker;

struct gateway {
	const struct config *config;
	struct cores cores;              /* cores.all[i] is &workers[i]->core */
	struct worker **workers;         /* by core index; each allocated by itself, so that cores share no line */
	struct count *count;             /* NULL: nothing here counts */
	struct counting_start counting;
	struct tls_material **materials; /* by listener; NULL: plain. Core 0's, once the cores run */
	struct ticket_store tickets;
	uint64_t started_ms;             /* of the monotonic clock */
	_Atomic bool draining;
};

/* Who is told goodbye while draining, each kind in a line of its own. */
enum worker_line {
	WORKER_SOCKETS,                  /* WebSockets that end here: in the first half of timeouts.drain */
	WORKER_TUNNELS,                  /* those that go through: in the second, because their service cannot be asked to finish */
	WORKER_LINES
};

struct worker_goodbyes {
	uint64_t next_us;                /* since draining began: when the next one is told */
	uint64_t step_us;                /* between two */
};

#define WORKER_GOODBYES_PER_S 1000u      /* clients come back as fast as they are told to go */

struct worker {
	struct core core;
	struct gateway *gateway;
	const struct config *config;     /* gateway->config */
	struct listener *listeners;      /* config->listener_count of them; on core 0 one more: the admin socket, the last */
	unsigned listener_count;
	struct tls_thread thread;        /* what this core has for TLS */
	struct tls_context **tls;        /* by listener; NULL: plain */
	struct tls_context **tls_prepared; /* made at a reload, and not in force yet */
	struct reload *reload;           /* on core 0: certificates are being read again */
	const struct reason *reload_outcome; /* of the last one; NULL: well */
	struct upstream_pool *pools;     /* by upstream */
	struct health *health;           /* of every server that is asked how it is; none of them while draining */
	unsigned health_count;
	struct counting *counting;       /* NULL: nothing here counts */
	struct events *events;           /* who on this core wants to know of changes */
	struct live *live;               /* the patients' sockets of this core */
	struct metrics metrics;
	struct log log;
	struct link conns;               /* every client connection of this core: struct conn.in_worker */
	struct link admins;              /* those of the admin socket: they hold no drain up */
	unsigned client_count;           /* connections of clients; those above limits.connections_max are told so */
	uint64_t deflate_bytes;          /* promised to WebSockets that compress, at most limits.deflate_bytes_max */
	unsigned upstream_count;         /* connections to upstreams, at most limits.connections_max */
	uint64_t date_second;            /* the second that `date` says */
	char date[32];                   /* for the field of that name */
	bool draining;                   /* this core has heard of it */
	bool refusing;                   /* three quarters of that are over: a request that is not whole by now is refused */
	struct task refuse;
	struct timer refuse_when;
	uint64_t drain_began_ms;
	struct worker_goodbyes goodbyes[WORKER_LINES];
	unsigned tunnel_count;           /* upgraded connections that go through to a service */
	bool told_drained;
	_Atomic bool gone;               /* it has drained, and its core may end at any moment; read by core 0 */
	unsigned drained_count;          /* on core 0: other cores that have no client left */
	unsigned gather_count;           /* listings of scopes under way (gateway/serve/admin.h) */
	struct message drained;          /* from this core to core 0 */
	struct message end;              /* from core 0 to this one: all have drained */
};

static inline struct worker *worker_of(const struct scope *scope)
{
	return scope->core->gateway;
}

/* The descriptors that a worker works with, made before any core runs so that a taken port is told at the start. */
struct worker_sockets {
	const int *listeners;            /* by listener of the configuration, this core's own (SO_REUSEPORT) */
	int admin;                       /* -1: not this core's */
	int log;                         /* -1: no access log */
};

/* On the core's own thread, when all cores are open: listeners, pools, log. False: a certificate cannot be read any more (it
 * could a moment ago), and standard error says so. */
bool worker_open(struct worker *, const struct worker_sockets *);

/* On the core's own thread, harmless twice: listeners close, idle connections are told goodbye, the others when their exchange
 * is over; at three quarters of timeouts.drain requests that are not whole are answered 503, so that their clients hear it; at
 * timeouts.drain, or with `at_once` now, everything that is left is closed. A core ends when its last client has;
 * core 0 is the last, because it hears signals and answers the admin socket. */
void worker_drain(struct worker *, bool at_once);

/* While draining: ms from now until the next one of this line may be told goodbye. Each call is one's place in the line: all cores
 * together tell WORKER_GOODBYES_PER_S a second, or more where half of timeouts.drain would not be enough. */
uint64_t worker_goodbye_ms(struct worker *, enum worker_line);

/* The present second as RFC 9110 §5.6.7 writes it; valid until the next call. */
const char *worker_date(struct worker *);

/* A client's connection of this core has ended: when it was the last of a draining core, the core ends. */
void worker_conn_ended(struct worker *);

/* After the core has run, on its own thread: what is the thread's own. */
void worker_close(struct worker *);

/* After all cores have run: what others may have looked at. */
void worker_fini(struct worker *);

/* From any core: every core drains. */
void gateway_drain(struct worker *from, bool at_once);

#endif
